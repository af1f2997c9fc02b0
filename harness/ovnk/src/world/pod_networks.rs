//! The annotation `k8s.ovn.org/pod-networks` (OVN-Kubernetes' `pkg/util/pod_annotation.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use trunkline_fabric::MacAddr;

/// Attachments by `default` or `namespace/nad`.
pub type PodNetworks = BTreeMap<String, Attachment>;

/// The part that a network plays for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Primary,
    Secondary,
    InfrastructureLocked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRoute {
    pub dest: IpNet,
    #[serde(rename = "nextHop")]
    pub next_hop: IpAddr,
}

/// What a pod has on one network. Fields stand in the order in which upstream writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Attachment {
    /// With prefix lengths; empty without IPAM.
    pub addresses: Vec<IpNet>,
    pub mac: MacAddr,
    pub gateways: Vec<IpAddr>,
    pub routes: Vec<PodRoute>,
    /// Key of the port's tunnel on layer 2 networks, from 1.
    pub tunnel_id: Option<u32>,
    pub role: Role,
}

/// The notation: `null` for no address, singular forms when there is exactly one.
#[derive(Clone, Serialize, Deserialize)]
struct Wire {
    ip_addresses: Option<Vec<IpNet>>,
    mac_address: MacAddr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gateway_ips: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<PodRoute>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpNet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway_ip: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tunnel_id: Option<u32>,
    #[serde(default = "primary")]
    role: Role,
}

/// What annotations of old versions mean that do not say.
fn primary() -> Role {
    Role::Primary
}

impl From<Attachment> for Wire {
    fn from(attachment: Attachment) -> Wire {
        let single = |ips: &[IpNet]| (ips.len() == 1).then(|| ips[0]);
        Wire {
            ip_address: single(&attachment.addresses),
            ip_addresses: (!attachment.addresses.is_empty()).then_some(attachment.addresses),
            mac_address: attachment.mac,
            gateway_ip: (attachment.gateways.len() == 1).then(|| attachment.gateways[0]),
            gateway_ips: attachment.gateways,
            routes: attachment.routes,
            tunnel_id: attachment.tunnel_id,
            role: attachment.role,
        }
    }
}

impl From<Wire> for Attachment {
    fn from(wire: Wire) -> Attachment {
        Attachment {
            addresses: wire.ip_addresses.unwrap_or_default(),
            mac: wire.mac_address,
            gateways: wire.gateway_ips,
            routes: wire.routes,
            tunnel_id: wire.tunnel_id.filter(|id| *id != 0),
            role: wire.role,
        }
    }
}

impl Attachment {
    /// MAC and addresses in one string, as logical switch ports have them.
    pub fn port_address(&self) -> String {
        let addresses = self.addresses.iter().map(|net| format!(" {}", net.addr()));
        std::iter::once(self.mac.to_string())
            .chain(addresses)
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn written_as_recorded() {
        let texts = [
            r#"{"ip_addresses":["10.244.1.4/24"],"mac_address":"0a:58:0a:f4:01:04","gateway_ips":["10.244.1.1"],"routes":[{"dest":"10.244.0.0/16","nextHop":"10.244.1.1"}],"ip_address":"10.244.1.4/24","gateway_ip":"10.244.1.1","role":"primary"}"#,
            r#"{"ip_addresses":["192.168.200.4/24"],"mac_address":"0a:58:c0:a8:c8:04","ip_address":"192.168.200.4/24","tunnel_id":4,"role":"secondary"}"#,
            r#"{"ip_addresses":null,"mac_address":"42:11:cf:5a:d9:df","tunnel_id":3,"role":"secondary"}"#,
        ];
        for text in texts {
            let read: Attachment = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
