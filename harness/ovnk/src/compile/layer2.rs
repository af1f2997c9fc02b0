//! Secondary layer 2 networks: one switch, the same in every zone, with a port for every pod of
//! every zone (`pkg/ovn/base_secondary_layer2_network_controller.go`).

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::nad::Network;
use crate::names::{Key, layer2_switch, nad_port, prefix};
use crate::northbound::{Row, RowRef, Scalar, Table, Value};

use super::Context;
use super::cluster::{load_balancer_groups, switch_groups, switch_port, transit_config};
use super::namespaces::{Member, namespaces};
use super::ports::{extend, of_network, pod_port};

pub(super) fn compile(cx: &mut Context, network: &Network) {
    let name = network.conf.name.as_str();
    let switch = layer2_switch(name);
    load_balancer_groups(cx, &prefix(name));
    add_switch(cx, network, &switch);
    let ports = add_ports(cx, network, &switch);
    namespaces(cx, network, &ports);
}

fn add_switch(cx: &mut Context, network: &Network, switch: &str) {
    let name = network.conf.name.as_str();
    let mut config: BTreeMap<String, Scalar> = transit_config(switch, network.id)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    for subnet in &network.conf.subnets {
        let (key, value) = match subnet {
            IpNet::V4(net) => ("subnet", net.to_string()),
            IpNet::V6(net) => ("ipv6_prefix", net.network().to_string()),
        };
        config.insert(key.to_owned(), value.into());
    }
    let row = Row::named(switch)
        .with("other_config", Value::Map(config))
        .with("load_balancer_group", switch_groups(&prefix(name)))
        .with(
            "external_ids",
            [
                ("k8s.ovn.org/network", name),
                ("k8s.ovn.org/role", "secondary"),
                ("k8s.ovn.org/topology", "layer2"),
            ],
        );
    cx.add_named(Table::LogicalSwitch, row);
}

fn add_ports(cx: &mut Context, network: &Network, switch: &str) -> Vec<Member> {
    let world = cx.world;
    let mut members = Vec::new();
    for (key, pod, node) in world.running_pods() {
        for (nad, attachment) in &pod.networks {
            let Some(nad) = Key::parse(nad).filter(|nad| network.nads.contains(nad)) else {
                continue;
            };
            // Zones could not agree on a port without one; the cluster manager will give it.
            let Some(tunnel_id) = attachment.tunnel_id else {
                continue;
            };
            let port = nad_port(&nad, key);
            let mut row = pod_port(port.clone(), key, pod, node, attachment);
            let key_option = ("requested-tnl-key", tunnel_id.to_string());
            extend(&mut row, "options", vec![key_option]);
            extend(&mut row, "external_ids", of_network(network, &nad));
            if !cx.is_local(node) {
                row.set("type", "remote");
            }
            switch_port(cx, switch, row);
            members.push(Member {
                namespace: key.namespace.clone(),
                port: Some(RowRef::new(Table::LogicalSwitchPort, port)),
                attachment: attachment.clone(),
            });
        }
    }
    members
}
