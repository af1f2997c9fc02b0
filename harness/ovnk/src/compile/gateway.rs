//! The default network's way out of the node: the gateway router between the join switch and the
//! physical network (`pkg/ovn/gateway.go`, shared gateway mode).

use std::net::Ipv4Addr;

use crate::names::{COPP, JOIN_SWITCH, PHYSICAL_NETWORK, mac4};
use crate::northbound::{Row, RowRef, Table, name};

use super::Context;
use super::cluster::{add_router_port, lrp, own_gateway, route, router_port, switch_port};

/// Ports that the node itself does not use.
const SNAT_PORTS: &str = "32768-60999";

pub(super) fn compile(cx: &mut Context) {
    let router = own_gateway(cx);
    gateway_router(cx, &router);
    join(cx, &router);
    physical(cx, &router);
    routes(cx, &router);
    let join = cx.world.config.join_address(cx.node.id).addr();
    snat(cx, &router, &join.to_string());
    snat(cx, &router, &cx.world.config.cluster.to_string());
}

fn gateway_router(cx: &mut Context, router: &str) {
    let node = cx.node;
    let address = node.address.addr().to_string();
    let groups = ["clusterLBGroup", "clusterRouterLBGroup"];
    let row = Row::named(router)
        .with(
            "external_ids",
            [
                ("physical_ip", address.as_str()),
                ("physical_ips", &address),
            ],
        )
        .with(
            "options",
            [
                ("always_learn_from_arp_request", "false"),
                ("chassis", node.chassis.as_str()),
                ("dynamic_neigh_routers", "false"),
                ("lb_force_snat_ip", "router_ip"),
                ("mac_binding_age_threshold", "300"),
                ("snat-ct-zone", "0"),
            ],
        )
        .with("copp", RowRef::new(Table::Copp, COPP))
        .with(
            "load_balancer_group",
            groups
                .map(|group| RowRef::new(Table::LoadBalancerGroup, group))
                .to_vec(),
        );
    cx.add_named(Table::LogicalRouter, row);
}

fn join(cx: &mut Context, router: &str) {
    let join = cx.world.config.join_address(cx.node.id);
    let to_join = format!("rtoj-{router}");
    let row = lrp(&to_join, mac4(join.addr()), &join.to_string()).with(
        "options",
        [("gateway_mtu", cx.world.config.mtu.to_string())],
    );
    add_router_port(cx, router, row);
    switch_port(
        cx,
        JOIN_SWITCH,
        router_port(&format!("jtor-{router}"), &to_join, &[]),
    );
}

fn physical(cx: &mut Context, router: &str) {
    let node = cx.node;
    let switch = format!("ext_{}", node.name);
    cx.add_named(Table::LogicalSwitch, Row::named(switch.as_str()));
    let row = Row::named(node.gateway_interface())
        .with("type", "localnet")
        .with("addresses", "unknown")
        .with("options", [("network_name", PHYSICAL_NETWORK)]);
    switch_port(cx, &switch, row);

    let outside = format!("rtoe-{router}");
    let mac = node.mac.to_string();
    let row = lrp(&outside, mac.clone(), &node.address.to_string())
        .with("external_ids", [("gateway-physical-ip", "yes")]);
    add_router_port(cx, router, row);
    let options = [
        ("exclude-lb-vips-from-garp", "true"),
        ("nat-addresses", "router"),
    ];
    let row = router_port(&format!("etor-{router}"), &outside, &options).with("addresses", mac);
    switch_port(cx, &switch, row);

    let dummy = cx.world.config.dummy_next_hop();
    let row = Row::new()
        .with("ip", dummy)
        .with("logical_port", outside.as_str())
        .with("mac", mac4(dummy))
        .with("override_dynamic_mac", true);
    let name = name::mac_binding(&outside, &dummy.to_string());
    cx.add(Table::StaticMacBinding, name, row);
}

fn routes(cx: &mut Context, router: &str) {
    let config = &cx.world.config;
    let outside = format!("rtoe-{router}");
    let via_outside = || Row::new().with("output_port", outside.as_str());
    let cluster_router = config.join_address(1).addr();
    route(
        cx,
        router,
        &config.cluster.to_string(),
        cluster_router,
        Row::new(),
    );
    let everything = format!("{}/0", Ipv4Addr::UNSPECIFIED);
    route(cx, router, &everything, cx.node.next_hop, via_outside());
    let mark = [("k8s.ovn.org/node-masquerade-subnet", "")];
    let more = via_outside().with("external_ids", mark);
    route(
        cx,
        router,
        &config.masquerade.to_string(),
        config.dummy_next_hop(),
        more,
    );
}

fn snat(cx: &mut Context, router: &str, inside: &str) {
    let row = Row::new()
        .with("type", "snat")
        .with("logical_ip", inside)
        .with("external_ip", cx.node.address.addr())
        .with("external_port_range", SNAT_PORTS)
        .with("options", [("stateless", "false")])
        .with("priority", 0_i64);
    let nat = cx.add(Table::Nat, name::nat(router, "snat", inside), row);
    cx.attach(Table::LogicalRouter, router, "nat", nat);
}
