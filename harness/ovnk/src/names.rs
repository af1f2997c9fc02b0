//! Names of logical things (OVN-Kubernetes' `pkg/util` and `pkg/types`).

use trunkline_fabric::MacAddr;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// What the default network is called in annotations and on the command line of its CNI.
pub const DEFAULT_NETWORK: &str = "default";
/// What Multus and the CNI configuration call it.
pub const DEFAULT_CNI_NAME: &str = "ovn-kubernetes";

pub(crate) const CLUSTER_ROUTER: &str = "ovn_cluster_router";
pub(crate) const JOIN_SWITCH: &str = "join";
pub(crate) const TRANSIT_SWITCH: &str = "transit_switch";
pub(crate) const PHYSICAL_NETWORK: &str = "physnet";
pub(crate) const COPP: &str = "ovnkube-default";
pub(crate) const ACL_METER: &str = "acl-logging";
pub(crate) const DEFAULT_CONTROLLER: &str = "default-network-controller";

/// Tunnel keys of networks start here; the network's id is added.
pub(crate) const BASE_TUNNEL_KEY: u32 = 16_711_683;

/// A namespaced name, `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Splits `namespace/name`.
    pub fn parse(text: &str) -> Option<Key> {
        let (namespace, name) = text.split_once('/')?;
        Some(Key::new(namespace, name))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The prefix of a network's logical entities; also of a NAD's ports, given the NAD's key.
pub(crate) fn prefix(name: &str) -> String {
    format!("{}_", name.replace(['-', '/'], "."))
}

/// The logical switch port of a pod on the default network.
pub fn default_port(pod: &Key) -> String {
    format!("{}_{}", pod.namespace, pod.name)
}

/// The logical switch port of a pod's attachment to a NAD.
pub fn nad_port(nad: &Key, pod: &Key) -> String {
    format!("{}{}", prefix(&nad.to_string()), default_port(pod))
}

pub(crate) fn layer2_switch(network: &str) -> String {
    format!("{}ovn_layer2_switch", prefix(network))
}

/// A layer 3 network's switch on a node.
pub(crate) fn layer3_switch(network: &str, node: &str) -> String {
    format!("{}{node}", prefix(network))
}

pub(crate) fn layer3_router(network: &str) -> String {
    format!("{}{CLUSTER_ROUTER}", prefix(network))
}

pub(crate) fn gateway_router(node: &str) -> String {
    format!("GR_{node}")
}

/// The name under which a network's controller owns rows.
pub(crate) fn controller(network: &str) -> String {
    format!("{network}-network-controller")
}

/// `0a:58` and the four octets; for IPv6 the first four octets of the SHA-256 of the address as
/// text (OVN-Kubernetes' `IPAddrToHWAddr`).
pub fn mac_of(address: IpAddr) -> MacAddr {
    use sha2::{Digest, Sha256};
    let [a, b, c, d] = match address {
        IpAddr::V4(v4) => v4.octets(),
        IpAddr::V6(v6) => {
            let digest = Sha256::digest(v6.to_string().as_bytes());
            [digest[0], digest[1], digest[2], digest[3]]
        }
    };
    MacAddr::new([0x0a, 0x58, a, b, c, d])
}

pub(crate) fn mac4(address: Ipv4Addr) -> String {
    mac_of(address.into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_as_recorded() {
        let nad = Key::new("tenantblue", "shared-net");
        let pod = Key::new("tenantblue", "blue-server");
        assert_eq!(
            nad_port(&nad, &pod),
            "tenantblue.shared.net_tenantblue_blue-server"
        );
        assert_eq!(
            layer2_switch("green-network"),
            "green.network_ovn_layer2_switch"
        );
    }

    #[test]
    fn macs_as_recorded() {
        assert_eq!(mac4(Ipv4Addr::new(192, 168, 200, 20)), "0a:58:c0:a8:c8:14");
    }
}
