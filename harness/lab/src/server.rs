//! What runs inside the lab: the API, the fabric, OVN-Kubernetes, the kubelets and the controllers of workloads.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener},
    path::PathBuf,
    sync::Arc,
};

use trunkline_fabric::{Fabric, Node};
use trunkline_kubelet::{ClusterDns, Config, Connector, Kubelet, NodeConfig, Paths, controllers};
use trunkline_ovnk::{ClusterConfig, Ovnk};
use trunkline_userland::{Cache, Catalogue, CatalogueError, programs};

use kubeapi::{ApiServer, Pki};

use crate::{
    KUBERNETES_VERSION, LabSpec, barrier,
    boot::{CACHE_INSIDE, ControlSender, ServerContext},
    dns::{self, Dns, DnsError, WithDns},
    idle,
    images::LabImages,
    kubevirt::KubeVirtApi,
    message::{FromServer, ServerConfig, ToServer},
    network::{Network, NetworkError},
    spec::LabNode,
};

const NAD_CRD: &str = include_str!("../crds/network-attachment-definitions.yaml");

/// Where the API listens on its node.
const API_PORT: u16 = 6443;

/// The API's name and addresses as pods know it: the first address of the service network, and the Service's names.
const API_SERVICE: [&str; 5] = [
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Directories of persistent volumes, inside the lab.
const VOLUMES: &str = "/run/lab/volumes";

/// Why the lab's server gave up.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the lab's configuration cannot be read: {0}")]
    Config(#[from] serde_json::Error),
    #[error(transparent)]
    Catalogue(#[from] Box<CatalogueError>),
    #[error("the API server: {0}")]
    Api(#[from] kubeapi::Error),
    #[error("the API server's certificates: {0}")]
    Pki(#[from] kubeapi::PkiError),
    #[error("a custom resource definition of ours: {0}")]
    Crd(String),
    #[error("the fabric: {0}")]
    Fabric(#[from] trunkline_fabric::Error),
    #[error("{0}")]
    Daemon(#[from] trunkline_fabric::DaemonDied),
    #[error("OVN-Kubernetes: {0}")]
    OvnKubernetes(#[from] trunkline_ovnk::Error),
    #[error("the network: {0}")]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Dns(#[from] DnsError),
    #[error("the API cannot listen on node {node}: {source}")]
    ApiSocket { node: String, source: io::Error },
    #[error("a lab needs at least one node")]
    NoNodes,
    #[error("the kubelet: {0}")]
    Kubelet(#[from] trunkline_kubelet::Error),
    #[error("the lab's host side is gone")]
    HostGone(#[from] crate::boot::ControlError),
}

/// Runs until the host side says otherwise or something breaks.
pub async fn run(context: ServerContext<ToServer, FromServer>) -> Result<(), ServerError> {
    let ServerContext {
        listener,
        config,
        mut control,
        shutdown,
    } = context;
    let ServerConfig { lab, url } = serde_json::from_value(config)?;
    // Some library may ask for the process's provider; there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let nodes = lab.lab_nodes()?;
    let control_plane = nodes.first().ok_or(ServerError::NoNodes)?;
    let pki = Pki::generate(&api_names(control_plane))?;
    let host = control.sender();
    let images = Arc::new(LabImages::new(
        catalogue(&lab)?,
        lab.images.clone(),
        host.clone(),
    ));
    let parts = Parts {
        network: Arc::default(),
        connector: Connector::default(),
        kubevirt: KubeVirtApi::default(),
        images: Arc::clone(&images),
        host,
    };
    let api = api_server(&parts, control_plane)?;
    let kubeconfig = pki.kubeconfig(&url, &lab.name, "kubernetes-admin", &["system:masters"])?;

    let ended = shutdown.clone();
    let serving = api.serve(listener, &pki, async move { ended.cancelled().await });
    control.send(&FromServer::Serving { kubeconfig })?;
    let messages = async {
        while let Some(ToServer::Answer { id, answer }) = control.receive().await {
            images.answer(id, answer);
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        served = serving => Ok(served?),
        () = messages => Ok(()),
        failed = cluster(&api, &pki, &nodes, parts) => failed,
    }
}

/// What the API's certificate is good for: the socket on the host, the node, and the Service.
fn api_names(control_plane: &LabNode) -> Vec<String> {
    let node = &control_plane.spec;
    let own = ["127.0.0.1", "localhost"].map(str::to_owned);
    own.into_iter()
        .chain([node.name.to_string(), node.ip.addr().to_string()])
        .chain(API_SERVICE.map(str::to_owned))
        .collect()
}

/// What exists before the API does, and what the API reaches the rest of the lab through.
struct Parts {
    network: Arc<Network>,
    connector: Connector,
    kubevirt: KubeVirtApi,
    images: Arc<LabImages>,
    host: ControlSender<FromServer>,
}

fn api_server(parts: &Parts, control_plane: &LabNode) -> Result<ApiServer, ServerError> {
    let address = SocketAddr::from((control_plane.spec.ip.addr(), API_PORT));
    let crd = serde_yaml::from_str(NAD_CRD).map_err(|error| ServerError::Crd(error.to_string()))?;
    Ok(parts
        .kubevirt
        .extend(ApiServer::builder())
        .version(KUBERNETES_VERSION)
        .crd(crd)
        .pods(Arc::new(parts.connector.clone()))
        .virtual_resource(barrier::resource(Arc::clone(&parts.network)))
        .advertise(address)
        .mount_tokens(true)
        .nothing_acts_on(idle::NAME, idle::RESOURCES)
        .build()?)
}

fn catalogue(lab: &LabSpec) -> Result<Catalogue, Box<CatalogueError>> {
    let catalogue = match &lab.catalogue {
        Some(file) => Catalogue::parse(&file.name, &file.text),
        None => Catalogue::embedded(),
    };
    catalogue.map_err(Box::new)
}

/// Everything behind the API. Ends only when something breaks.
async fn cluster(
    api: &ApiServer,
    pki: &Pki,
    nodes: &[LabNode],
    parts: Parts,
) -> Result<(), ServerError> {
    let Parts {
        network,
        connector,
        kubevirt,
        images,
        host,
    } = parts;
    let spec = LabSpec::fabric(nodes);
    let next_hop = spec.physical.gateway;
    let _controllers = controllers::start(
        api.client("system:kube-controller-manager"),
        PathBuf::from(VOLUMES),
    );
    let fabric = Fabric::start(spec).await?;
    let control_plane = nodes
        .first()
        .and_then(|node| fabric.node(&node.spec.name))
        .ok_or(ServerError::NoNodes)?;
    let on_node = api.serve(listen(control_plane).await?, pki, std::future::pending());
    let node_configs = nodes
        .iter()
        .filter_map(|node| {
            let running = fabric.node(&node.spec.name)?;
            Some(NodeConfig {
                name: running.name.clone(),
                ip: running.ip.addr().into(),
                netns: running.netns.clone(),
                role: node.role,
                pod_cidr: None,
            })
        })
        .collect();
    let machine_nodes = nodes
        .iter()
        .filter_map(|node| fabric.node(&node.spec.name))
        .map(|node| trunkline_virt_handler::Node {
            name: node.name.clone(),
            netns: node.netns.clone(),
        })
        .collect();
    let _kubevirt = kubevirt.start(api, connector.clone(), Arc::clone(&images), machine_nodes);
    let programs = programs::locate(&Cache::at(CACHE_INSIDE));
    let kubelet = Kubelet::start(Config {
        client: api.client("system:nodes"),
        nodes: node_configs,
        images: Arc::new(WithDns::new(images, &programs)),
        cni: Arc::clone(&network) as Arc<dyn trunkline_kubelet::Cni>,
        connector,
        paths: Paths {
            agent: Some(programs.agent),
            ..Paths::default()
        },
        dns: ClusterDns {
            server: Some(dns::ADDRESS.into()),
            domain: dns::DOMAIN.to_owned(),
        },
        version: KUBERNETES_VERSION.to_owned(),
    });
    let ovnk = Ovnk::start(
        api.client("system:ovn"),
        fabric.clone(),
        ClusterConfig::default(),
        next_hop,
    );
    let system = api.client("system:kube-dns");
    let names = Dns::start(&system);
    let ((), _kubelet) = tokio::try_join!(
        async {
            network.stands(system.clone(), fabric.clone(), ovnk.await?, names);
            Ok::<_, ServerError>(())
        },
        async { Ok(kubelet.await?) },
    )?;
    network.ready().await?;
    // Its pod starts beside whatever comes first: nobody waits for it who does not ask for names.
    dns::install(&system, &control_plane.name).await?;
    host.send(&FromServer::Ready)?;
    tokio::select! {
        died = fabric.failure() => Err(died.into()),
        served = on_node => Ok(served?),
    }
}

/// The API's socket in the network of a node.
async fn listen(node: &Node) -> Result<TcpListener, ServerError> {
    let everywhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, API_PORT);
    let bound = node
        .netns
        .run(move || TcpListener::bind(everywhere))
        .await?;
    bound.map_err(|source| ServerError::ApiSocket {
        node: node.name.to_string(),
        source,
    })
}
