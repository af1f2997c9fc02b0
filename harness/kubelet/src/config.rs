//! What a kubelet is told at its start.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use trunkline_fabric::{NetNs, NodeName};

use crate::{Cni, Connector, ImageSource};

/// Everything a [`crate::Kubelet`] needs.
pub struct Config {
    pub client: kube::Client,
    pub nodes: Vec<NodeConfig>,
    pub images: Arc<dyn ImageSource>,
    pub cni: Arc<dyn Cni>,
    /// The one the API server was built with.
    pub connector: Connector,
    pub paths: Paths,
    pub dns: ClusterDns,
    /// As the nodes report it, such as `v1.34.4`.
    pub version: String,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("nodes", &self.nodes)
            .field("paths", &self.paths)
            .field("dns", &self.dns)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    pub name: NodeName,
    /// `status.hostIP` of its pods.
    pub ip: IpAddr,
    /// Where probes start from and pods with `hostNetwork` live.
    pub netns: NetNs,
    pub role: Role,
    /// `spec.podCIDR`, if nodes have one.
    pub pod_cidr: Option<ipnet::IpNet>,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Tainted `node-role.kubernetes.io/control-plane:NoSchedule`.
    ControlPlane,
    Worker,
}

/// Where things lie. All paths are absolute and in the mount namespace of this process.
#[derive(Debug, Clone)]
pub struct Paths {
    /// State of pods and containers; on a tmpfs.
    pub state: PathBuf,
    /// The runtime program.
    pub runc: PathBuf,
    /// The probe agent that every container finds at `/.trunkline/agent`.
    pub agent: Option<PathBuf>,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            state: PathBuf::from("/run/lab/kubelet"),
            runc: PathBuf::from("/usr/sbin/runc"),
            agent: None,
        }
    }
}

/// What `dnsPolicy: ClusterFirst` means.
#[derive(Debug, Clone)]
pub struct ClusterDns {
    /// None where the cluster has no DNS service: pods then get the node's settings.
    pub server: Option<IpAddr>,
    pub domain: String,
}

impl Default for ClusterDns {
    fn default() -> Self {
        Self {
            server: None,
            domain: "cluster.local".to_owned(),
        }
    }
}
