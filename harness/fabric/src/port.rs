//! Ports: one end in somebody's network namespace, the other on a node's integration bridge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{MacAddr, NetNs, NodeName};

/// A pod's interface, as the CNI plugin would make it.
#[derive(Debug, Clone)]
pub struct Port {
    pub node: NodeName,
    /// The pod's.
    pub netns: NetNs,
    /// Inside the pod: `eth0`, `net1`.
    pub ifname: String,
    pub mac: MacAddr,
    pub addresses: Vec<IpNet>,
    /// Default routes.
    pub gateways: Vec<IpAddr>,
    pub routes: Vec<Route>,
    pub mtu: u16,
    /// Name of the logical switch port.
    pub iface_id: String,
    /// The pod's UID.
    pub iface_id_ver: String,
    /// Id of the pod's sandbox; its beginning names the host end.
    pub sandbox: String,
    /// More `external_ids` of the OVS Interface, such as `k8s.ovn.org/network` and `k8s.ovn.org/nad`. The ones made
    /// of the fields above (`iface-id`, `attached_mac`, …) are added.
    pub external_ids: BTreeMap<String, String>,
}

/// A route inside a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub dest: IpNet,
    pub via: IpAddr,
}

/// What plugging made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugged {
    /// The host end, a port of the node's br-int.
    pub host_ifname: String,
    /// Index of the pod's end, inside the pod.
    pub ifindex: u32,
}
