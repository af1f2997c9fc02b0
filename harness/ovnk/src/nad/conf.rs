//! The CNI configuration inside a NetworkAttachmentDefinition
//! (OVN-Kubernetes' `pkg/cni/types` and `pkg/config/cni.go`).

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::validate::{self, NadError};
use crate::config::ClusterConfig;
use crate::names::Key;

/// The shape of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    Layer2,
    Layer3,
    Localnet,
}

impl Topology {
    pub fn as_str(self) -> &'static str {
        match self {
            Topology::Layer2 => "layer2",
            Topology::Layer3 => "layer3",
            Topology::Localnet => "localnet",
        }
    }
}

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct NetConf {
    /// Of the network, which NADs of several namespaces may share.
    pub name: String,
    pub topology: Topology,
    pub primary: bool,
    pub subnets: Vec<IpNet>,
    /// The length of each node's share of each subnet, on layer 3.
    pub shares: Vec<u8>,
    pub excluded: Vec<IpNet>,
    pub mtu: u16,
    pub vlan: u16,
    pub physical_network: Option<String>,
    pub persistent_ips: bool,
}

impl NetConf {
    /// Reads and checks `spec.config` of the NAD.
    pub fn parse(config: &ClusterConfig, nad: &Key, text: &str) -> Result<NetConf, NadError> {
        let wire = Wire::parse(text).map_err(|error| match error {
            NadError::NotOurs => NadError::NotOurs,
            other @ NadError::Invalid(_) => NadError::invalid(format!(
                "error parsing Network Attachment Definition {nad}: {other}"
            )),
        })?;
        validate::check(config, &nad.to_string(), &wire)
    }

    /// Whether two NADs can share a network.
    pub fn is_compatible(&self, other: &NetConf) -> bool {
        let sorted = |nets: &[IpNet]| {
            let mut nets = nets.to_vec();
            nets.sort();
            nets
        };
        self.name == other.name
            && self.topology == other.topology
            && self.mtu == other.mtu
            && self.vlan == other.vlan
            && self.persistent_ips == other.persistent_ips
            && self.primary == other.primary
            && self.physical_network == other.physical_network
            && sorted(&self.subnets) == sorted(&other.subnets)
            && self.shares == other.shares
            && sorted(&self.excluded) == sorted(&other.excluded)
    }

    /// Whether addresses are allocated.
    pub fn has_ipam(&self) -> bool {
        !self.subnets.is_empty()
    }

    /// Whether ports need a tunnel key that all zones agree on.
    pub fn has_tunnel_ids(&self) -> bool {
        self.topology == Topology::Layer2
    }
}

/// The configuration as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Wire {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) topology: String,
    pub(crate) role: String,
    pub(crate) net_attach_def_name: String,
    pub(crate) mtu: Option<i64>,
    pub(crate) subnets: String,
    pub(crate) exclude_subnets: String,
    pub(crate) reserved_subnets: String,
    pub(crate) infrastructure_subnets: String,
    pub(crate) join_subnet: String,
    #[serde(rename = "defaultGatewayIPs")]
    pub(crate) default_gateway_ips: String,
    #[serde(rename = "vlanID")]
    pub(crate) vlan_id: i64,
    #[serde(rename = "allowPersistentIPs")]
    pub(crate) allow_persistent_ips: bool,
    pub(crate) physical_network_name: String,
    pub(crate) ipam: Ipam,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ipam {
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

impl Wire {
    /// A single plugin, or a list of exactly one.
    fn parse(text: &str) -> Result<Wire, NadError> {
        let broken =
            |error: serde_json::Error| NadError::invalid(crate::go::json_error(text, &error));
        let json: Value = serde_json::from_str(text).map_err(broken)?;
        let wire = match json["plugins"].as_array().map(Vec::as_slice) {
            None => serde_json::from_value::<Wire>(json).map_err(broken)?,
            Some([]) => {
                return Err(NadError::invalid(
                    "error parsing configuration list: no plugins in list",
                ));
            }
            Some([first, rest @ ..]) => {
                let mut wire: Wire = serde_json::from_value(first.clone()).map_err(broken)?;
                json["name"]
                    .as_str()
                    .unwrap_or_default()
                    .clone_into(&mut wire.name);
                if wire.kind == validate::OUR_TYPE && !rest.is_empty() {
                    return Err(NadError::invalid("CNI plugin chaining is not supported"));
                }
                wire
            }
        };
        if wire.kind != validate::OUR_TYPE {
            return Err(NadError::NotOurs);
        }
        validate::check_names(&wire)?;
        Ok(wire)
    }
}
