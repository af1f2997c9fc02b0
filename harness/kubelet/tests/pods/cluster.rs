//! An API server, two nodes, and a network of veth pairs.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use kubeapi::ApiServer;
use serde_json::json;
use trunkline_fabric::{NetNs, NodeName};
use trunkline_kubelet::controllers::{self, Controllers};
use trunkline_kubelet::{
    ClusterDns, Cni, CniError, CniOutcome, Config, Connector, ImageFailure, ImageSource, Kubelet,
    NodeConfig, Paths, Role, Sandbox,
};
use trunkline_userland::{Image, ImageConfig};

/// The image that there is.
pub const IMAGE: &str = "registry.example/workload:1";
/// The same with another name, for rollouts.
pub const IMAGE2: &str = "registry.example/workload:2";

pub struct Cluster {
    pub client: kube::Client,
    pub connector: Connector,
    pub state: PathBuf,
    _server: ApiServer,
    _kubelet: Kubelet,
    _controllers: Controllers,
}

impl Cluster {
    pub async fn start() -> Self {
        let connector = Connector::new();
        let server = ApiServer::builder()
            .version("v1.34.4")
            .pods(Arc::new(connector.clone()))
            .mount_tokens(true)
            .build()
            .expect("an API server");
        let client = server.client("system:test");
        let netns = NetNs::current().await.expect("our own network namespace");
        ip("addr add 10.88.0.1/32 dev lo");
        let paths = Paths {
            agent: Some("/http-server".into()),
            ..Paths::default()
        };
        let state = paths.state.clone();
        let node = |name: &str, role| NodeConfig {
            name: NodeName::new(name).expect("a name"),
            ip: IpAddr::V4(Ipv4Addr::new(10, 88, 0, 1)),
            netns: netns.clone(),
            role,
            pod_cidr: None,
        };
        let kubelet = Kubelet::start(Config {
            client: client.clone(),
            nodes: vec![
                node("control-plane", Role::ControlPlane),
                node("worker", Role::Worker),
                node("worker2", Role::Worker),
            ],
            images: Arc::new(Workload),
            cni: Arc::new(Veths::default()),
            connector: connector.clone(),
            paths,
            dns: ClusterDns::default(),
            version: "v1.34.4".to_owned(),
        })
        .await
        .expect("a kubelet");
        let controllers = controllers::start(client.clone(), "/run/volumes".into());
        Self {
            client,
            connector,
            state,
            _server: server,
            _kubelet: kubelet,
            _controllers: controllers,
        }
    }

    pub async fn namespace(&self, test: &str) -> String {
        let name = test.replace(['_', ':'], "-");
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
        Api::<Namespace>::all(self.client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace");
        name
    }
}

struct Workload;

#[async_trait]
impl ImageSource for Workload {
    async fn present(&self, reference: &str) -> Option<Image> {
        [IMAGE, IMAGE2].contains(&reference).then(|| Image {
            reference: reference.to_owned(),
            digest: format!("sha256:{}", "0".repeat(64)),
            layers: vec!["/workload".into()],
            config: ImageConfig {
                cmd: vec!["sleep".to_owned(), "infinity".to_owned()],
                ..ImageConfig::default()
            },
        })
    }

    async fn provide(&self, reference: &str) -> Result<Image, ImageFailure> {
        match self.present(reference).await {
            Some(image) => Ok(image),
            None => Err(ImageFailure(format!(
                "{reference} is not in the test's catalogue"
            ))),
        }
    }
}

/// A veth pair per pod, from its eth0 to the one network namespace of all nodes.
#[derive(Default)]
struct Veths {
    next: AtomicU8,
}

fn ip(args: &str) {
    let output = Command::new("ip")
        .args(args.split(' '))
        .output()
        .expect("iproute2");
    assert!(
        output.status.success(),
        "ip {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[async_trait]
impl Cni for Veths {
    async fn add(&self, pod: &Pod, sandbox: &Sandbox) -> Result<CniOutcome, CniError> {
        if let Some(error) = pod.annotations().get("test/network-error") {
            return Err(CniError(error.clone()));
        }
        let n = self.next.fetch_add(1, Ordering::Relaxed) + 2;
        let address = Ipv4Addr::new(10, 88, 1, n);
        let host = format!("v{n}");
        let outer = host.clone();
        sandbox
            .netns
            .run(move || {
                ip(&format!(
                    "link add eth0 type veth peer name {outer} netns 1"
                ));
                ip(&format!("addr add {address}/32 dev eth0"));
                ip("link set eth0 up");
                ip("route add default dev eth0");
            })
            .await
            .map_err(|e| CniError(e.to_string()))?;
        ip(&format!("link set {host} up"));
        ip(&format!("route add {address} dev {host}"));
        Ok(CniOutcome {
            pod_ips: vec![address.into()],
        })
    }

    async fn del(&self, _: &Pod, _: &Sandbox) -> Result<(), CniError> {
        // the pair goes with the pod's namespace
        Ok(())
    }
}
