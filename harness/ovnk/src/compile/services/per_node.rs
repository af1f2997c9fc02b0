//! Balancers of which every node has its own: on its switch for what its pods send, on its
//! gateway router for what comes from outside and from the node itself.

use std::net::IpAddr;

use crate::names::Key;
use crate::world::{Protocol, Service, TrafficPolicy};

use super::super::Context;
use super::super::cluster::own_gateway;
use super::balancer::{Balancer, Holder, Rule, rule};
use super::{Addresses, Entry, by_protocol};

pub(super) fn balancers(
    cx: &Context,
    key: &Key,
    service: &Service,
    entries: &[Entry],
) -> Vec<Balancer> {
    let mut balancers = Vec::new();
    for protocol in Protocol::ALL {
        let mut rules = Rules::default();
        for entry in by_protocol(entries, protocol) {
            rules.add(cx, entry);
        }
        balancers.extend(rules.balancers(cx, key, service, protocol));
    }
    balancers
}

/// What one protocol of a service needs on this node.
#[derive(Default)]
struct Rules {
    switch: Vec<Rule>,
    router: Vec<Rule>,
    /// On the router too, but endpoints see who really sent it.
    local_router: Vec<Rule>,
}

impl Rules {
    fn add(&mut self, cx: &Context, entry: &Entry) {
        let targets = entry.targets;
        let stays_local = entry.external == TrafficPolicy::Local;
        let from_router = router_targets(cx, entry);
        let (vips, is_node_port) = match &entry.addresses {
            Addresses::Node => (vec![IpAddr::V4(cx.node.address.addr())], true),
            Addresses::These(addresses) => (addresses.clone(), false),
        };
        for vip in vips {
            if stays_local && is_node_port {
                let masquerade = cx.world.config.host_local_masquerade().into();
                let rule = rule(masquerade, entry.port, &targets.local, targets.port);
                self.switch.push(rule);
            }
            let own_only = entry.internal == TrafficPolicy::Local && is_cluster_ip(cx, vip);
            let from_switch = if own_only {
                &targets.local
            } else {
                &targets.all
            };
            self.switch
                .push(rule(vip, entry.port, from_switch, targets.port));
            let routed = rule(vip, entry.port, &from_router, targets.port);
            // Without a target there is nobody who could see the sender.
            if stays_local && !routed.1.is_empty() {
                self.local_router.push(routed);
            } else {
                self.router.push(routed);
            }
        }
    }

    fn balancers(
        self,
        cx: &Context,
        key: &Key,
        service: &Service,
        protocol: Protocol,
    ) -> Vec<Balancer> {
        let node = &cx.node.name;
        let router = || Holder::Router(own_gateway(cx));
        let switch = || Holder::Switch(node.to_string());
        let new = |scope: &str| {
            let scope = format!("{scope}_{node}");
            Balancer::new(cx, key, service, protocol, &scope)
        };
        if !self.switch.is_empty() && self.switch == self.router {
            return vec![new("node_router+switch").with(self.router, [router(), switch()])];
        }
        let mut balancers = Vec::new();
        if !self.router.is_empty() {
            balancers.push(new("node_router").with(self.router, [router()]));
        }
        if !self.local_router.is_empty() {
            let balancer = new("node_local_router").with(self.local_router, [router()]);
            balancers.push(balancer.option("skip_snat", "true"));
        }
        if !self.switch.is_empty() {
            balancers.push(new("node_switch").with(self.switch, [switch()]));
        }
        balancers
    }
}

fn is_cluster_ip(cx: &Context, address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if cx.world.config.services.contains(&ip))
}

/// The router and its node have the same address, so the router must call the node by another.
pub(super) fn router_targets(cx: &Context, entry: &Entry) -> Vec<IpAddr> {
    let chosen = match entry.external {
        TrafficPolicy::Local => &entry.targets.local,
        TrafficPolicy::Cluster => &entry.targets.all,
    };
    let own = IpAddr::V4(cx.node.address.addr());
    let masquerade = IpAddr::V4(cx.world.config.host_masquerade());
    chosen
        .iter()
        .map(|ip| if *ip == own { masquerade } else { *ip })
        .collect()
}
