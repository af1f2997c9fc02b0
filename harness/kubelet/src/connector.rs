//! What the API server reaches pods through.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use kubeapi::{
    AsyncReadWrite, ExecExit, ExecOptions, LogOptions, PodConnector, Reason, Status, Streams,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use trunkline_fabric::NetNs;

use crate::logs::LogBuffer;
use crate::oci::ProcessSpec;
use crate::runtime::{ContainerInput, Process, Runc, Terminal, interactive};

/// Knows the running pods of all nodes. Cheap to clone; make one before the API server and give it to the
/// kubelet too.
#[derive(Debug, Clone, Default)]
pub struct Connector(Arc<Mutex<HashMap<PodKey, PodEntry>>>);

type PodKey = (String, String);

#[derive(Debug, Clone, Default)]
struct PodEntry {
    uid: String,
    network: Option<PodNetwork>,
    volumes: BTreeMap<String, PathBuf>,
    containers: HashMap<String, ContainerEntry>,
}

/// A pod's network, for what else runs on its node.
#[derive(Debug, Clone)]
pub struct PodNetwork {
    pub netns: NetNs,
    /// The file that its containers see as `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

/// A container as the API reaches it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ContainerEntry {
    pub running: Option<Running>,
    pub log: Option<Arc<LogBuffer>>,
    pub previous_log: Option<Arc<LogBuffer>>,
    /// Why there is none, in the API's words.
    pub waiting: Option<String>,
}

/// A container's running process.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub id: String,
    pub spec: ProcessSpec,
    pub process: Process,
    pub runc: Runc,
    pub input: Input,
}

/// Where attached clients type into.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    None,
    /// Taken by the first client if it is to be used once.
    Pipe {
        pipe: Arc<tokio::sync::Mutex<Option<ContainerInput>>>,
        once: bool,
    },
    Terminal(Terminal),
}

impl Connector {
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<PodKey, PodEntry>) -> T) -> T {
        // every change is one insertion or removal
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The network of a running pod.
    pub fn network(&self, namespace: &str, pod: &str, uid: &str) -> Option<PodNetwork> {
        self.pod(namespace, pod, uid, |pod| pod.network.clone())
    }

    /// Where a volume of a running pod lies on the node, claims included.
    pub fn volume(&self, namespace: &str, pod: &str, uid: &str, volume: &str) -> Option<PathBuf> {
        self.pod(namespace, pod, uid, |pod| pod.volumes.get(volume).cloned())
    }

    fn pod<T>(
        &self,
        namespace: &str,
        pod: &str,
        uid: &str,
        f: impl FnOnce(&PodEntry) -> Option<T>,
    ) -> Option<T> {
        self.with(|pods| {
            pods.get(&(namespace.to_owned(), pod.to_owned()))
                .filter(|pod| pod.uid == uid)
                .and_then(f)
        })
    }

    pub(crate) fn set_network(&self, key: &PodKey, uid: &str, network: Option<PodNetwork>) {
        self.with(|pods| entry(pods, key, uid).network = network);
    }

    pub(crate) fn set_volumes(&self, key: &PodKey, uid: &str, volumes: BTreeMap<String, PathBuf>) {
        self.with(|pods| entry(pods, key, uid).volumes = volumes);
    }

    pub(crate) fn set_container(
        &self,
        key: &PodKey,
        uid: &str,
        name: &str,
        container: ContainerEntry,
    ) {
        self.with(|pods| {
            entry(pods, key, uid)
                .containers
                .insert(name.to_owned(), container)
        });
    }

    /// Forgets a pod, unless another one has its name by now.
    pub(crate) fn remove(&self, key: &PodKey, uid: &str) {
        self.with(|pods| {
            if pods.get(key).is_some_and(|p| p.uid == uid) {
                pods.remove(key);
            }
        });
    }

    fn container(&self, namespace: &str, pod: &str, name: &str) -> Result<ContainerEntry, Status> {
        self.with(|pods| {
            pods.get(&(namespace.to_owned(), pod.to_owned()))
                .and_then(|p| p.containers.get(name))
                .cloned()
        })
        .ok_or_else(|| not_ready(pod, name, "ContainerCreating"))
    }

    fn running(&self, namespace: &str, pod: &str, name: &str) -> Result<Running, Status> {
        let container = self.container(namespace, pod, name)?;
        container
            .running
            .filter(|r| r.process.ended().is_none())
            .ok_or_else(|| {
                Status::internal(&format!(
                    "unable to upgrade connection: container not found ({name:?})"
                ))
            })
    }
}

fn entry<'a>(pods: &'a mut HashMap<PodKey, PodEntry>, key: &PodKey, uid: &str) -> &'a mut PodEntry {
    let entry = pods.entry(key.clone()).or_default();
    if entry.uid != uid {
        *entry = PodEntry {
            uid: uid.to_owned(),
            ..PodEntry::default()
        };
    }
    entry
}

fn not_ready(pod: &str, container: &str, reason: &str) -> Status {
    Status::bad_request(format!(
        "container {container:?} in pod {pod:?} is waiting to start: {reason}"
    ))
}

#[async_trait]
impl PodConnector for Connector {
    async fn ready(&self, namespace: &str, pod: &str, container: &str) -> Result<(), Status> {
        // Asked before the connection is switched, so the client adds what it could not do itself.
        self.running(namespace, pod, container)
            .map(drop)
            .map_err(|_| failed(format!("container not found ({container:?})")))
    }

    async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        opts: ExecOptions,
        streams: Streams,
    ) -> Result<ExecExit, Status> {
        let running = self.running(namespace, pod, &opts.container)?;
        let spec = ProcessSpec {
            args: opts.command,
            terminal: opts.tty,
            ..running.spec
        };
        match interactive(&running.runc, &running.id, &spec, streams).await {
            Ok(code) => Ok(ExecExit { code }),
            Err(error) => Err(Status::internal(&format!(
                "error executing command in container: failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: {error}: unknown"
            ))),
        }
    }

    async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        opts: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        let container = self.container(namespace, pod, &opts.container)?;
        let running = self.running(namespace, pod, &opts.container)?;
        let log = container
            .log
            .ok_or_else(|| not_ready(pod, &opts.container, "ContainerCreating"))?;
        let output = log.live(streams.stdout.take(), streams.stderr.take());
        let input = attach_input(&running.input, &mut streams);
        let ended = async {
            running.process.wait().await;
            log.drained().await;
        };
        let resize = async {
            while let Some(size) = streams.resize.recv().await {
                if let Input::Terminal(terminal) = &running.input {
                    // a terminal that is just closing cannot be resized
                    let _ = terminal.resize(size);
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = ended => {}
            () = resize => {}
        }
        drop(input);
        output.finish().await;
        // How the container ended is in its pod's status; an attached session tells only that it ended.
        Ok(ExecExit { code: 0 })
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        opts: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        let container = self.container(namespace, pod, &opts.container)?;
        if opts.previous {
            return container
                .previous_log
                .map(|log| log.stream(&opts))
                .ok_or_else(|| {
                    Status::bad_request(format!(
                        "previous terminated container {:?} in pod {pod:?} not found",
                        opts.container
                    ))
                });
        }
        // a container that waits for its restart still shows what it printed last
        container
            .log
            .or(container.previous_log)
            .map(|log| log.stream(&opts))
            .ok_or_else(|| {
                let reason = container.waiting.as_deref().unwrap_or("ContainerCreating");
                not_ready(pod, &opts.container, reason)
            })
    }

    async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        let netns = self
            .with(|pods| {
                pods.get(&(namespace.to_owned(), pod.to_owned()))
                    .and_then(|p| p.network.as_ref().map(|n| n.netns.clone()))
            })
            .ok_or_else(|| Status::internal(&format!("pod {pod:?} has no network yet")))?;
        let first = match dial(&netns, Ipv4Addr::LOCALHOST.into(), port).await {
            Ok(stream) => return Ok(Box::new(stream)),
            Err(error) => error,
        };
        match dial(&netns, Ipv6Addr::LOCALHOST.into(), port).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(second) => Err(failed(format!(
                "failed to execute portforward in network namespace \"{}\": failed to connect to localhost:{port} \
                 inside namespace of pod {pod:?}, IPv4: dial tcp4 127.0.0.1:{port}: {first} IPv6 dial tcp6 \
                 [::1]:{port}: {second}",
                netns.path().display()
            ))),
        }
    }
}

/// What the node of a pod says, as it is.
fn failed(message: String) -> Status {
    Status::new(500, Reason::Unknown, message)
}

/// A connection within a network namespace; errors are in the words of Go programs, which clients know.
async fn dial(netns: &NetNs, ip: IpAddr, port: u16) -> Result<TcpStream, String> {
    let socket = netns
        .run(move || match ip {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        })
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| e.to_string())?;
    socket
        .connect(SocketAddr::from((ip, port)))
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            _ => format!("connect: {error}"),
        })
}

/// Copies what the client types until the returned guard is dropped.
fn attach_input(
    input: &Input,
    streams: &mut Streams,
) -> Option<tokio_util::task::AbortOnDropHandle<()>> {
    let mut from = streams.stdin.take()?;
    let task = match input.clone() {
        Input::None => return None,
        Input::Terminal(mut terminal) => tokio::spawn(async move {
            // either end going away ends the copy
            let _ = tokio::io::copy(&mut from, &mut terminal).await;
        }),
        Input::Pipe { pipe, once } => tokio::spawn(async move {
            let mut pipe = pipe.lock().await;
            if let Some(to) = pipe.as_mut() {
                let _ = tokio::io::copy(&mut from, to).await;
                let _ = to.flush().await;
            }
            if once {
                *pipe = None;
            }
        }),
    };
    Some(tokio_util::task::AbortOnDropHandle::new(task))
}
