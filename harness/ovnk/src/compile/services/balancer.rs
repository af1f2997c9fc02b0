//! A load balancer, and what holds it.

use std::net::{IpAddr, SocketAddr};

use crate::names::Key;
use crate::northbound::{Row, RowRef, Table, Value};
use crate::world::{Protocol, Service};

use super::super::Context;

/// With this affinity a client stays with its endpoint for ever, for which OVN needs no timer.
const LONGEST_AFFINITY: u32 = 86_400;

/// Whether a client stays with its endpoint for a limited time.
pub(super) fn has_timeout(service: &Service) -> bool {
    service
        .affinity
        .is_some_and(|seconds| seconds != LONGEST_AFFINITY)
}

/// An address and port, and what stands for it, both as OVN reads them.
pub(super) type Rule = (String, String);

/// Only targets of the address's own family can stand for it.
pub(super) fn rule(vip: IpAddr, port: u16, targets: &[IpAddr], target_port: u16) -> Rule {
    let same = targets.iter().filter(|ip| ip.is_ipv4() == vip.is_ipv4());
    (
        SocketAddr::new(vip, port).to_string(),
        join(same, target_port),
    )
}

pub(super) fn join<'a>(targets: impl IntoIterator<Item = &'a IpAddr>, port: u16) -> String {
    let targets = targets.into_iter();
    let targets: Vec<_> = targets
        .map(|ip| SocketAddr::new(*ip, port).to_string())
        .collect();
    targets.join(",")
}

/// What a balancer is in force on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Group(&'static str),
    Switch(String),
    Router(String),
}

#[derive(Debug, Clone)]
pub(super) struct Balancer {
    name: String,
    row: Row,
    options: Vec<(&'static str, String)>,
    rules: Vec<Rule>,
    holders: Vec<Holder>,
}

impl Balancer {
    /// One that does nothing yet. The scope says where it is in force, for whoever reads names.
    pub(super) fn new(
        cx: &Context,
        key: &Key,
        service: &Service,
        protocol: Protocol,
        scope: &str,
    ) -> Balancer {
        let config = &cx.world.config;
        let hairpin = format!("{} {}", config.hairpin(), config.hairpin6());
        let options = vec![
            ("event", "false".to_owned()),
            ("hairpin_snat_ip", hairpin),
            ("neighbor_responder", "none".to_owned()),
            ("reject", "true".to_owned()),
            ("skip_snat", "false".to_owned()),
        ];
        let name = balancer_name(key, protocol, scope);
        let mut row = Row::named(name.as_str())
            .with("protocol", protocol.as_str().to_lowercase())
            .with(
                "external_ids",
                [
                    ("k8s.ovn.org/kind", "Service".to_owned()),
                    ("k8s.ovn.org/owner", key.to_string()),
                ],
            );
        // Upstream does this for the longest affinity only, and has a timer for all others. With
        // a timer OVN drops a client's first packet, and takes the second for another first one:
        // not so Open vSwitch's userspace datapath, which has translated it before OVN sees it.
        if service.affinity.is_some() {
            row.set("selection_fields", vec!["ip_dst", "ip_src"]);
        }
        Balancer {
            name,
            row,
            options,
            rules: Vec::new(),
            holders: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn option(mut self, key: &'static str, value: &str) -> Balancer {
        self.options.retain(|(other, _)| *other != key);
        self.options.push((key, value.to_owned()));
        self
    }

    #[must_use]
    pub(super) fn with<const N: usize>(
        mut self,
        rules: Vec<Rule>,
        holders: [Holder; N],
    ) -> Balancer {
        self.rules = rules;
        self.holders = holders.into();
        self
    }

    /// Both in one, in force wherever either was. They must say the same.
    #[must_use]
    pub(super) fn merged(mut self, other: Balancer) -> Balancer {
        self.name.push_str("_merged");
        self.row.set("name", self.name.as_str());
        self.holders.extend(other.holders);
        self
    }

    pub(super) fn says_the_same(&self, other: &Balancer) -> bool {
        self.rules == other.rules && self.options == other.options
    }

    pub(super) fn add(self, cx: &mut Context) {
        let row = self
            .row
            .with("options", Value::map(self.options))
            .with("vips", Value::map(self.rules));
        let balancer = cx.add(Table::LoadBalancer, self.name, row);
        for holder in self.holders {
            attach(cx, &holder, balancer.clone());
        }
    }
}

/// `Service_<namespace>/<name>_<protocol>_<scope>`.
pub(super) fn balancer_name(key: &Key, protocol: Protocol, scope: &str) -> String {
    format!("Service_{key}_{protocol}_{scope}")
}

fn attach(cx: &mut Context, holder: &Holder, balancer: RowRef) {
    let (table, name) = match holder {
        Holder::Group(name) => (Table::LoadBalancerGroup, *name),
        Holder::Switch(name) => (Table::LogicalSwitch, name.as_str()),
        Holder::Router(name) => (Table::LogicalRouter, name.as_str()),
    };
    cx.attach(table, name, "load_balancer", balancer);
}
