//! A stand-in for Docker's daemon on a socket: as much of its API as a cluster in containers asks for. Its nodes are those
//! that the stand-in for kind was told to make.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};
use trunkline_cluster::component::{self, Action};

pub struct Daemon {
    pub socket: PathBuf,
    directory: PathBuf,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    execs: Vec<Exec>,
    /// Images in each node, with their digests.
    images: BTreeMap<String, BTreeMap<String, String>>,
    /// Scripts that ran, by node.
    done: BTreeMap<String, BTreeSet<String>>,
    root: Option<String>,
}

#[derive(Clone)]
struct Exec {
    container: String,
    command: Vec<String>,
    code: i64,
}

impl Daemon {
    pub fn start(directory: &Path) -> Arc<Self> {
        let socket = directory.join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = Arc::new(Self {
            socket,
            directory: directory.to_owned(),
            state: Mutex::default(),
        });
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&daemon));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        daemon
    }

    /// The directory whose disk is looked at.
    pub fn root(&self, root: &str) {
        self.state.lock().unwrap().root = Some(root.to_owned());
    }

    pub fn images(&self, node: &str) -> BTreeSet<String> {
        let state = self.state.lock().unwrap();
        state
            .images
            .get(node)
            .into_iter()
            .flat_map(|images| images.keys().cloned())
            .collect()
    }

    pub fn scripts(&self, node: &str) -> BTreeSet<String> {
        self.state
            .lock()
            .unwrap()
            .done
            .get(node)
            .cloned()
            .unwrap_or_default()
    }

    /// As when a node was restarted.
    pub fn forget_scripts(&self, node: &str) {
        self.state.lock().unwrap().done.remove(node);
    }

    fn nodes(&self) -> Vec<Value> {
        let Ok(text) = std::fs::read_to_string(self.directory.join("nodes.json")) else {
            return Vec::new();
        };
        let config: Value = serde_json::from_str(&text).unwrap();
        let mut workers = 0;
        config["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| {
                let role = node["role"].as_str().unwrap();
                let name = match (role, workers) {
                    ("worker", 0) => "c-worker".to_owned(),
                    ("worker", more) => format!("c-worker{}", more + 1),
                    _ => "c-control-plane".to_owned(),
                };
                workers += usize::from(role == "worker");
                let mounts: Vec<Value> = node["extraMounts"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|mount| json!({"Source": mount["hostPath"], "Destination": mount["containerPath"]}))
                    .collect();
                json!({
                    "Id": name, "Names": [format!("/{name}")], "Image": node["image"], "State": "running",
                    "Labels": {"io.x-k8s.kind.cluster": "c", "io.x-k8s.kind.role": role}, "Mounts": mounts,
                })
            })
            .collect()
    }

    fn ran(&self, node: &str, command: &[String], input: &[u8]) -> (i64, String) {
        let mut state = self.state.lock().unwrap();
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["bash", "-s"] => {
                let text = std::str::from_utf8(input).unwrap();
                let (name, is_check) = script(text);
                let done = state.done.entry(node.to_owned()).or_default();
                if is_check {
                    (i64::from(!done.contains(&name)), String::new())
                } else {
                    done.insert(name);
                    (0, String::new())
                }
            }
            ["ctr", _, "images", "list"] => {
                let mut table = "REF TYPE DIGEST SIZE PLATFORMS LABELS\n".to_owned();
                for (name, digest) in state.images.entry(node.to_owned()).or_default() {
                    table.push_str(&[name, "type", digest, "1 KiB linux/amd64 -\n"].join(" "));
                }
                (0, table)
            }
            ["ctr", _, "images", "import", "-"] => {
                let (names, digest) = image(input);
                let images = state.images.entry(node.to_owned()).or_default();
                images.extend(names.into_iter().map(|name| (name, digest.clone())));
                (0, String::new())
            }
            other => (127, format!("the stand-in knows no {other:?}")),
        }
    }
}

/// Which of the catalogue's scripts this is, by the one that does the work.
fn script(text: &str) -> (String, bool) {
    for action in component::all()
        .iter()
        .flat_map(|component| &component.install)
    {
        if let Action::InNodes(script) = action {
            if component::file(&script.run) == Some(text) {
                return (script.run.clone(), false);
            }
            if component::file(&script.check) == Some(text) {
                return (script.run.clone(), true);
            }
        }
    }
    panic!("no component has this script:\n{text}");
}

/// The names and the digest of the image in an archive that is both docker's and OCI's.
fn image(archive: &[u8]) -> (Vec<String>, String) {
    let mut found = HashMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        if name == "index.json" || name == "manifest.json" {
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name, serde_json::from_str::<Value>(&text).unwrap());
        }
    }
    let tags = found["manifest.json"][0]["RepoTags"].as_array().unwrap();
    let names = tags
        .iter()
        .map(|tag| tag.as_str().unwrap().to_owned())
        .collect();
    let digest = found["index.json"]["manifests"][0]["digest"]
        .as_str()
        .unwrap();
    (names, digest.to_owned())
}

async fn answer(State(daemon): State<Arc<Daemon>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.first().is_some_and(|part| part.starts_with("v1.")) {
        parts.remove(0);
    }
    let get = request.method() == Method::GET;
    match parts.as_slice() {
        ["version"] => {
            json_answer(json!({"Version": "0", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}))
        }
        ["info"] => {
            let root = daemon
                .state
                .lock()
                .unwrap()
                .root
                .clone()
                .unwrap_or("/out/of/sight".into());
            json_answer(
                json!({"DockerRootDir": root, "CgroupVersion": "2", "SecurityOptions": [], "ServerVersion": "0"}),
            )
        }
        ["containers", "json"] => {
            let of_nodes = request
                .uri()
                .query()
                .unwrap_or_default()
                .contains("kind.cluster");
            json_answer(if of_nodes {
                daemon.nodes().into()
            } else {
                json!([])
            })
        }
        ["containers", name, "json"] => json_answer(json!({
            "Id": name, "NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.2"}}},
        })),
        ["images", .., "json"] if get => json_answer(json!({"Id": "sha256:00"})),
        ["containers", container, "exec"] => {
            let container = (*container).to_owned();
            let body = axum::body::to_bytes(request.into_body(), usize::MAX)
                .await
                .unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let command = body["Cmd"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap().to_owned())
                .collect();
            let mut state = daemon.state.lock().unwrap();
            state.execs.push(Exec {
                container,
                command,
                code: 0,
            });
            let id = state.execs.len() - 1;
            json_answer(json!({"Id": id.to_string()}))
        }
        ["exec", id, "start"] => start(&daemon, id.parse().unwrap(), request),
        ["exec", id, "json"] => {
            let id: usize = id.parse().unwrap();
            json_answer(
                json!({"ID": id.to_string(), "ExitCode": daemon.state.lock().unwrap().execs[id].code}),
            )
        }
        _ => (
            StatusCode::NOT_FOUND,
            format!("{{\"message\":\"the stand-in has no {path}\"}}"),
        )
            .into_response(),
    }
}

fn json_answer(value: impl std::fmt::Display) -> Response {
    (
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

/// The connection becomes the command's streams: raw input, output in frames.
fn start(daemon: &Arc<Daemon>, id: usize, mut request: Request) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    let daemon = Arc::clone(daemon);
    tokio::spawn(async move {
        // The options come before the streams.
        axum::body::to_bytes(request.into_body(), usize::MAX)
            .await
            .unwrap();
        let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let exec = daemon.state.lock().unwrap().execs[id].clone();
        let mut input = Vec::new();
        if exec
            .command
            .last()
            .is_some_and(|word| word == "-" || word == "-s")
        {
            stream.read_to_end(&mut input).await.unwrap();
        }
        let (code, output) = daemon.ran(&exec.container, &exec.command, &input);
        daemon.state.lock().unwrap().execs[id].code = code;
        let length = u32::try_from(output.len()).unwrap().to_be_bytes();
        let mut frame = vec![1, 0, 0, 0];
        frame.extend(length);
        frame.extend(output.into_bytes());
        stream.write_all(&frame).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Body::empty())
        .unwrap()
}
