//! Plans carried out against real databases with OVN's own schemas.
#![allow(clippy::unwrap_used)]

#[path = "../../../ovsdb/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use ovsdb::{Client, Condition, Datum, Monitor, Replica, Row, Transaction};
use serde_json::json;
use trunkline_fabric::NodeName;

use super::chassis;
use super::plan::plan;
use crate::northbound::{from_replica, monitor};
use crate::world::{Node, World};
use crate::{ClusterConfig, compile, diff};
use common::Server;

const LIMIT: Duration = Duration::from_secs(10);

fn zone() -> NodeName {
    NodeName::new("n1").unwrap()
}

/// Two nodes, a network without pods.
fn world() -> World {
    let mut world = World::default();
    for (name, id) in [("n1", 2_u8), ("n2", 3)] {
        let node = Node {
            name: NodeName::new(name).unwrap(),
            id: id.into(),
            chassis: format!("chassis-{name}"),
            subnet: format!("10.244.{id}.0/24").parse().unwrap(),
            shares: BTreeMap::new(),
            transit: format!("100.88.0.{id}/16").parse().unwrap(),
            address: format!("172.18.0.{id}/16").parse().unwrap(),
            mac: format!("02:42:ac:12:00:{id:02x}").parse().unwrap(),
            next_hop: "172.18.0.1".parse().unwrap(),
            encap_ip: format!("172.18.0.{id}").parse().unwrap(),
        };
        world.nodes.insert(node.name.clone(), node.into());
    }
    world.namespaces = ["default", "ns"].map(str::to_owned).into();
    let config = r#"{"name": "green", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "netAttachDefName": "ns/net", "subnets": "192.168.200.0/24"}"#;
    let nad = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": "ns", "name": "net", "annotations": {
            "k8s.ovn.org/network-id": "1", "k8s.ovn.org/network-name": "green", "k8s.ovn.org/tunnel-keys": "[]",
        }},
        "spec": {"config": config},
    });
    world.observe_nad(&serde_json::from_value(nad).unwrap());
    world
}

fn add_pod(world: &mut World, name: &str, node: &str, last: u8) {
    let networks = json!({
        "default": {"ip_addresses": [format!("10.244.2.{last}/24")], "mac_address": format!("0a:58:0a:f4:02:{last:02x}"), "role": "primary"},
        "ns/net": {"ip_addresses": [format!("192.168.200.{last}/24")], "mac_address": format!("0a:58:c0:a8:c8:{last:02x}"), "tunnel_id": last, "role": "secondary"},
    });
    let pod = json!({
        "metadata": {"namespace": "ns", "name": name, "uid": format!("uid-{name}"),
            "annotations": {"k8s.ovn.org/pod-networks": networks.to_string()}},
        "spec": {"nodeName": node, "containers": []},
    });
    world.observe_pod(&serde_json::from_value(pod).unwrap(), 0);
}

struct Database {
    _server: Server,
    client: Client,
    replica: Replica,
}

impl Database {
    async fn northbound() -> Option<Database> {
        let server = Server::start_with("usr/share/ovn/ovn-nb.ovsschema")?;
        let client = Client::connect_within(server.socket(), "OVN_Northbound", LIMIT);
        let client = client.await.unwrap();
        let replica = client.monitor(monitor(client.schema())).await.unwrap();
        Some(Database {
            _server: server,
            client,
            replica,
        })
    }

    async fn southbound() -> Option<Database> {
        let server = Server::start_with("usr/share/ovn/ovn-sb.ovsschema")?;
        let client = Client::connect_within(server.socket(), "OVN_Southbound", LIMIT);
        let client = client.await.unwrap();
        let replica = client.monitor(chassis::monitor()).await.unwrap();
        Some(Database {
            _server: server,
            client,
            replica,
        })
    }

    /// Carries out the plan for the world, and returns how many operations it took.
    async fn converge(&self, world: &World) -> usize {
        let desired = compile(world, &zone());
        let observed = from_replica(&self.replica.snapshot());
        let Some(plan) = plan(self.client.schema(), &desired, &observed) else {
            return 0;
        };
        let operations = plan.transaction.len();
        self.client.transact(plan.transaction).await.unwrap();
        let arrived = self.replica.wait_for(|db| {
            let there = diff(&desired, &from_replica(db).rows);
            there.is_empty().then_some(())
        });
        let arrived = tokio::time::timeout(LIMIT, arrived).await;
        if arrived.is_err() {
            let now = from_replica(&self.replica.snapshot()).rows;
            panic!("never arrives: {:#?}", diff(&desired, &now));
        }
        operations
    }
}

#[tokio::test]
async fn one_transaction_makes_everything_and_a_second_look_changes_nothing() {
    let Some(db) = Database::northbound().await else {
        return;
    };
    let mut world = world();
    let rows = compile(&world, &zone()).len();
    assert_eq!(db.converge(&world).await, rows);
    assert_eq!(db.converge(&world).await, 0);

    // Two pods: three ports, the node's switch, the network's switch, and for each network the
    // namespace's address set and port group.
    add_pod(&mut world, "a", "n1", 5);
    add_pod(&mut world, "b", "n2", 6);
    assert_eq!(db.converge(&world).await, 9);
    assert_eq!(db.converge(&world).await, 0);

    world.pods.clear();
    assert_eq!(db.converge(&world).await, 6);
    assert_eq!(db.converge(&world).await, 0);
}

#[tokio::test]
async fn strange_rows_go_and_damage_is_repaired() {
    let Some(db) = Database::northbound().await else {
        return;
    };
    let mut world = world();
    add_pod(&mut world, "a", "n1", 5);
    db.converge(&world).await;
    let mut tx = Transaction::new();
    tx.insert("Logical_Switch", Row::new().with("name", "stray"));
    // A second one of a name that shall be there.
    tx.insert("Logical_Switch", Row::new().with("name", "join"));
    tx.delete("Port_Group", Condition::all());
    let port = Condition::eq("name", "ns_a");
    let broken = Row::new()
        .with("type", "remote")
        .with("options", Datum::map([("x", "y")]))
        .with("addresses", ["unknown"]);
    tx.update("Logical_Switch_Port", port, broken);
    let version = db.replica.snapshot().version();
    db.client.transact(tx).await.unwrap();
    let seen = db
        .replica
        .wait_for(|db| (db.version() > version).then_some(()));
    tokio::time::timeout(LIMIT, seen).await.unwrap().unwrap();
    assert!(db.converge(&world).await > 0);
    assert_eq!(db.converge(&world).await, 0);
}

#[tokio::test]
async fn what_ovn_writes_is_left_alone() {
    let Some(db) = Database::northbound().await else {
        return;
    };
    let mut world = world();
    add_pod(&mut world, "a", "n1", 5);
    db.converge(&world).await;
    let all = Monitor::new().columns("Logical_Switch_Port", ["name", "up"]);
    let state = db.client.monitor(all).await.unwrap();
    let mut tx = Transaction::new();
    let port = Condition::eq("name", "ns_a");
    tx.update("Logical_Switch_Port", port, Row::new().with("up", true));
    db.client.transact(tx).await.unwrap();
    assert_eq!(db.converge(&world).await, 0);
    add_pod(&mut world, "b", "n1", 6);
    db.converge(&world).await;
    let row = state.wait_for(|db| {
        db.find("Logical_Switch_Port", "name", "ns_b")?;
        db.find("Logical_Switch_Port", "name", "ns_a")
            .map(|(_, row)| row.clone())
    });
    let row = tokio::time::timeout(LIMIT, row).await.unwrap().unwrap();
    assert_eq!(row.bool("up"), Some(true));
}

#[tokio::test]
async fn chassis_of_other_zones_come_and_go() {
    let Some(db) = Database::southbound().await else {
        return;
    };
    // The zone's own, as ovn-controller makes it.
    let mut tx = Transaction::new();
    let encap = tx.insert(
        "Encap",
        Row::new()
            .with("type", "geneve")
            .with("ip", "172.18.0.2")
            .with("chassis_name", "chassis-n1"),
    );
    let own = Row::new()
        .with("name", "chassis-n1")
        .with("hostname", "n1")
        .with("encaps", encap);
    tx.insert("Chassis", own);
    db.client.transact(tx).await.unwrap();

    let mut world = world();
    let settle = async |world: &World, count: usize| {
        if let Some(tx) = chassis::plan(world, &zone(), &db.replica.snapshot()) {
            db.client.transact(tx).await.unwrap();
        }
        let settled = db.replica.wait_for(|db| {
            let done = chassis::plan(world, &zone(), db).is_none();
            (done && db.rows("Chassis").count() == count).then_some(())
        });
        tokio::time::timeout(LIMIT, settled).await.unwrap().unwrap();
    };
    settle(&world, 2).await;
    let snapshot = db.replica.snapshot();
    let (_, row) = snapshot.find("Chassis", "name", "chassis-n2").unwrap();
    assert_eq!(row.key("other_config", "is-remote"), Some("true"));
    assert_eq!(row.str("hostname"), Some("n2"));

    // The node gets another address.
    let n2 = NodeName::new("n2").unwrap();
    let mut moved = (*world.nodes[&n2]).clone();
    moved.encap_ip = "172.18.0.99".parse().unwrap();
    world.nodes.insert(n2.clone(), moved.into());
    settle(&world, 2).await;
    world.nodes.remove(&n2);
    settle(&world, 1).await;
    assert_eq!(world.config, ClusterConfig::default());
}
