//! Through which of its ports a pod reaches an address. Pure.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Deserialize;

const ANNOTATION: &str = "k8s.ovn.org/pod-networks";

/// A port of a pod on a logical switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    /// The name of the logical port.
    pub port: String,
    pub mac: String,
    pub address: IpAddr,
    /// Whose MAC a frame to the destination carries: the destination's on the same subnet, else the gateway's.
    pub next_hop: IpAddr,
    /// The network is an additional one: its policies are MultiNetworkPolicies.
    pub secondary: bool,
}

/// An entry of the annotation, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Network {
    #[serde(default)]
    ip_addresses: Vec<IpNet>,
    mac_address: String,
    #[serde(default)]
    gateway_ips: Vec<IpAddr>,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    role: String,
}

#[derive(Debug, Deserialize)]
struct Route {
    dest: IpNet,
    #[serde(rename = "nextHop")]
    next_hop: IpAddr,
}

impl Attachment {
    /// As the pod's routing table has it: the own subnet, else the longest route, else the default gateway.
    pub fn towards(pod: &Pod, destination: IpAddr) -> Result<Option<Self>, String> {
        let Some(text) = pod.annotations().get(ANNOTATION) else {
            return Ok(None);
        };
        let networks: BTreeMap<String, Network> = serde_json::from_str(text)
            .map_err(|error| format!("the annotation {ANNOTATION} cannot be read: {error}"))?;
        let best = networks
            .iter()
            .filter_map(|(nad, network)| Some((way(network, destination)?, nad, network)))
            .max_by_key(|((length, _), ..)| *length);
        let Some(((_, next_hop), nad, network)) = best else {
            return Ok(None);
        };
        let same_family = |net: &&IpNet| net.addr().is_ipv4() == destination.is_ipv4();
        let Some(own) = network.ip_addresses.iter().find(same_family) else {
            return Ok(None);
        };
        Ok(Some(Self {
            port: port_name(
                nad,
                pod.namespace().as_deref().unwrap_or("default"),
                &pod.name_any(),
            ),
            mac: network.mac_address.clone(),
            address: own.addr(),
            next_hop,
            secondary: network.role == "secondary",
        }))
    }
}

/// How specific the way to the destination is, and its next hop. The own subnet beats a route of the same length.
fn way(network: &Network, destination: IpAddr) -> Option<((u8, bool), IpAddr)> {
    let direct = network
        .ip_addresses
        .iter()
        .filter(|net| net.contains(&destination))
        .map(|net| ((net.prefix_len(), true), destination));
    let routed = network
        .routes
        .iter()
        .filter(|route| route.dest.contains(&destination))
        .map(|route| ((route.dest.prefix_len(), false), route.next_hop));
    let default = network
        .gateway_ips
        .iter()
        .filter(|gateway| gateway.is_ipv4() == destination.is_ipv4() && network.role != "secondary")
        .map(|gateway| ((0, false), *gateway));
    direct
        .chain(routed)
        .chain(default)
        .max_by_key(|(rank, _)| *rank)
}

/// The logical port: that of an additional network is prefixed with its attachment definition.
fn port_name(nad: &str, namespace: &str, pod: &str) -> String {
    if nad == "default" {
        return format!("{namespace}_{pod}");
    }
    let prefix = nad.replace(['-', '/'], ".");
    format!("{prefix}_{namespace}_{pod}")
}
