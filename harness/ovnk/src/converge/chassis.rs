//! Chassis of other zones in a zone's Southbound database, so that its ovn-controller builds
//! tunnels to them (`pkg/ovn/zone_interconnect/chassis_handler.go`).

use std::collections::BTreeSet;

use ovsdb::{Condition, Datum, Monitor, Row, Snapshot, Transaction, Uuid};
use trunkline_fabric::NodeName;

use crate::world::{Node, World};

pub(crate) fn monitor() -> Monitor {
    Monitor::new()
        .columns("Chassis", ["name", "hostname", "other_config", "encaps"])
        .columns("Encap", ["type", "ip", "options", "chassis_name"])
}

/// `None` when the remote chassis are what they shall be. The zone's own is not touched.
pub(crate) fn plan(world: &World, zone: &NodeName, db: &Snapshot) -> Option<Transaction> {
    let mut tx = Transaction::new();
    // Whoever has no zone yet gets no neighbours either.
    if !world.nodes.contains_key(zone) {
        return None;
    }
    let remote = || world.nodes.values().filter(|node| node.name != *zone);
    for node in remote() {
        let existing = db.find("Chassis", "name", node.chassis.as_str());
        match existing {
            Some((uuid, row)) if !is_described(db, node, row) => {
                let (encap, config) = (insert_encap(&mut tx, node), with_remote(row));
                let row = describe(node)
                    .with("encaps", encap)
                    .with("other_config", config);
                tx.update("Chassis", Condition::uuid(uuid), row);
            }
            Some(_) => {}
            None => {
                let encap = insert_encap(&mut tx, node);
                let row = describe(node)
                    .with("name", node.chassis.as_str())
                    .with("encaps", encap)
                    .with("other_config", Datum::map([(IS_REMOTE, "true")]));
                tx.insert("Chassis", row);
            }
        }
    }
    let wanted: BTreeSet<&str> = remote().map(|node| node.chassis.as_str()).collect();
    for (uuid, row) in db.rows("Chassis") {
        let is_remote = row.key("other_config", IS_REMOTE) == Some("true");
        if is_remote && !row.str("name").is_some_and(|name| wanted.contains(name)) {
            tx.delete("Chassis", Condition::uuid(uuid));
        }
    }
    (!tx.is_empty()).then_some(tx)
}

const IS_REMOTE: &str = "is-remote";

fn describe(node: &Node) -> Row {
    Row::new().with("hostname", node.name.as_str())
}

fn with_remote(row: &Row) -> Datum {
    let mut config = row.get("other_config").cloned().unwrap_or(Datum::empty());
    if let Datum::Map(map) = &mut config {
        map.insert(IS_REMOTE.into(), "true".into());
    }
    config
}

fn insert_encap(tx: &mut Transaction, node: &Node) -> ovsdb::NamedUuid {
    let row = Row::new()
        .with("type", "geneve")
        .with("ip", node.encap_ip.to_string())
        .with("options", Datum::map([("csum", "true")]))
        .with("chassis_name", node.chassis.as_str());
    tx.insert("Encap", row)
}

fn is_described(db: &Snapshot, node: &Node, row: &Row) -> bool {
    let encaps: Vec<Uuid> = row.uuids("encaps").collect();
    let [encap] = encaps.as_slice() else {
        return false;
    };
    let ip = node.encap_ip.to_string();
    row.str("hostname") == Some(node.name.as_str())
        && row.key("other_config", IS_REMOTE) == Some("true")
        && db.row("Encap", *encap).is_some_and(|encap| {
            encap.str("ip") == Some(&ip)
                && encap.str("type") == Some("geneve")
                && encap.key("options", "csum") == Some("true")
        })
}
