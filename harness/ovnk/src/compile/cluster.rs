//! The default network inside the cluster: the node's switch, the cluster router, and the transit
//! switch to the routers of the other zones (`pkg/ovn/master.go`, `pkg/ovn/zone_interconnect`).

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::names::{
    BASE_TUNNEL_KEY, CLUSTER_ROUTER, COPP, JOIN_SWITCH, TRANSIT_SWITCH, gateway_router, mac4,
};
use crate::northbound::{Row, RowRef, Table, Value, name};
use crate::world::Node;

use super::Context;

/// Guests keep this as their gateway wherever they run.
const ARP_PROXY: &str = "0a:58:a9:fe:01:01 169.254.1.1 fe80::1";

pub(super) fn compile(cx: &mut Context) {
    load_balancer_groups(cx, "");
    node_switch(cx);
    router(cx);
    transit(cx);
}

/// Groups that services put their load balancers in.
pub(super) fn load_balancer_groups(cx: &mut Context, prefix: &str) {
    for group in [
        "clusterLBGroup",
        "clusterRouterLBGroup",
        "clusterSwitchLBGroup",
    ] {
        cx.add_named(
            Table::LoadBalancerGroup,
            Row::named(format!("{prefix}{group}")),
        );
    }
}

/// The groups of a switch.
pub(super) fn switch_groups(prefix: &str) -> Vec<RowRef> {
    ["clusterLBGroup", "clusterSwitchLBGroup"]
        .map(|group| RowRef::new(Table::LoadBalancerGroup, format!("{prefix}{group}")))
        .into()
}

/// A port that belongs to a router's port.
pub(super) fn router_port(name: &str, router_port: &str, options: &[(&str, &str)]) -> Row {
    let options = options
        .iter()
        .copied()
        .chain([("router-port", router_port)]);
    Row::named(name)
        .with("type", "router")
        .with("addresses", "router")
        .with("options", Value::map(options))
}

pub(super) fn lrp(name: &str, mac: String, network: &str) -> Row {
    Row::named(name).with("mac", mac).with("networks", network)
}

/// Adds a port to a switch.
pub(super) fn switch_port(cx: &mut Context, switch: &str, row: Row) {
    let port = cx.add_named(Table::LogicalSwitchPort, row);
    cx.attach(Table::LogicalSwitch, switch, "ports", port);
}

pub(super) fn add_router_port(cx: &mut Context, router: &str, row: Row) {
    let port = cx.add_named(Table::LogicalRouterPort, row);
    cx.attach(Table::LogicalRouter, router, "ports", port);
}

pub(super) fn route(cx: &mut Context, router: &str, prefix: &str, next_hop: Ipv4Addr, more: Row) {
    let next_hop = next_hop.to_string();
    let name = name::route(router, prefix, &next_hop);
    let row = more.with("ip_prefix", prefix).with("nexthop", next_hop);
    let route = cx.add(Table::LogicalRouterStaticRoute, name, row);
    cx.attach(Table::LogicalRouter, router, "static_routes", route);
}

fn node_switch(cx: &mut Context) {
    let node = cx.node;
    let switch = node.name.as_str();
    let row = Row::named(switch)
        .with("other_config", [("subnet", node.subnet.to_string())])
        .with("load_balancer_group", switch_groups(""));
    cx.add_named(Table::LogicalSwitch, row);

    let to_router = format!("rtos-{switch}");
    let proxy = format!("{ARP_PROXY} {}", cx.world.config.cluster);
    let row = router_port(
        &format!("stor-{switch}"),
        &to_router,
        &[("arp_proxy", &proxy)],
    );
    switch_port(cx, switch, row);

    let management = node.management();
    let address = format!("{} {management}", mac4(management));
    let row = Row::named(format!("k8s-{switch}")).with("addresses", address);
    switch_port(cx, switch, row);
}

fn router(cx: &mut Context) {
    let node = cx.node;
    let config = &cx.world.config;
    let row = Row::named(CLUSTER_ROUTER)
        .with("external_ids", [("k8s-cluster-router", "yes")])
        .with("options", [("always_learn_from_arp_request", "false")])
        .with("copp", RowRef::new(Table::Copp, COPP));
    cx.add_named(Table::LogicalRouter, row);

    let to_switch = format!("rtos-{}", node.name);
    let chassis_name = format!("{to_switch}-{}", node.chassis);
    let chassis = Row::named(chassis_name)
        .with("chassis_name", node.chassis.as_str())
        .with("priority", 1_i64);
    let chassis = cx.add_named(Table::GatewayChassis, chassis);
    let network = format!("{}/{}", node.gateway(), node.subnet.prefix_len());
    let row = lrp(&to_switch, mac4(node.gateway()), &network)
        .with("options", [("gateway_mtu", config.mtu.to_string())])
        .with("gateway_chassis", chassis);
    add_router_port(cx, CLUSTER_ROUTER, row);

    let to_join = format!("rtoj-{CLUSTER_ROUTER}");
    let join = config.join_address(1);
    add_router_port(
        cx,
        CLUSTER_ROUTER,
        lrp(&to_join, mac4(join.addr()), &join.to_string()),
    );
    cx.add_named(Table::LogicalSwitch, Row::named(JOIN_SWITCH));
    let row = router_port(&format!("jtor-{CLUSTER_ROUTER}"), &to_join, &[]);
    switch_port(cx, JOIN_SWITCH, row);

    routes_to_gateway(cx);
    reroute_to_node(cx);
}

/// Traffic of the node's own pods leaves through the node's own gateway.
fn routes_to_gateway(cx: &mut Context) {
    let node = cx.node;
    let gateway = cx.world.config.join_address(node.id).addr();
    let by_source = || Row::new().with("policy", "src-ip");
    for source in [node.subnet, cx.world.config.cluster] {
        route(
            cx,
            CLUSTER_ROUTER,
            &source.to_string(),
            gateway,
            by_source(),
        );
    }
    route(
        cx,
        CLUSTER_ROUTER,
        &gateway.to_string(),
        gateway,
        Row::new(),
    );
}

/// Pods reach their own node through its management port, not around through the gateway.
fn reroute_to_node(cx: &mut Context) {
    let node = cx.node;
    let name = node.name.as_str();
    let address = node.address.addr();
    let matching = format!("inport == \"rtos-{name}\" && ip4.dst == {address} /* {name} */");
    let row = Row::new()
        .with("priority", 1004_i64)
        .with("match", matching.as_str())
        .with("action", "reroute")
        .with("nexthops", node.management());
    policy(cx, 1004, &matching, row);
}

pub(super) fn policy(cx: &mut Context, priority: u16, matching: &str, row: Row) {
    let name = name::policy(CLUSTER_ROUTER, &priority.to_string(), matching);
    let policy = cx.add(Table::LogicalRouterPolicy, name, row);
    cx.attach(Table::LogicalRouter, CLUSTER_ROUTER, "policies", policy);
}

/// A switch that all zones have in common has the same tunnel key everywhere.
pub(super) fn transit_config(switch: &str, network_id: u32) -> [(&'static str, String); 5] {
    [
        ("interconn-ts", switch.to_owned()),
        ("mcast_flood_unregistered", "true".to_owned()),
        ("mcast_querier", "false".to_owned()),
        ("mcast_snoop", "true".to_owned()),
        (
            "requested-tnl-key",
            (BASE_TUNNEL_KEY + network_id).to_string(),
        ),
    ]
}

fn transit(cx: &mut Context) {
    let row = Row::named(TRANSIT_SWITCH).with("other_config", transit_config(TRANSIT_SWITCH, 0));
    cx.add_named(Table::LogicalSwitch, row);
    let nodes: Vec<Arc<Node>> = cx.world.nodes.values().cloned().collect();
    for node in nodes {
        if cx.is_local(&node.name) {
            local_transit_port(cx);
        } else {
            remote_transit_port(cx, &node);
        }
    }
}

fn local_transit_port(cx: &mut Context) {
    let node = cx.node;
    let to_transit = format!("rtots-{}", node.name);
    let row = lrp(
        &to_transit,
        mac4(node.transit.addr()),
        &node.transit.to_string(),
    )
    .with("options", [("mcast_flood", "true")]);
    add_router_port(cx, CLUSTER_ROUTER, row);
    let key = node.id.to_string();
    let port = format!("tstor-{}", node.name);
    let row = router_port(&port, &to_transit, &[("requested-tnl-key", &key)])
        .with("external_ids", [("node", node.name.as_str())]);
    switch_port(cx, TRANSIT_SWITCH, row);
}

fn remote_transit_port(cx: &mut Context, node: &Node) {
    let name = node.name.as_str();
    let address = format!("{} {}", mac4(node.transit.addr()), node.transit);
    let options = [
        ("requested-chassis", name.to_owned()),
        ("requested-tnl-key", node.id.to_string()),
    ];
    let row = Row::named(format!("tstor-{name}"))
        .with("type", "remote")
        .with("addresses", address)
        .with("options", options)
        .with("external_ids", [("node", name)]);
    switch_port(cx, TRANSIT_SWITCH, row);

    let owner = [("ic-node", name), ("k8s.ovn.org/network", "default")];
    let gateway = cx.world.config.join_address(node.id).addr();
    for prefix in [node.subnet.to_string(), format!("{gateway}/32")] {
        let more = Row::new().with("external_ids", owner);
        route(cx, CLUSTER_ROUTER, &prefix, node.transit.addr(), more);
    }
}

/// The router that leads out of the zone.
pub(super) fn own_gateway(cx: &Context) -> String {
    gateway_router(cx.node.name.as_str())
}
