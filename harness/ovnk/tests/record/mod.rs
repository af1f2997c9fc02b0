//! The recorded cases as worlds and rows.
#![allow(
    dead_code,
    reason = "not every test that includes this needs all of it"
)]

use std::path::PathBuf;

use k8s_openapi::api::core::v1 as core;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use trunkline_fabric::NodeName;
use trunkline_ovnk::northbound::{Step, Table};
use trunkline_ovnk::{Northbound, World, default_port};

pub const NODES: [&str; 3] = ["lab-control-plane", "lab-worker", "lab-worker2"];

/// Namespaces that were there before any case.
const NAMESPACES: [&str; 6] = [
    "default",
    "kube-node-lease",
    "kube-public",
    "kube-system",
    "ovn-host-network",
    "ovn-kubernetes",
];

pub fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// Where a test that has changed its root finds the cases.
pub const ELSEWHERE: &str = "TRUNKLINE_TEST_RECORDED";

pub fn dir() -> PathBuf {
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    std::env::var_os(ELSEWHERE).map_or_else(here, PathBuf::from)
}

pub fn read(case: &str, file: &str) -> Value {
    let path = dir().join(case).join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn step(case: &str, step: usize, node: &str) -> Step {
    Step::from_recorded(&read(case, &format!("step{step}-nb-{node}.json"))).unwrap()
}

pub fn baseline(node: &str) -> Northbound {
    Northbound::from_recorded(&read("00-baseline", &format!("nb-{node}.json"))).unwrap()
}

/// The recorder parsed JSON annotations and marked them; back to what they were.
pub fn restore(object: &Value) -> Value {
    let mut object = object.clone();
    let annotations = object["metadata"]["annotations"].as_object().cloned();
    let restored =
        annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| match key.strip_suffix(" (json)") {
                Some(key) => (key.to_owned(), json!(value.to_string())),
                None => (key, value),
            });
    object["metadata"]["annotations"] = Value::Object(restored.collect());
    object
}

/// Nodes, services and namespaces of the cluster, nothing on it.
pub fn empty_world() -> World {
    let objects = read("00-baseline", "objects.json");
    let mut world = World::default();
    for object in objects["nodes"].as_array().unwrap() {
        let node: core::Node = serde_json::from_value(restore(object)).unwrap();
        world.observe_node(&node);
    }
    for object in objects["services"].as_array().unwrap() {
        let service: core::Service = serde_json::from_value(object.clone()).unwrap();
        world.observe_service(&service);
    }
    world.namespaces = NAMESPACES.map(str::to_owned).into();
    world
}

/// The baseline: the record lists no pods there, so their allocations are taken from their ports.
pub fn baseline_world() -> World {
    let mut world = empty_world();
    world.namespaces.insert("kubevirt".to_owned());
    for name in NODES {
        for (port, row) in baseline(name).table(Table::LogicalSwitchPort) {
            let Some(namespace) = row.key("external_ids", "namespace") else {
                continue;
            };
            let pod = port.strip_prefix(&format!("{namespace}_")).unwrap();
            let address = row.str("addresses").unwrap();
            let (mac, ip) = address.split_once(' ').unwrap();
            let networks = json!({"default": {
                "ip_addresses": [format!("{ip}/24")], "mac_address": mac, "role": "primary",
            }});
            observe_pod(
                &mut world,
                &json!({
                    "metadata": {
                        "namespace": namespace, "name": pod,
                        "uid": row.key("options", "iface-id-ver").unwrap(),
                        "annotations": {"k8s.ovn.org/pod-networks": networks.to_string()},
                    },
                    "spec": {"nodeName": name, "containers": []},
                }),
            );
        }
    }
    world
}

/// The cluster with the objects of a case.
pub fn case_world(case: &str) -> World {
    let objects = read(case, "objects.json");
    let mut world = empty_world();
    for object in objects["objects"].as_array().unwrap() {
        let mut object = restore(object);
        if let Some(namespace) = object["metadata"]["namespace"].as_str() {
            world.namespaces.insert(namespace.to_owned());
        }
        match object["kind"].as_str().unwrap() {
            "Pod" => {
                object["metadata"]["uid"] = json!(uid(case, &object));
                object["spec"]["containers"] = json!([]);
                observe_pod(&mut world, &object);
            }
            "NetworkAttachmentDefinition" => {
                let nad: DynamicObject = serde_json::from_value(object).unwrap();
                world.observe_nad(&nad);
            }
            _ => {}
        }
    }
    world
}

fn observe_pod(world: &mut World, object: &Value) {
    let pod: core::Pod = serde_json::from_value(object.clone()).unwrap();
    world.observe_pod(&pod, 0);
}

/// Not recorded with the pod, but with its port.
fn uid(case: &str, pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap();
    let key = trunkline_ovnk::Key::new(text("namespace"), text("name"));
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    (0..2)
        .filter(|number| {
            let file = format!("step{number}-nb-{node}.json");
            dir().join(case).join(file).exists()
        })
        .find_map(|number| {
            let rows = step(case, number, node).added;
            let port = rows
                .table(Table::LogicalSwitchPort)
                .find(|(name, _)| *name == default_port(&key));
            port.and_then(|(_, row)| row.key("options", "iface-id-ver").map(str::to_owned))
        })
        .unwrap_or_default()
}
