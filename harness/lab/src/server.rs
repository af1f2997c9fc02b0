//! What runs inside the lab: the API, the fabric, OVN-Kubernetes, the kubelets and the controllers of workloads.

use std::{path::PathBuf, sync::Arc};

use trunkline_fabric::Fabric;
use trunkline_kubelet::{ClusterDns, Config, Connector, Kubelet, NodeConfig, Paths, controllers};
use trunkline_ovnk::{ClusterConfig, Ovnk};
use trunkline_userland::{Cache, Catalogue, CatalogueError, programs};

use kubeapi::{ApiServer, Pki};

use crate::{
    KUBERNETES_VERSION, LabSpec, barrier,
    boot::{CACHE_INSIDE, ControlSender, ServerContext},
    images::LabImages,
    message::{FromServer, ServerConfig, ToServer},
    network::{Network, NetworkError},
};

const NAD_CRD: &str = include_str!("../crds/network-attachment-definitions.yaml");

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

    let network = Arc::new(Network::default());
    let connector = Connector::default();
    let pki = Pki::generate(&["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    let api = api_server(&connector, &network)?;
    let kubeconfig = pki.kubeconfig(&url, &lab.name, "kubernetes-admin", &["system:masters"])?;
    let host = control.sender();
    let images = Arc::new(LabImages::new(catalogue(&lab)?, lab.images, host.clone()));

    let ended = shutdown.clone();
    let serving = api.serve(listener, &pki, async move { ended.cancelled().await });
    control.send(&FromServer::Serving { kubeconfig })?;
    let messages = async {
        while let Some(ToServer::Image { id, image }) = control.receive().await {
            images.answer(id, image);
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        served = serving => Ok(served?),
        () = messages => Ok(()),
        failed = cluster(&api, &lab, network, connector, Arc::clone(&images), host) => failed,
    }
}

fn api_server(connector: &Connector, network: &Arc<Network>) -> Result<ApiServer, ServerError> {
    let crd = serde_yaml::from_str(NAD_CRD).map_err(|error| ServerError::Crd(error.to_string()))?;
    Ok(ApiServer::builder()
        .version(KUBERNETES_VERSION)
        .crd(crd)
        .pods(Arc::new(connector.clone()))
        .virtual_resource(barrier::resource(Arc::clone(network)))
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
    lab: &LabSpec,
    network: Arc<Network>,
    connector: Connector,
    images: Arc<LabImages>,
    host: ControlSender<FromServer>,
) -> Result<(), ServerError> {
    let nodes = lab.lab_nodes()?;
    let spec = LabSpec::fabric(&nodes);
    let next_hop = spec.physical.gateway;
    let _controllers = controllers::start(
        api.client("system:kube-controller-manager"),
        PathBuf::from(VOLUMES),
    );
    let fabric = Fabric::start(spec).await?;
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
    let kubelet = Kubelet::start(Config {
        client: api.client("system:nodes"),
        nodes: node_configs,
        images,
        cni: Arc::clone(&network) as Arc<dyn trunkline_kubelet::Cni>,
        connector,
        paths: Paths {
            agent: Some(programs::locate(&Cache::at(CACHE_INSIDE)).agent),
            ..Paths::default()
        },
        dns: ClusterDns::default(),
        version: KUBERNETES_VERSION.to_owned(),
    });
    let ovnk = Ovnk::start(
        api.client("system:ovn"),
        fabric.clone(),
        ClusterConfig::default(),
        next_hop,
    );
    let ((), _kubelet) = tokio::try_join!(
        async {
            network.stands(fabric.clone(), ovnk.await?);
            Ok::<_, ServerError>(())
        },
        async { Ok(kubelet.await?) },
    )?;
    network.ready().await?;
    host.send(&FromServer::Ready)?;
    Err(fabric.failure().await.into())
}
