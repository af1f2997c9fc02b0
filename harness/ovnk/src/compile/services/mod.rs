//! Services as load balancers (`pkg/ovn/controller/services`). A service that looks the same from
//! everywhere has one balancer per protocol, which all node switches and gateway routers share;
//! one that does not (endpoints on the hosts' network, local traffic only) has its own on each
//! node; node ports have one whose addresses are variables of the chassis.

mod balancer;
mod node_port;
mod per_node;
mod targets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::names::Key;
use crate::world::{EndpointSlice, Protocol, Service, TrafficPolicy};

use super::Context;
use balancer::{Balancer, Holder, rule};
use node_port::Variables;
use targets::Targets;

/// What a port of a service is reached under.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addresses {
    /// The node's own.
    Node,
    These(Vec<IpAddr>),
}

/// A port of a service under some addresses.
struct Entry<'a> {
    protocol: Protocol,
    addresses: Addresses,
    port: u16,
    targets: &'a Targets,
    /// What comes from outside stays on its node.
    external: TrafficPolicy,
    /// What comes from inside stays on its node.
    internal: TrafficPolicy,
}

/// A service's entries, by the kind of balancer they need.
#[derive(Default)]
struct Entries<'a> {
    cluster: Vec<Entry<'a>>,
    node_port: Vec<Entry<'a>>,
    per_node: Vec<Entry<'a>>,
}

pub(super) fn compile(cx: &mut Context) {
    let world = cx.world;
    let mut slices: BTreeMap<Key, Vec<&EndpointSlice>> = BTreeMap::new();
    for (key, slice) in &world.endpoint_slices {
        if let Some(service) = &slice.service {
            let service = Key::new(key.namespace.as_str(), service.as_str());
            slices.entry(service).or_default().push(slice);
        }
    }
    let mut variables = Variables::new(cx);
    for (key, service) in &world.services {
        if service.cluster_ips.is_empty() {
            continue;
        }
        let slices = slices.get(key).map_or(&[][..], Vec::as_slice);
        for balancer in balancers(cx, key, service, slices, &mut variables) {
            balancer.add(cx);
        }
    }
    variables.add(cx);
}

fn balancers(
    cx: &Context,
    key: &Key,
    service: &Service,
    slices: &[&EndpointSlice],
    variables: &mut Variables,
) -> Vec<Balancer> {
    let node = cx.node.name.as_str();
    let targets: Vec<Targets> = service
        .ports
        .iter()
        .map(|port| Targets::of(service, port, slices, node))
        .collect();
    let entries = entries(cx, service, &targets);
    let mut balancers = cluster_wide(cx, key, service, &entries.cluster);
    let node_port = node_port::balancers(cx, key, service, &entries.node_port, variables);
    balancers.extend(node_port);
    balancers.extend(per_node::balancers(cx, key, service, &entries.per_node));
    balancers
}

fn entries<'a>(cx: &Context, service: &Service, targets: &'a [Targets]) -> Entries<'a> {
    let mut entries = Entries::default();
    for (port, targets) in service.ports.iter().zip(targets) {
        let entry = |addresses, number| Entry {
            protocol: port.protocol,
            addresses,
            port: number,
            targets,
            external: TrafficPolicy::Cluster,
            internal: TrafficPolicy::Cluster,
        };
        let from_outside = |entry: Entry<'a>| Entry {
            external: service.external_policy,
            ..entry
        };
        let stays_local = service.external_policy == TrafficPolicy::Local;
        if let Some(number) = port.node_port {
            let entry = from_outside(entry(Addresses::Node, number));
            // Variables can express neither of the two.
            if stays_local || balancer::has_timeout(service) {
                entries.per_node.push(entry);
            } else {
                entries.node_port.push(entry);
            }
        }
        let mut addresses = service.cluster_ips.clone();
        if stays_local && !service.external_ips.is_empty() {
            let addresses = Addresses::These(service.external_ips.clone());
            let entry = from_outside(entry(addresses, port.port));
            entries.per_node.push(entry);
        } else {
            addresses.extend(&service.external_ips);
        }
        let entry = Entry {
            internal: service.internal_policy,
            ..entry(Addresses::These(addresses), port.port)
        };
        let on_hosts = targets.all.iter().any(|ip| !is_pod(cx, *ip));
        if on_hosts || service.internal_policy == TrafficPolicy::Local {
            entries.per_node.push(entry);
        } else {
            entries.cluster.push(entry);
        }
    }
    entries
}

/// Whether an address is of the pod network; others are the hosts'.
fn is_pod(cx: &Context, address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if cx.world.config.cluster.contains(&ip))
}

fn by_protocol<'e, 'a>(
    entries: &'e [Entry<'a>],
    protocol: Protocol,
) -> impl Iterator<Item = &'e Entry<'a>> + Clone {
    entries
        .iter()
        .filter(move |entry| entry.protocol == protocol)
}

fn cluster_wide(cx: &Context, key: &Key, service: &Service, entries: &[Entry]) -> Vec<Balancer> {
    let mut balancers = Vec::new();
    for protocol in Protocol::ALL {
        let mut rules = Vec::new();
        for entry in by_protocol(entries, protocol) {
            if let Addresses::These(addresses) = &entry.addresses {
                let all = &entry.targets.all;
                rules.extend(
                    addresses
                        .iter()
                        .map(|vip| rule(*vip, entry.port, all, entry.targets.port)),
                );
            }
        }
        if !rules.is_empty() {
            let holder = Holder::Group("clusterLBGroup");
            let balancer = Balancer::new(cx, key, service, protocol, "cluster");
            balancers.push(balancer.with(rules, [holder]));
        }
    }
    balancers
}
