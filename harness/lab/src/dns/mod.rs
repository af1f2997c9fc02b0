//! The cluster's DNS: the Service `kube-dns` of `kube-system`, the pod behind it, and what it answers.
//!
//! The pod is an ordinary one of a Deployment, so it has an address on the pod network, endpoints come and go with
//! it, and scaling it to nothing ends name resolution. Its container only keeps it alive: a pod of [`image::REFERENCE`]
//! is answered for by this process, which listens in the pod's network namespace and watches the API without a detour.

mod cluster;
mod handler;
mod image;
mod objects;
mod question;
mod zone;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hickory_server::Server;
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{OnceCell, watch},
};
use trunkline_fabric::NetNs;
use trunkline_kubelet::Sandbox;

use cluster::{Cluster, Watching};
use handler::Handler;
use zone::Zone;

pub use image::WithDns;
pub use objects::{ADDRESS, install};
use objects::{NAMESPACE, SERVICE};

/// Where every cluster's names end.
pub const DOMAIN: &str = "cluster.local";

const PORT: u16 = 53;

/// A connection without a question is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Answers that may wait for a slow reader of one connection.
const UNSENT: usize = 32;

/// How long a barrier may wait for DNS. It takes much less unless it cannot be had at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Cluster DNS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error("{kind} {name} of cluster DNS is refused: {source}")]
    Object {
        kind: &'static str,
        name: &'static str,
        source: Box<kube::Error>,
    },
    #[error("cluster DNS cannot listen: {0}")]
    Listen(#[from] io::Error),
    #[error("cluster DNS cannot listen: {0}")]
    Namespace(#[from] trunkline_fabric::Error),
}

/// Answers in the namespaces of its pods.
pub struct Dns {
    zone: Arc<Zone>,
    /// By sandbox. A server ends when it is dropped.
    servers: Mutex<HashMap<String, Server<Handler>>>,
    /// Whether the Service ever had an endpoint.
    endpoint: watch::Receiver<bool>,
    /// Whether there ever was a pod that could ask.
    asked: AtomicBool,
    begun: OnceCell<()>,
    _watching: Watching,
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

impl Dns {
    /// Starts to watch what names are made of.
    pub fn start(client: &kube::Client) -> Self {
        let (cluster, watching, endpoint) = Cluster::watch(client);
        Self {
            zone: Arc::new(Zone::new(cluster)),
            servers: Mutex::default(),
            endpoint,
            asked: AtomicBool::new(false),
            begun: OnceCell::new(),
            _watching: watching,
        }
    }

    /// Listens in the sandbox of a pod, if it is one of ours.
    pub async fn pod_added(&self, pod: &Pod, sandbox: &Sandbox) -> Result<(), DnsError> {
        if !image::is_of(pod) {
            self.asked.store(true, Ordering::Relaxed);
            return Ok(());
        }
        self.zone.cluster().seen().await;
        let (udp, tcp) = listen(&sandbox.netns).await?;
        let mut server = Server::new(Handler::new(Arc::clone(&self.zone)));
        server.register_socket(udp);
        server.register_listener(tcp, IDLE, UNSENT);
        self.servers().insert(sandbox.id.clone(), server);
        Ok(())
    }

    pub fn pod_gone(&self, sandbox: &Sandbox) {
        self.servers().remove(&sandbox.id);
    }

    /// Returns when names can be resolved for the first time, if there is anybody who could ask. A lab whose DNS
    /// cannot start is still a lab, so this does not wait for ever, and not twice.
    pub async fn begun(&self) {
        if !self.asked.load(Ordering::Relaxed) {
            return;
        }
        let first = || async {
            let mut endpoint = self.endpoint.clone();
            let ready = endpoint.wait_for(|ready| *ready);
            if tokio::time::timeout(PATIENCE, ready).await.is_err() {
                tracing::warn!("cluster DNS has no endpoint yet");
            }
        };
        self.begun.get_or_init(first).await;
    }

    /// Returns when every change made so far shows in the names.
    pub async fn caught_up(&self, client: &kube::Client) {
        match tokio::time::timeout(PATIENCE, self.zone.cluster().caught_up(client)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "looking at what names are made of"),
            Err(_) => tracing::warn!("cluster DNS does not see what the API has"),
        }
    }

    fn servers(&self) -> std::sync::MutexGuard<'_, HashMap<String, Server<Handler>>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn listen(netns: &NetNs) -> Result<(UdpSocket, TcpListener), DnsError> {
    let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
    let opened = netns
        .run(move || -> io::Result<_> {
            let udp = std::net::UdpSocket::bind(everywhere)?;
            let tcp = std::net::TcpListener::bind(everywhere)?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok((udp, tcp))
        })
        .await?;
    let (udp, tcp) = opened?;
    Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
}
