//! What a fabric is made of.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{ChassisId, MacAddr, NodeName};

/// Everything needed to start a fabric.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FabricSpec {
    pub nodes: Vec<NodeSpec>,
    pub physical: PhysicalSpec,
    /// Where databases, sockets and logs go, one directory per node.
    #[serde(default = "default_run_dir")]
    pub run_dir: PathBuf,
}

fn default_run_dir() -> PathBuf {
    PathBuf::from("/run/lab")
}

impl FabricSpec {
    /// The given nodes on the default physical network, running in `/run/lab`.
    pub fn new(nodes: Vec<NodeSpec>) -> Self {
        Self {
            nodes,
            physical: PhysicalSpec::default(),
            run_dir: default_run_dir(),
        }
    }
}

/// One node, which is also one OVN zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeSpec {
    pub name: NodeName,
    /// The node's address on the physical network, and the end of its tunnels.
    pub ip: Ipv4Net,
    /// Of breth0 and eth0, and so of the node's gateway router too.
    pub mac: MacAddr,
    /// The `system-id` of its Open vSwitch.
    pub chassis: ChassisId,
}

impl NodeSpec {
    /// A node with a fresh chassis id and the MAC that container engines derive from the address (`02:42:` and
    /// the four octets).
    pub fn new(name: NodeName, ip: Ipv4Net) -> Self {
        let [a, b, c, d] = ip.addr().octets();
        Self {
            name,
            ip,
            mac: MacAddr::new([0x02, 0x42, a, b, c, d]),
            chassis: ChassisId::random(),
        }
    }
}

/// The network between the nodes, and the first host outside the cluster on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhysicalSpec {
    pub subnet: Ipv4Net,
    /// The address of the outside host, which is the nodes' default gateway.
    pub gateway: Ipv4Addr,
    /// In bytes, of the node network. Tunnels need 58 of it.
    pub mtu: u16,
}

impl Default for PhysicalSpec {
    fn default() -> Self {
        Self {
            subnet: Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 0), 16),
            gateway: Ipv4Addr::new(172, 18, 0, 1),
            mtu: 1500,
        }
    }
}
