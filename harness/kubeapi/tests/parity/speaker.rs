//! Speaks with a server over its socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, BodyStream};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::answer::Answer;
use crate::conversation::{Conversation, Exchange, fill, fill_text, select};
use crate::normal::Placeholders;

/// How long the real server may take for what it does a moment later, and a watch for a frame.
const PATIENCE: Duration = Duration::from_secs(20);
/// The real server gives up waiting after a minute.
const ANSWER: Duration = Duration::from_secs(65);
/// Between two tries: nothing tells when the real server's caches have caught up.
const AGAIN: Duration = Duration::from_millis(100);
/// The headers that mean something to clients.
const HEADERS: &[&str] = &[
    "allow",
    "cache-control",
    "content-type",
    "location",
    "retry-after",
    "upgrade",
    "vary",
    "warning",
    "www-authenticate",
];

/// A server and the two ways to it.
#[derive(Clone)]
pub struct Server {
    pub admin: kube::Client,
    pub nobody: kube::Client,
}

/// The frames of an open watch so far.
#[derive(Default)]
struct Frames {
    state: Mutex<(Vec<Value>, bool)>,
    changed: Notify,
}

struct Reply {
    code: u16,
    headers: HeaderMap,
    body: Value,
}

/// One conversation under way.
struct Talk<'a> {
    server: &'a Server,
    variables: BTreeMap<String, Value>,
    placeholders: Placeholders,
    watches: BTreeMap<String, Arc<Frames>>,
}

/// Holds a conversation with a server.
pub async fn hold(conversation: &Conversation, server: &Server) -> Result<Vec<Answer>, String> {
    let mut variables = BTreeMap::from([("ns".to_owned(), conversation.name.clone().into())]);
    for _ in 0..3 {
        // Values may use each other.
        for (name, value) in &conversation.values {
            let value = fill(value, &variables);
            variables.insert(name.clone(), value);
        }
    }
    let mut talk = Talk {
        server,
        variables,
        placeholders: Placeholders::default(),
        watches: BTreeMap::new(),
    };
    if conversation.namespace {
        talk.namespace(&conversation.name).await?;
    }
    let mut answers = Vec::new();
    for (number, exchange) in conversation.exchanges.iter().enumerate() {
        let answer = talk.exchange(exchange).await;
        let title = exchange.title();
        answers.push(answer.map_err(|why| format!("{}. {title}: {why}", number + 1))?);
    }
    Ok(answers)
}

impl Talk<'_> {
    async fn namespace(&self, name: &str) -> Result<(), String> {
        let exchange = Exchange {
            send: "POST /api/v1/namespaces".to_owned(),
            body: serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            ..Exchange::default()
        };
        match self.send(&exchange).await? {
            Sent::Whole(reply) if reply.code == 201 => Ok(()),
            Sent::Whole(reply) => Err(format!("namespace: {}", reply.body)),
            Sent::Open(..) => Err("namespace: no answer".to_owned()),
        }
    }

    async fn exchange(&mut self, exchange: &Exchange) -> Result<Answer, String> {
        let said = serde_json::to_string(&exchange.body).unwrap_or_default();
        self.placeholders.hear(&fill_text(&said, &self.variables));
        self.placeholders
            .hear(&fill_text(&exchange.send, &self.variables));
        for text in exchange.text.iter().chain(exchange.headers.values()) {
            self.placeholders.hear(text);
        }
        if !exchange.frames.is_empty() {
            return self.frames(exchange).await;
        }
        let start = Instant::now();
        loop {
            let settled = |reply: &Reply| {
                exchange.settle.is_none_or(|code| code == reply.code)
                    && reply.body.to_string().contains(&exchange.contains)
            };
            match self.send(exchange).await? {
                Sent::Whole(reply) if settled(&reply) || start.elapsed() > PATIENCE => {
                    return Ok(self.whole(exchange, &reply));
                }
                Sent::Whole(_) => tokio::time::sleep(AGAIN).await,
                Sent::Open(reply, frames) => {
                    self.watches.insert(exchange.watch.clone(), frames);
                    return Ok(self.whole(exchange, &reply));
                }
            }
        }
    }

    fn whole(&mut self, exchange: &Exchange, reply: &Reply) -> Answer {
        for (name, pointer) in &exchange.keep {
            if let Some(value) = reply.body.pointer(pointer) {
                self.variables.insert(name.clone(), value.clone());
            }
        }
        let body = if exchange.show.is_empty() {
            self.placeholders.value(&reply.body)
        } else {
            let shown = select(&reply.body, &exchange.show);
            self.placeholders.value(&shown)
        };
        Answer {
            to: exchange.title(),
            code: Some(reply.code),
            headers: self.headers(&reply.headers),
            body,
        }
    }

    fn headers(&mut self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut kept = BTreeMap::new();
        for name in HEADERS {
            let mut values: Vec<String> = headers
                .get_all(*name)
                .iter()
                .map(|value| {
                    self.placeholders
                        .text(&String::from_utf8_lossy(value.as_bytes()))
                })
                .collect();
            // Upstream warns in the order of a Go map.
            values.sort();
            if !values.is_empty() {
                kept.insert((*name).to_owned(), values);
            }
        }
        kept
    }

    async fn frames(&mut self, exchange: &Exchange) -> Result<Answer, String> {
        let watch = self.watches.get(&exchange.frames).cloned();
        let watch = watch.ok_or("no watch of this name is open")?;
        let taken = timeout(PATIENCE, async {
            loop {
                let changed = watch.changed.notified();
                {
                    let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
                    let (frames, ended) = &mut *state;
                    match exchange.count {
                        Some(count) if frames.len() >= count => {
                            return frames.drain(..count).collect::<Vec<_>>();
                        }
                        _ if *ended => return std::mem::take(frames),
                        _ => {}
                    }
                }
                changed.await;
            }
        })
        .await;
        let frames = taken.unwrap_or_else(|_| {
            // Too few is an answer too.
            let mut state = watch.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut frames = std::mem::take(&mut state.0);
            frames.push("no more frames within the time".into());
            frames
        });
        for (name, pointer) in &exchange.keep {
            if let Some(value) = Value::from(frames.clone()).pointer(pointer) {
                self.variables.insert(name.clone(), value.clone());
            }
        }
        let frames = Value::from(frames);
        let body = if exchange.show.is_empty() {
            self.placeholders.value(&frames)
        } else {
            self.placeholders.value(&select(&frames, &exchange.show))
        };
        Ok(Answer {
            to: exchange.title(),
            code: None,
            headers: BTreeMap::new(),
            body,
        })
    }

    async fn send(&self, exchange: &Exchange) -> Result<Sent, String> {
        let request = self.request(exchange)?;
        let client = if exchange.anonymous {
            &self.server.nobody
        } else {
            &self.server.admin
        };
        let response = timeout(ANSWER, client.send(request)).await;
        let response = response
            .map_err(|_| "no answer".to_owned())?
            .map_err(|error| error.to_string())?;
        let (parts, body) = response.into_parts();
        let code = parts.status.as_u16();
        let headers = parts.headers;
        if !exchange.watch.is_empty() && code == 200 {
            let frames = Arc::new(Frames::default());
            tokio::spawn(read_frames(body, frames.clone()));
            let reply = Reply {
                code,
                headers,
                body: Value::Null,
            };
            return Ok(Sent::Open(reply, frames));
        }
        if code == 101 {
            return Ok(Sent::Whole(Reply {
                code,
                headers,
                body: Value::Null,
            }));
        }
        let bytes = timeout(PATIENCE, body.collect()).await;
        let bytes = bytes
            .map_err(|_| "the answer does not end".to_owned())?
            .map_err(|error| error.to_string())?
            .to_bytes();
        let media = headers.get(http::header::CONTENT_TYPE);
        let media = media.and_then(|m| m.to_str().ok()).unwrap_or_default();
        let body = parse(media, &bytes);
        Ok(Sent::Whole(Reply {
            code,
            headers,
            body,
        }))
    }

    fn request(&self, exchange: &Exchange) -> Result<Request<Body>, String> {
        let line = fill_text(&exchange.send, &self.variables);
        let (method, path) = line.split_once(' ').ok_or("METHOD PATH is missing")?;
        let path = path
            .replace(' ', "%20")
            .replace('>', "%3E")
            .replace('<', "%3C");
        let mut request = Request::builder()
            .method(method)
            .uri(&path)
            .header("User-Agent", "parity/1.0 (linux/amd64)");
        let accept = match exchange.accept.as_str() {
            "" => "application/json",
            "table" => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            "metadata" => "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
            "metadata list" => "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
            other => other,
        };
        if accept != "none" {
            request = request.header("Accept", accept);
        }
        let body = match &exchange.text {
            Some(text) => Bytes::from(fill_text(text, &self.variables)),
            None if exchange.body.is_null() => Bytes::new(),
            None => Bytes::from(fill(&exchange.body, &self.variables).to_string()),
        };
        let content = match (exchange.patch.as_str(), exchange.content.as_str()) {
            ("", "") if body.is_empty() => "none",
            ("", "") => "application/json",
            ("", other) => other,
            ("apply", _) => "application/apply-patch+yaml",
            ("merge", _) => "application/merge-patch+json",
            ("strategic", _) => "application/strategic-merge-patch+json",
            ("json", _) => "application/json-patch+json",
            (other, _) => return Err(format!("no patch is called {other}")),
        };
        if content != "none" {
            request = request.header("Content-Type", content);
        }
        if !exchange.user.is_empty() {
            request = request.header(
                "Impersonate-User",
                fill_text(&exchange.user, &self.variables),
            );
        }
        for group in &exchange.groups {
            request = request.header("Impersonate-Group", group);
        }
        for (name, value) in &exchange.headers {
            request = request.header(name, fill_text(value, &self.variables));
        }
        request
            .body(Body::from(body.to_vec()))
            .map_err(|error| error.to_string())
    }
}

enum Sent {
    Whole(Reply),
    Open(Reply, Arc<Frames>),
}

fn parse(media: &str, bytes: &Bytes) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if media.contains("protobuf") {
        return "<protobuf>".into();
    }
    let text = String::from_utf8_lossy(bytes);
    let parsed = if media.contains("json") || text.starts_with('{') {
        serde_json::from_str(&text).ok()
    } else if media.contains("yaml") {
        serde_yaml::from_str(&text).ok()
    } else {
        None
    };
    parsed.unwrap_or_else(|| {
        // Several values, one after the other: the frames of a watch.
        let all: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&text)
            .into_iter()
            .collect();
        match all {
            Ok(frames) if media.contains("json") => frames.into(),
            _ => text.into_owned().into(),
        }
    })
}

/// Bookmarks come when the server finds time for them; only the one that ends a list has its place.
fn is_plain_bookmark(frame: &Value) -> bool {
    let annotations = frame.pointer("/object/metadata/annotations");
    let of_table = frame.pointer("/object/rows/0/object/metadata/annotations");
    frame["type"] == "BOOKMARK" && annotations.or(of_table).is_none()
}

async fn read_frames(body: Body, frames: Arc<Frames>) {
    let mut stream = BodyStream::new(body);
    let mut rest = Vec::new();
    while let Some(Ok(chunk)) = stream.next().await {
        let Ok(data) = chunk.into_data() else {
            continue;
        };
        rest.extend_from_slice(&data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            let frame: Value =
                serde_json::from_str(&text).unwrap_or_else(|_| text.into_owned().into());
            if is_plain_bookmark(&frame) {
                continue;
            }
            let mut state = frames.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0.push(frame);
            drop(state);
            frames.changed.notify_waiters();
        }
    }
    let mut state = frames.state.lock().unwrap_or_else(PoisonError::into_inner);
    state.1 = true;
    drop(state);
    frames.changed.notify_waiters();
}
