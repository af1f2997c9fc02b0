//! A pod as far as networks are concerned.

use trunkline_fabric::NodeName;

use super::PodNetworks;

#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    pub uid: String,
    pub node: Option<NodeName>,
    pub host_network: bool,
    /// Succeeded or failed: it gives its addresses back.
    pub completed: bool,
    /// The text of `k8s.v1.cni.cncf.io/networks`.
    pub selection: Option<String>,
    /// What `k8s.ovn.org/pod-networks` says.
    pub networks: PodNetworks,
    /// Rises with the order in which pods were scheduled, which is the order of allocation.
    pub order: u64,
}
