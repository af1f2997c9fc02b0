//! What EgressIP and EgressService need on the default network even while nobody uses them:
//! their address sets, and the traffic that they must leave alone (`pkg/ovn/egressip.go`).

use crate::names::DEFAULT_CONTROLLER;
use crate::northbound::{Row, Table, Value, name};
use crate::owner::Owner;

use super::Context;
use super::cluster::policy;
use super::groups::address_set;

/// Replies to connections that came in on another node.
const REPLY_MARK: i64 = 42;

fn egress_ip(name: &str) -> Owner {
    Owner::new(DEFAULT_CONTROLLER, "EgressIP", name)
}

fn served_pods() -> Owner {
    egress_ip("egressip-served-pods")
        .with("ip-family", "v4")
        .with("network", "default")
}

fn node_ips() -> Owner {
    egress_ip("node-ips")
        .with("ip-family", "v4")
        .with("network", "default")
}

fn service_pods() -> Owner {
    Owner::new(DEFAULT_CONTROLLER, "EgressService", "egresssvc-served-pods").with("ip-family", "v4")
}

pub(super) fn compile(cx: &mut Context) {
    let none: [&str; 0] = [];
    address_set(cx, &served_pods(), none);
    address_set(cx, &service_pods(), none);
    let nodes = cx.world.nodes.values();
    let addresses: Vec<_> = nodes.map(|node| node.address.addr().to_string()).collect();
    address_set(cx, &node_ips(), addresses);

    let (cluster, join) = (cx.world.config.cluster, cx.world.config.join);
    allow(
        cx,
        "EIP-No-Reroute-Pod-To-Pod",
        "ip4",
        &format!("ip4.src == {cluster} && ip4.dst == {cluster}"),
        None,
    );
    allow(
        cx,
        "EIP-No-Reroute-Pod-To-Join",
        "ip4",
        &format!("ip4.src == {cluster} && ip4.dst == {join}"),
        None,
    );
    allow(
        cx,
        "EIP-No-Reroute-reply-traffic",
        "ip",
        &format!("pkt.mark == {REPLY_MARK}"),
        None,
    );
    let (served, service, nodes) = (
        served_pods().hashed(),
        service_pods().hashed(),
        node_ips().hashed(),
    );
    allow(
        cx,
        "EIP-No-Reroute-Pod-To-Node",
        "ip4",
        &format!("(ip4.src == ${served} || ip4.src == ${service}) && ip4.dst == ${nodes}"),
        Some("1008"),
    );
    mark_replies(cx);
}

fn allow(cx: &mut Context, name: &str, family: &str, matching: &str, mark: Option<&str>) {
    let owner = egress_ip(name)
        .priority(102)
        .with("ip-family", family)
        .with("network", "default");
    let mut row = Row::new()
        .with("priority", 102_i64)
        .with("match", matching)
        .with("action", "allow")
        .with("external_ids", owner.external_ids());
    if let Some(mark) = mark {
        row.set("options", [("pkt_mark", mark)]);
    }
    policy(cx, 102, matching, row);
}

/// Marks the replies that the policy above lets pass.
fn mark_replies(cx: &mut Context) {
    let owner = egress_ip("EgressIP-Mark-Reply-Traffic")
        .priority(103)
        .with("ip-family", "ip4")
        .with("network", "default");
    let matching = format!("ip4.src == ${} && ct.trk && ct.rpl", served_pods().hashed());
    let row = Row::new()
        .with("action", Value::map([("mark", REPLY_MARK)]))
        .with("direction", "from-lport")
        .with("external_ids", owner.external_ids())
        .with("match", matching)
        .with("priority", 103_i64);
    let switch = cx.node.name.as_str();
    let qos = cx.add(Table::Qos, name::qos(switch, &owner.id()), row);
    cx.attach(Table::LogicalSwitch, switch, "qos_rules", qos);
}
