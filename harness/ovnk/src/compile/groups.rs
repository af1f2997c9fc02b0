//! Address sets and port groups: what policies refer to (`pkg/ovn/base_network_controller_namespace.go`,
//! `pkg/ovn/udn_isolation.go`, `pkg/ovn/udnenabledsvc`).

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::names::{DEFAULT_CONTROLLER, Key};
use crate::northbound::{Row, RowRef, Table, Value};
use crate::owner::Owner;

use super::Context;

/// The namespace that stands for the nodes themselves.
const HOST_NAMESPACE: &str = "ovn-host-network";

/// Services that pods of primary user-defined networks may reach too.
const UDN_SERVICES: [(&str, &str); 2] = [("default", "kubernetes"), ("kube-system", "kube-dns")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn name(self) -> &'static str {
        match self {
            Family::V4 => "v4",
            Family::V6 => "v6",
        }
    }

    pub(super) fn of(address: IpAddr) -> Family {
        if address.is_ipv4() {
            Family::V4
        } else {
            Family::V6
        }
    }
}

pub(super) fn address_set<A: Into<String>>(
    cx: &mut Context,
    owner: &Owner,
    addresses: impl IntoIterator<Item = A>,
) {
    let addresses: BTreeSet<String> = addresses.into_iter().map(Into::into).collect();
    let row = Row::named(owner.hashed())
        .with("addresses", Value::set(addresses))
        .with("external_ids", owner.external_ids());
    cx.add_named(Table::AddressSet, row);
}

/// Returns the group's name.
pub(super) fn port_group(cx: &mut Context, owner: &Owner, ports: Vec<RowRef>) -> String {
    let name = owner.hashed();
    let row = Row::named(name.as_str())
        .with("ports", ports)
        .with("external_ids", owner.external_ids());
    cx.add_named(Table::PortGroup, row);
    name
}

pub(super) fn cluster_port_group() -> Owner {
    Owner::new(DEFAULT_CONTROLLER, "Cluster", "clusterPortGroup")
}

/// Pods whose primary network is another one: unreachable on this one.
pub(super) fn isolated_pods() -> Owner {
    Owner::new(DEFAULT_CONTROLLER, "UDNIsolation", "SecondaryPods")
}

/// The address set and the port group of a namespace on one network.
pub(super) fn namespace_sets(controller: &str, namespace: &str, family: Family) -> Owner {
    Owner::new(controller, "Namespace", namespace).with("ip-family", family.name())
}

pub(super) fn namespace_group(controller: &str, namespace: &str) -> Owner {
    Owner::new(controller, "Namespace", namespace)
}

pub(super) fn default_network(cx: &mut Context) {
    let management = RowRef::new(Table::LogicalSwitchPort, format!("k8s-{}", cx.node.name));
    port_group(cx, &cluster_port_group(), vec![management]);
    let owner = Owner::new(DEFAULT_CONTROLLER, "Cluster", "clusterRtrPortGroup");
    port_group(cx, &owner, Vec::new());
    port_group(cx, &isolated_pods(), Vec::new());
    for namespace in &cx.world.namespaces {
        let addresses = default_addresses(cx, namespace);
        let owner = namespace_sets(DEFAULT_CONTROLLER, namespace, Family::V4);
        address_set(cx, &owner, addresses);
        let ports = cx
            .world
            .running_pods()
            .filter(|(key, pod, node)| {
                key.namespace == *namespace
                    && cx.is_local(node)
                    && pod.networks.contains_key(crate::names::DEFAULT_NETWORK)
            })
            .map(|(key, ..)| RowRef::new(Table::LogicalSwitchPort, crate::names::default_port(key)))
            .collect();
        port_group(cx, &namespace_group(DEFAULT_CONTROLLER, namespace), ports);
    }
    udn_services(cx);
}

/// Of all zones, as policies are about pods wherever they run.
fn default_addresses(cx: &Context, namespace: &str) -> Vec<String> {
    let world = cx.world;
    if namespace == HOST_NAMESPACE {
        let addresses = world
            .nodes
            .values()
            .flat_map(|node| [node.management(), world.config.join_address(node.id).addr()]);
        return addresses.map(|ip| ip.to_string()).collect();
    }
    world
        .running_pods()
        .filter(|(key, ..)| key.namespace == namespace)
        .filter_map(|(_, pod, _)| pod.networks.get(crate::names::DEFAULT_NETWORK))
        .flat_map(|attachment| &attachment.addresses)
        .map(|net| net.addr().to_string())
        .collect()
}

fn udn_services(cx: &mut Context) {
    let addresses: Vec<String> = UDN_SERVICES
        .iter()
        .filter_map(|(namespace, name)| cx.world.services.get(&Key::new(*namespace, *name)))
        .flat_map(|service| &service.cluster_ips)
        .filter(|ip| ip.is_ipv4())
        .map(IpAddr::to_string)
        .collect();
    let owner = Owner::new(
        "udn-enabled-svc",
        "UDNEnabledService",
        "udn-enabled-svc-cluster-ips",
    )
    .with("ip-family", "v4");
    address_set(cx, &owner, addresses);
}
