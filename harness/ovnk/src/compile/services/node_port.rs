//! Node ports. The address is the node's, wherever the balancer is in force, so it is a variable
//! with another value on each chassis; so are targets that are not the same everywhere.

use std::collections::BTreeMap;

use crate::names::Key;
use crate::northbound::{Row, Table, Value, name};
use crate::world::{Protocol, Service};

use super::super::Context;
use super::balancer::{Balancer, Holder, Rule, balancer_name, join};
use super::per_node::router_targets;
use super::{Entry, by_protocol};

/// The first and only address of each node.
const NODE_ADDRESS: &str = "NODEIP_IPv4_0";

/// Values of variables on the zone's own chassis.
pub(super) struct Variables(BTreeMap<String, String>);

impl Variables {
    pub(super) fn new(cx: &Context) -> Variables {
        let address = cx.node.address.addr().to_string();
        Variables(BTreeMap::from([(NODE_ADDRESS.to_owned(), address)]))
    }

    pub(super) fn add(self, cx: &mut Context) {
        let chassis = cx.node.chassis.as_str();
        let row = Row::new()
            .with("chassis", chassis)
            .with("variables", Value::map(self.0));
        cx.add(Table::ChassisTemplateVar, name::variables(chassis), row);
    }
}

pub(super) fn balancers(
    cx: &Context,
    key: &Key,
    service: &Service,
    entries: &[Entry],
    variables: &mut Variables,
) -> Vec<Balancer> {
    let mut balancers = Vec::new();
    for protocol in Protocol::ALL {
        let entries = by_protocol(entries, protocol);
        if entries.clone().next().is_none() {
            continue;
        }
        let from_switch = entries.clone().map(everywhere).collect();
        let from_router = entries
            .map(|entry| on_router(cx, key, entry, variables))
            .collect();
        let new = |scope: &str, rules, group| {
            Balancer::new(cx, key, service, protocol, scope)
                .option("template", "true")
                .option("address-family", "ipv4")
                .with(rules, [Holder::Group(group)])
        };
        let switch = new(
            "node_switch_template_IPv4",
            from_switch,
            "clusterSwitchLBGroup",
        );
        let router = new(
            "node_router_template_IPv4",
            from_router,
            "clusterRouterLBGroup",
        );
        if switch.says_the_same(&router) {
            balancers.push(switch.merged(router));
        } else {
            balancers.extend([switch, router]);
        }
    }
    balancers
}

fn everywhere(entry: &Entry) -> Rule {
    let targets = entry.targets.all.iter().filter(|ip| ip.is_ipv4());
    (vip(entry.port), join(targets, entry.targets.port))
}

/// Where one of the targets is the node itself, its name on the router is another one.
fn on_router(cx: &Context, key: &Key, entry: &Entry, variables: &mut Variables) -> Rule {
    let own = router_targets(cx, entry);
    if own == entry.targets.all {
        return everywhere(entry);
    }
    let scope = format!("{}_node_router_template_IPv4", entry.port);
    let variable = variable(&balancer_name(key, entry.protocol, &scope));
    let targets = own.iter().filter(|ip| ip.is_ipv4());
    let reference = format!("^{variable}");
    variables
        .0
        .insert(variable, join(targets, entry.targets.port));
    (vip(entry.port), reference)
}

fn vip(port: u16) -> String {
    format!("^{NODE_ADDRESS}:{port}")
}

/// Only letters, digits and underscores are allowed; what was an underscore is two.
fn variable(name: &str) -> String {
    name.replace('_', "__").replace(['/', '-', '$', '@'], "_")
}
