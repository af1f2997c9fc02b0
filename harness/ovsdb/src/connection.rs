//! The task that owns the socket: sends requests, hands out answers, keeps replicas up to date,
//! answers the server's echoes, and connects again when the connection breaks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::Framed;

use crate::delta::{self, Selected};
use crate::error::{Error, Result};
use crate::replica::Feed;
use crate::rpc::{self, JsonCodec, Message};
use crate::schema::DatabaseSchema;

pub(crate) type Stream = Framed<UnixStream, JsonCodec>;

/// Before the first transaction there is none.
const NO_TRANSACTION: &str = "00000000-0000-0000-0000-000000000000";
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LAST_RETRY: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) enum Command {
    Call {
        method: &'static str,
        params: Value,
        answer: oneshot::Sender<Result<Value>>,
    },
    Monitor {
        id: u64,
        requests: Value,
        selected: Selected,
        feed: Feed,
        ready: oneshot::Sender<Result<()>>,
    },
    Forget(u64),
}

#[derive(Debug)]
struct Monitored {
    requests: Value,
    selected: Selected,
    feed: Feed,
    last_transaction: String,
    /// Taken when the first content has come.
    ready: Option<oneshot::Sender<Result<()>>>,
}

#[derive(Debug)]
enum Pending {
    Call {
        method: &'static str,
        answer: oneshot::Sender<Result<Value>>,
    },
    Monitor(u64),
    /// Nobody waits for the answer.
    Ignored,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) path: PathBuf,
    pub(crate) schema: Arc<DatabaseSchema>,
    commands: mpsc::UnboundedReceiver<Command>,
    backlog: VecDeque<Command>,
    pending: HashMap<u64, Pending>,
    monitors: BTreeMap<u64, Monitored>,
    next_id: u64,
}

/// All handles are gone: nothing left to do.
#[derive(Debug)]
struct Abandoned;

impl Connection {
    pub(crate) fn new(
        path: PathBuf,
        schema: Arc<DatabaseSchema>,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Connection {
        Connection {
            path,
            schema,
            commands,
            backlog: VecDeque::new(),
            pending: HashMap::new(),
            monitors: BTreeMap::new(),
            next_id: 1,
        }
    }

    pub(crate) async fn run(mut self, mut stream: Stream) {
        loop {
            match self.serve(&mut stream).await {
                Ok(Abandoned) => return,
                Err(error) => {
                    tracing::debug!(path = %self.path.display(), %error, "OVSDB connection broke");
                }
            }
            self.fail_calls();
            stream = match self.reconnect().await {
                Ok(stream) => stream,
                Err(Abandoned) => return,
            };
        }
    }

    async fn serve(&mut self, stream: &mut Stream) -> Result<Abandoned> {
        for id in self.monitors.keys().copied().collect::<Vec<_>>() {
            self.request_monitor(stream, id).await?;
        }
        while let Some(command) = self.backlog.pop_front() {
            self.obey(stream, command).await?;
        }
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ok(Abandoned) };
                    self.obey(stream, command).await?;
                    // Whatever else is waiting goes out with the same write.
                    while let Ok(command) = self.commands.try_recv() {
                        self.obey(stream, command).await?;
                    }
                    stream.flush().await?;
                }
                message = stream.next() => match message {
                    Some(message) => self.hear(stream, message?).await?,
                    None => return Err(Error::Protocol("end of stream".to_owned())),
                }
            }
        }
    }

    async fn obey(&mut self, stream: &mut Stream, command: Command) -> Result<()> {
        match command {
            Command::Call {
                method,
                params,
                answer,
            } => {
                let pending = Pending::Call { method, answer };
                self.send(stream, method, &params, pending).await
            }
            Command::Monitor {
                id,
                requests,
                selected,
                feed,
                ready,
            } => {
                let monitored = Monitored {
                    requests,
                    selected,
                    feed,
                    last_transaction: NO_TRANSACTION.to_owned(),
                    ready: Some(ready),
                };
                self.monitors.insert(id, monitored);
                self.request_monitor(stream, id).await
            }
            Command::Forget(id) => {
                if self.monitors.remove(&id).is_none() {
                    return Ok(());
                }
                let params = json!([id]);
                self.send(stream, "monitor_cancel", &params, Pending::Ignored)
                    .await
            }
        }
    }

    async fn request_monitor(&mut self, stream: &mut Stream, id: u64) -> Result<()> {
        let monitored = &self.monitors[&id];
        let params = json!([
            self.schema.name,
            id,
            monitored.requests,
            monitored.last_transaction
        ]);
        let pending = Pending::Monitor(id);
        self.send(stream, "monitor_cond_since", &params, pending)
            .await
    }

    async fn send(
        &mut self,
        stream: &mut Stream,
        method: &str,
        params: &Value,
        pending: Pending,
    ) -> Result<()> {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, pending);
        stream.feed(rpc::request(id, method, params)).await?;
        stream.flush().await
    }

    async fn hear(&mut self, stream: &mut Stream, message: Message) -> Result<()> {
        match message {
            Message::Request { id, method, params } if method == "echo" => {
                stream.send(rpc::reply(&id, &params)).await
            }
            Message::Request { method, .. } => {
                tracing::debug!(method, "request from the OVSDB server ignored");
                Ok(())
            }
            Message::Notification { method, params } => self.notified(&method, &params),
            Message::Reply { id, result } => {
                match id.as_u64().and_then(|id| self.pending.remove(&id)) {
                    Some(Pending::Call { method, answer }) => {
                        let result = result.map_err(|error| method_error(method, &error));
                        // The caller may have stopped waiting.
                        let _ = answer.send(result);
                        Ok(())
                    }
                    Some(Pending::Monitor(id)) => self.monitor_answered(id, result),
                    Some(Pending::Ignored) => Ok(()),
                    None => Err(Error::Protocol(format!("reply to nothing: {id}"))),
                }
            }
        }
    }

    fn notified(&mut self, method: &str, params: &Value) -> Result<()> {
        match method {
            "update3" => {
                // A monitor that was just forgotten may still be told something.
                let Some(monitored) = params[0].as_u64().and_then(|id| self.monitors.get_mut(&id))
                else {
                    return Ok(());
                };
                let before = monitored.feed.snapshots.borrow().clone();
                let (snapshot, changes) =
                    delta::apply(&self.schema, &monitored.selected, &before, &params[2])?;
                monitored.last_transaction = transaction_id(&params[1]);
                monitored.feed.publish(snapshot, &changes);
                Ok(())
            }
            // The database was converted or removed: start over.
            "monitor_canceled" => Err(Error::Protocol("monitor canceled".to_owned())),
            _ => Ok(()),
        }
    }

    fn monitor_answered(&mut self, id: u64, result: Result<Value, Value>) -> Result<()> {
        let Some(monitored) = self.monitors.get_mut(&id) else {
            return Ok(());
        };
        let content = match result {
            Ok(content) => content,
            Err(error) => {
                let error = method_error("monitor_cond_since", &error);
                tracing::warn!(path = %self.path.display(), %error, "monitor refused");
                // Without its feed, whoever waits on the replica learns that it is closed.
                let ready = self.monitors.remove(&id).and_then(|m| m.ready);
                if let Some(ready) = ready {
                    let _ = ready.send(Err(error));
                }
                return Ok(());
            }
        };
        let resumed = content[0].as_bool().unwrap_or(false);
        let apply = if resumed {
            delta::apply
        } else {
            delta::replace
        };
        let before = monitored.feed.snapshots.borrow().clone();
        let (snapshot, changes) = apply(&self.schema, &monitored.selected, &before, &content[2])?;
        monitored.last_transaction = transaction_id(&content[1]);
        monitored.feed.publish(snapshot, &changes);
        if let Some(ready) = monitored.ready.take() {
            let _ = ready.send(Ok(()));
        }
        Ok(())
    }

    /// Requests that were under way cannot be repeated: nobody knows whether they happened.
    fn fail_calls(&mut self) {
        for (_, pending) in self.pending.drain() {
            if let Pending::Call { method, answer } = pending {
                let _ = answer.send(Err(Error::Disconnected {
                    path: self.path.clone(),
                    method: method.to_owned(),
                }));
            }
        }
    }

    /// Tries until it succeeds or nobody is interested any more. There is no event to wait for
    /// when a server of another process starts to listen, hence the growing pauses.
    async fn reconnect(&mut self) -> Result<Stream, Abandoned> {
        let mut pause = FIRST_RETRY;
        loop {
            match UnixStream::connect(&self.path).await {
                Ok(socket) => return Ok(Framed::new(socket, JsonCodec::default())),
                Err(error) => {
                    tracing::trace!(path = %self.path.display(), %error, "cannot reconnect yet");
                }
            }
            let retry = tokio::time::sleep(pause);
            tokio::pin!(retry);
            loop {
                tokio::select! {
                    () = &mut retry => break,
                    command = self.commands.recv() => match command {
                        Some(command) => self.backlog.push_back(command),
                        None => return Err(Abandoned),
                    }
                }
            }
            pause = (pause * 2).min(LAST_RETRY);
        }
    }
}

fn transaction_id(json: &Value) -> String {
    json.as_str().unwrap_or(NO_TRANSACTION).to_owned()
}

pub(crate) fn method_error(method: &str, error: &Value) -> Error {
    Error::Method {
        method: method.to_owned(),
        error: match (error["error"].as_str(), error["details"].as_str()) {
            (Some(error), Some(details)) => format!("{error} ({details})"),
            (Some(error), None) => error.to_owned(),
            _ => error.to_string(),
        },
    }
}
