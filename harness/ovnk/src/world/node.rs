//! A node's share of the networks, as its annotations say.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use serde_json::{Value, json};
use trunkline_fabric::{MacAddr, NodeName};

use crate::config::ClusterConfig;
use crate::names::DEFAULT_NETWORK;

/// Names of the annotations.
pub mod annotations {
    pub const CHASSIS_ID: &str = "k8s.ovn.org/node-chassis-id";
    pub const NODE_ID: &str = "k8s.ovn.org/node-id";
    pub const SUBNETS: &str = "k8s.ovn.org/node-subnets";
    pub const TRANSIT: &str = "k8s.ovn.org/node-transit-switch-port-ifaddr";
    pub const GATEWAY: &str = "k8s.ovn.org/l3-gateway-config";
    pub const ENCAP_IPS: &str = "k8s.ovn.org/node-encap-ips";
    pub const HOST_CIDRS: &str = "k8s.ovn.org/host-cidrs";
    pub const PRIMARY: &str = "k8s.ovn.org/node-primary-ifaddr";
    pub const MASQUERADE: &str = "k8s.ovn.org/node-masquerade-subnet";
    pub const LAYER2_VERSION: &str = "k8s.ovn.org/layer2-topology-version";
    pub const MIGRATED: &str = "k8s.ovn.org/remote-zone-migrated";
    /// Not upstream's: says whose the others are.
    pub const IMITATES: &str = "lab.trunkline.dev/imitates";
    /// An annotation as well as a label.
    pub const ZONE: &str = "k8s.ovn.org/zone-name";
}

/// A node that has everything it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: NodeName,
    pub id: u32,
    pub chassis: String,
    /// Its share of the pod network.
    pub subnet: Ipv4Net,
    /// Its shares of layer 3 networks, by name.
    pub shares: BTreeMap<String, Vec<IpNet>>,
    pub transit: Ipv4Net,
    /// Its address on the physical network, and the MAC of breth0.
    pub address: Ipv4Net,
    pub mac: MacAddr,
    /// The physical network's way out.
    pub next_hop: Ipv4Addr,
    pub encap_ip: Ipv4Addr,
}

impl Node {
    /// `.1` of the node's subnet.
    pub fn gateway(&self) -> Ipv4Addr {
        crate::config::nth(self.subnet, 1)
    }

    /// `.2`, the node itself.
    pub fn management(&self) -> Ipv4Addr {
        crate::config::nth(self.subnet, 2)
    }

    fn all_subnets(&self) -> BTreeMap<&str, Vec<IpNet>> {
        let own = (DEFAULT_NETWORK, vec![IpNet::V4(self.subnet)]);
        let others = self.shares.iter().map(|(k, v)| (k.as_str(), v.clone()));
        others.chain([own]).collect()
    }

    /// The localnet port of the shared gateway bridge.
    pub fn gateway_interface(&self) -> String {
        format!("breth0_{}", self.name)
    }

    /// All annotations that OVN-Kubernetes writes to a node, in its own JSON notation, and the one
    /// that says which version it would have been.
    pub fn annotate(&self, config: &ClusterConfig) -> BTreeMap<&'static str, String> {
        use self::annotations as a;
        let address = self.address.to_string();
        let gateway = json!({"default": {
            "mode": "shared",
            "bridge-id": "breth0",
            "interface-id": self.gateway_interface(),
            "mac-address": self.mac.to_string(),
            "ip-addresses": [address],
            "ip-address": address,
            "next-hops": [self.next_hop],
            "next-hop": self.next_hop,
            "node-port-enable": "true",
            "vlan-id": "0",
        }});
        BTreeMap::from([
            (a::CHASSIS_ID, self.chassis.clone()),
            (a::NODE_ID, self.id.to_string()),
            (a::SUBNETS, json!(self.all_subnets()).to_string()),
            (a::TRANSIT, json!({"ipv4": self.transit}).to_string()),
            (a::GATEWAY, gateway.to_string()),
            (a::ENCAP_IPS, json!([self.encap_ip]).to_string()),
            (a::HOST_CIDRS, json!([address]).to_string()),
            (a::PRIMARY, json!({"ipv4": address}).to_string()),
            (
                a::MASQUERADE,
                json!({"ipv4": config.masquerade, "ipv6": config.masquerade6}).to_string(),
            ),
            (a::LAYER2_VERSION, "2.0".to_owned()),
            (a::MIGRATED, self.name.to_string()),
            (a::ZONE, self.name.to_string()),
            (a::IMITATES, crate::imitates()),
        ])
    }

    /// Reads the annotations; `None` while one is missing or makes no sense.
    pub fn parse(name: &str, written: &BTreeMap<String, String>) -> Option<Node> {
        use self::annotations as a;
        let json = |key: &str| -> Option<Value> { serde_json::from_str(written.get(key)?).ok() };
        let gateway = json(a::GATEWAY)?;
        let gateway = &gateway["default"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Node {
            name: NodeName::new(name).ok()?,
            id: written.get(a::NODE_ID)?.parse().ok()?,
            chassis: written.get(a::CHASSIS_ID)?.clone(),
            subnet: default_subnet(written)?,
            shares: shares(written)?,
            transit: text(&json(a::TRANSIT)?["ipv4"])?.parse().ok()?,
            address: text(&gateway["ip-address"])?.parse().ok()?,
            mac: text(&gateway["mac-address"])?.parse().ok()?,
            next_hop: text(&gateway["next-hop"])?.parse().ok()?,
            encap_ip: text(&json(a::ENCAP_IPS)?[0])?.parse().ok()?,
        })
    }
}

/// Those of the other networks.
fn shares(written: &BTreeMap<String, String>) -> Option<BTreeMap<String, Vec<IpNet>>> {
    let subnets: Value = serde_json::from_str(written.get(annotations::SUBNETS)?).ok()?;
    let others = subnets.as_object()?.iter();
    others
        .filter(|(network, _)| *network != DEFAULT_NETWORK)
        .map(|(network, subnets)| {
            Some((
                network.clone(),
                serde_json::from_value(subnets.clone()).ok()?,
            ))
        })
        .collect()
}

/// The subnet of the default network, which older annotations write without a list.
fn default_subnet(written: &BTreeMap<String, String>) -> Option<Ipv4Net> {
    let subnets: Value = serde_json::from_str(written.get(annotations::SUBNETS)?).ok()?;
    let subnets = &subnets["default"];
    let first = subnets.as_array().map_or(subnets, |list| &list[0]);
    first.as_str()?.parse().ok()
}
