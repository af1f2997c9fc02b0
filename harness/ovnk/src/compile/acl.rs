//! ACLs of the default network that are there without any policy.

use crate::names::{ACL_METER, DEFAULT_CONTROLLER};
use crate::northbound::{Row, RowRef, Table};
use crate::owner::Owner;

use super::Context;
use super::groups::{cluster_port_group, isolated_pods};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// What a port receives.
    Ingress,
    /// What a port sends, judged before load balancing.
    Egress,
    /// What a port sends, judged after load balancing.
    EgressAfterLb,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Direction::Ingress => "Ingress",
            Direction::Egress | Direction::EgressAfterLb => "Egress",
        }
    }

    fn pipeline(self) -> &'static str {
        match self {
            Direction::Ingress => "to-lport",
            Direction::Egress | Direction::EgressAfterLb => "from-lport",
        }
    }
}

struct Acl {
    owner: Owner,
    direction: Direction,
    tier: i64,
    priority: i64,
    action: &'static str,
    matching: String,
}

impl Acl {
    fn add(self, cx: &mut Context) -> RowRef {
        let mut row = Row::new()
            .with("action", self.action)
            .with("direction", self.direction.pipeline())
            .with("external_ids", self.owner.external_ids())
            .with("label", 0_i64)
            .with("log", false)
            .with("match", self.matching)
            .with("meter", ACL_METER)
            .with("priority", self.priority)
            .with("tier", self.tier);
        if self.direction == Direction::EgressAfterLb {
            row.set("options", [("apply-after-lb", "true")]);
        }
        cx.add(Table::Acl, self.owner.id(), row)
    }
}

pub(super) fn compile(cx: &mut Context) {
    hairpin(cx);
    from_node(cx);
    isolation(cx);
}

/// A pod that calls a service and is its own backend gets through whatever the policies say.
fn hairpin(cx: &mut Context) {
    let matching = format!("ip4.src == {}", cx.world.config.hairpin());
    for direction in [Direction::EgressAfterLb, Direction::Ingress] {
        let owner = Owner::new(DEFAULT_CONTROLLER, "NetpolDefault", "allow-hairpinning")
            .with("direction", direction.word());
        let acl = Acl {
            owner,
            direction,
            tier: 2,
            priority: 1001,
            action: "allow-related",
            matching: matching.clone(),
        }
        .add(cx);
        cx.attach(
            Table::PortGroup,
            &cluster_port_group().hashed(),
            "acls",
            acl,
        );
    }
}

/// The node reaches its own pods (probes) whatever the policies say.
fn from_node(cx: &mut Context) {
    let node = cx.node;
    let management = node.management();
    let acl = Acl {
        owner: Owner::new(DEFAULT_CONTROLLER, "NetpolNode", node.name.as_str())
            .with("ip", management.to_string()),
        direction: Direction::Ingress,
        tier: 2,
        priority: 1001,
        action: "allow-related",
        matching: format!("ip4.src=={management}"),
    }
    .add(cx);
    cx.attach(Table::LogicalSwitch, node.name.as_str(), "acls", acl);
}

/// Pods with a primary network of their own are reachable here only for their node.
fn isolation(cx: &mut Context) {
    let group = isolated_pods().hashed();
    let management = cx.node.management();
    let (sends, receives) = (
        format!("inport == @{group}"),
        format!("outport == @{group}"),
    );
    let rules = [
        (
            "AllowHostARPPrimaryUDN",
            Direction::Egress,
            1001,
            "allow",
            format!("{sends} && (( arp && arp.tpa == {management} ))"),
        ),
        (
            "AllowHostARPPrimaryUDN",
            Direction::Ingress,
            1001,
            "allow",
            format!("{receives} && (( arp && arp.spa == {management} ))"),
        ),
        (
            "AllowHostPrimaryUDN",
            Direction::Ingress,
            1001,
            "allow-related",
            format!("{receives} && (ip4.src=={management})"),
        ),
        (
            "DenyPrimaryUDN",
            Direction::Egress,
            1000,
            "drop",
            sends.clone(),
        ),
        (
            "DenyPrimaryUDN",
            Direction::Ingress,
            1000,
            "drop",
            receives.clone(),
        ),
    ];
    for (name, direction, priority, action, matching) in rules {
        let owner = Owner::new(DEFAULT_CONTROLLER, "UDNIsolation", name)
            .with("direction", direction.word());
        let acl = Acl {
            owner,
            direction,
            tier: 0,
            priority,
            action,
            matching,
        }
        .add(cx);
        cx.attach(Table::PortGroup, &group, "acls", acl);
    }
}
