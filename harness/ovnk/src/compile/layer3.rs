//! Secondary layer 3 networks: every node has a subnet and a switch of its own, and a router; the
//! routers of the zones meet on a transit switch
//! (`pkg/ovn/layer3_user_defined_network_controller.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::nth_of;
use crate::nad::Network;
use crate::names::{
    COPP, Key, TRANSIT_SWITCH, layer3_router, layer3_switch, mac_of, mac4, nad_port, prefix,
};
use crate::northbound::{Row, RowRef, Scalar, Table, Value};
use crate::world::Node;

use super::Context;
use super::cluster::{
    add_router_port, load_balancer_groups, lrp, route, router_port, switch_groups, switch_port,
    transit_config,
};
use super::namespaces::{Member, namespaces};
use super::ports::{extend, of_network, pod_port};

pub(super) fn compile(cx: &mut Context, network: &Network) {
    let name = network.conf.name.as_str();
    let Some(share) = cx.node.shares.get(name) else {
        // There was none left, or it is on its way.
        return;
    };
    load_balancer_groups(cx, &prefix(name));
    router(cx, network);
    node_switch(cx, network, share);
    transit(cx, network);
    let members = add_ports(cx, network);
    namespaces(cx, network, &members);
}

/// What switches say about their network; routers leave the role out.
fn external_ids(network: &Network) -> [(&'static str, &str); 3] {
    [
        ("k8s.ovn.org/network", &network.conf.name),
        ("k8s.ovn.org/role", "secondary"),
        ("k8s.ovn.org/topology", "layer3"),
    ]
}

fn router(cx: &mut Context, network: &Network) {
    let [name, _, topology] = external_ids(network);
    let row = Row::named(layer3_router(&network.conf.name))
        .with(
            "external_ids",
            [("k8s-cluster-router", "yes"), name, topology],
        )
        .with("options", [("always_learn_from_arp_request", "false")])
        .with("copp", RowRef::new(Table::Copp, COPP));
    cx.add_named(Table::LogicalRouter, row);
}

fn node_switch(cx: &mut Context, network: &Network, share: &[IpNet]) {
    let node = cx.node;
    let name = network.conf.name.as_str();
    let switch = layer3_switch(name, node.name.as_str());
    let mut config: BTreeMap<String, Scalar> = BTreeMap::new();
    for subnet in share {
        match subnet {
            IpNet::V4(net) => {
                config.insert("subnet".to_owned(), net.to_string().into());
                // The node's own, as on the default network.
                let management = nth_of(subnet, 2).to_string();
                config.insert("exclude_ips".to_owned(), management.into());
            }
            IpNet::V6(net) => {
                config.insert("ipv6_prefix".to_owned(), net.network().to_string().into());
            }
        }
    }
    let row = Row::named(switch.as_str())
        .with("other_config", Value::Map(config))
        .with("load_balancer_group", switch_groups(&prefix(name)))
        .with("external_ids", external_ids(network));
    cx.add_named(Table::LogicalSwitch, row);

    let to_router = format!("rtos-{switch}");
    let row = router_port(&format!("stor-{switch}"), &to_router, &[]);
    switch_port(cx, &switch, row);

    let chassis = Row::named(format!("{to_router}-{}", node.chassis))
        .with("chassis_name", node.chassis.as_str())
        .with("priority", 1_i64);
    let chassis = cx.add_named(Table::GatewayChassis, chassis);
    let networks: Vec<_> = share
        .iter()
        .map(|net| format!("{}/{}", nth_of(net, 1), net.prefix_len()))
        .collect();
    let mac = share.first().map(|net| mac_of(nth_of(net, 1)).to_string());
    let row = Row::named(to_router)
        .with("mac", mac.unwrap_or_default())
        .with("networks", networks)
        .with("options", [("gateway_mtu", network.conf.mtu.to_string())])
        .with("gateway_chassis", chassis);
    add_router_port(cx, &layer3_router(name), row);
}

fn transit(cx: &mut Context, network: &Network) {
    let switch = format!("{}{TRANSIT_SWITCH}", prefix(&network.conf.name));
    let row = Row::named(switch.as_str())
        .with("other_config", transit_config(&switch, network.id))
        .with("external_ids", external_ids(network));
    cx.add_named(Table::LogicalSwitch, row);
    let nodes: Vec<Arc<Node>> = cx.world.nodes.values().cloned().collect();
    for node in nodes {
        if cx.is_local(&node.name) {
            local_transit_port(cx, network, &switch);
        } else if let Some(share) = node.shares.get(&network.conf.name) {
            remote_transit_port(cx, network, &switch, &node, share);
        }
    }
}

fn local_transit_port(cx: &mut Context, network: &Network, switch: &str) {
    let node = cx.node;
    let prefix = prefix(&network.conf.name);
    let to_transit = format!("{prefix}rtots-{}", node.name);
    let row = lrp(
        &to_transit,
        mac4(node.transit.addr()),
        &node.transit.to_string(),
    )
    .with("options", [("mcast_flood", "true")]);
    add_router_port(cx, &layer3_router(&network.conf.name), row);
    let key = node.id.to_string();
    let port = format!("{prefix}tstor-{}", node.name);
    let row = router_port(&port, &to_transit, &[("requested-tnl-key", &key)])
        .with("external_ids", [("node", node.name.as_str())]);
    switch_port(cx, switch, row);
}

fn remote_transit_port(
    cx: &mut Context,
    network: &Network,
    switch: &str,
    node: &Node,
    share: &[IpNet],
) {
    let (name, of) = (node.name.as_str(), network.conf.name.as_str());
    let address = format!("{} {}", mac4(node.transit.addr()), node.transit);
    let options = [
        ("requested-chassis", name.to_owned()),
        ("requested-tnl-key", node.id.to_string()),
    ];
    let row = Row::named(format!("{}tstor-{name}", prefix(of)))
        .with("type", "remote")
        .with("addresses", address)
        .with("options", options)
        .with("external_ids", [("node", name)]);
    switch_port(cx, switch, row);
    // The transit switch has addresses of one family only.
    for subnet in share.iter().filter(|net| net.addr().is_ipv4()) {
        let owner = [("ic-node", name), ("k8s.ovn.org/network", of)];
        let more = Row::new().with("external_ids", owner);
        let router = layer3_router(of);
        route(cx, &router, &subnet.to_string(), node.transit.addr(), more);
    }
}

/// Ports of the zone's own pods; addresses of all.
fn add_ports(cx: &mut Context, network: &Network) -> Vec<Member> {
    let world = cx.world;
    let mut members = Vec::new();
    for (key, pod, node) in world.running_pods() {
        for (nad, attachment) in &pod.networks {
            let Some(nad) = Key::parse(nad).filter(|nad| network.nads.contains(nad)) else {
                continue;
            };
            let mut member = Member {
                namespace: key.namespace.clone(),
                port: None,
                attachment: attachment.clone(),
            };
            if cx.is_local(node) {
                let port = nad_port(&nad, key);
                let mut row = pod_port(port.clone(), key, pod, node, attachment);
                extend(&mut row, "external_ids", of_network(network, &nad));
                let switch = layer3_switch(&network.conf.name, node.as_str());
                switch_port(cx, &switch, row);
                member.port = Some(RowRef::new(Table::LogicalSwitchPort, port));
            }
            members.push(member);
        }
    }
    members
}
