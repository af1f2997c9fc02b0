//! The recorded cases as worlds and rows.
#![allow(
    dead_code,
    reason = "not every test that includes this needs all of it"
)]

pub mod cases;
pub mod fidelity;
pub mod rows;

use std::path::PathBuf;

pub use cases::{Case, cases};
use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};
use trunkline_fabric::NodeName;
use trunkline_ovnk::northbound::{RowRef, Step, Table};
use trunkline_ovnk::{Northbound, Topology, World, default_port};

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

/// Where a test that has changed its root finds the cases, and the list of differences.
pub const ELSEWHERE: &str = "TRUNKLINE_TEST_DATA";

pub fn dir() -> PathBuf {
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    elsewhere().map_or_else(here, |root| root.join("recorded"))
}

pub fn fidelity_page() -> PathBuf {
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    elsewhere().map_or_else(here, |root| root.join("docs/fidelity.md"))
}

fn elsewhere() -> Option<PathBuf> {
    std::env::var_os(ELSEWHERE).map(PathBuf::from)
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
    world.namespaces = NAMESPACES.map(str::to_owned).into();
    for object in services() {
        let namespace = object["metadata"]["namespace"].as_str().unwrap();
        if world.namespaces.contains(namespace) {
            observe_service(&mut world, object);
        }
    }
    world
}

fn services() -> Vec<Value> {
    let objects = read("00-baseline", "objects.json");
    objects["services"].as_array().unwrap().clone()
}

/// A service of the baseline.
pub fn service(namespace: &str, name: &str) -> Value {
    let found = services().into_iter().find(|service| {
        service["metadata"]["namespace"] == namespace && service["metadata"]["name"] == name
    });
    found.unwrap()
}

fn observe_service(world: &mut World, object: Value) {
    let service: core::Service = serde_json::from_value(object).unwrap();
    world.observe_service(&service);
}

/// The baseline: the record lists no pods there, so their allocations are taken from their ports.
pub fn baseline_world() -> World {
    let mut world = empty_world();
    world.namespaces.insert("kubevirt".to_owned());
    for object in services() {
        observe_service(&mut world, object);
    }
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
    add_endpoints(&mut world);
    world
}

/// What serves each service of the baseline, as the record lists no slices: pods whose names begin
/// so, or addresses of hosts; and the port of those that the service has by name.
const ENDPOINTS: [(&str, &str, Behind, Option<u16>); 4] = [
    ("default", "kubernetes", Behind::Host("172.18.0.4"), None),
    ("kube-system", "kube-dns", Behind::Pods("coredns-"), None),
    (
        "kubevirt",
        "kubevirt-operator-webhook",
        Behind::Pods("virt-operator-"),
        Some(8444),
    ),
    ("kubevirt", "virt-api", Behind::Pods("virt-api-"), None),
];

#[derive(Clone, Copy)]
enum Behind {
    Pods(&'static str),
    Host(&'static str),
}

fn add_endpoints(world: &mut World) {
    for (namespace, name, behind, named) in ENDPOINTS {
        let ports: Vec<Value> = service(namespace, name)["spec"]["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| {
                let number = port["targetPort"].as_u64().or(named.map(u64::from));
                json!({"name": port["name"], "protocol": port["protocol"], "port": number.unwrap()})
            })
            .collect();
        let addresses: Vec<String> = match behind {
            Behind::Host(address) => vec![address.to_owned()],
            Behind::Pods(prefix) => world
                .pods
                .iter()
                .filter(|(key, _)| key.namespace == namespace && key.name.starts_with(prefix))
                .map(|(_, pod)| pod.networks["default"].addresses[0].addr().to_string())
                .collect(),
        };
        let endpoints: Vec<Value> = addresses
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
            .collect();
        let slice = json!({
            "metadata": {
                "namespace": namespace, "name": format!("{name}-1"),
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        });
        world.observe_endpoint_slice(&serde_json::from_value(slice).unwrap());
    }
}

/// The cluster with the objects of a case, those that its first steps have applied.
pub fn world_after(case: &Case, steps: usize) -> World {
    let mut world = empty_world();
    let recorded = case.objects();
    for applied in case.steps().into_iter().take(steps).flatten() {
        for object in as_recorded(&applied, &recorded) {
            observe(&mut world, case, object);
        }
    }
    share_out(&mut world, case);
    world
}

/// Nodes were recorded before the case, so their shares of its layer 3 networks are taken from
/// their switches.
fn share_out(world: &mut World, case: &Case) {
    let networks = world.networks();
    let shared = networks
        .values()
        .filter(|n| n.conf.topology == Topology::Layer3);
    for name in shared.map(|network| &network.conf.name) {
        for (node, known) in &mut world.nodes {
            let switch = format!("{}_{node}", name.replace(['-', '/'], "."));
            let switch = RowRef::new(Table::LogicalSwitch, switch);
            let rows = (0..case.recorded_steps()).map(|n| step(&case.name, n, node.as_str()).added);
            let subnet = rows.into_iter().find_map(|rows| {
                let subnet = rows.get(&switch)?.key("other_config", "subnet")?;
                Some(subnet.parse().unwrap())
            });
            if let Some(subnet) = subnet {
                let known = std::sync::Arc::make_mut(known);
                known.shares.insert(name.clone(), vec![subnet]);
            }
        }
    }
}

/// What became of an object that was applied: a user-defined network is represented by the
/// definitions that were made of it.
pub fn as_recorded(applied: &Value, recorded: &[Value]) -> Vec<Value> {
    let same = |other: &&Value| {
        ["name", "namespace"]
            .iter()
            .all(|field| applied["metadata"][field] == other["metadata"][field])
            && applied["kind"] == other["kind"]
    };
    let kind = applied["kind"].as_str().unwrap();
    if kind.ends_with("UserDefinedNetwork") {
        let made = recorded.iter().filter(|other| {
            let owner = &other["metadata"]["ownerReferences"][0];
            let namespace = &applied["metadata"]["namespace"];
            owner["kind"] == kind
                && owner["name"] == applied["metadata"]["name"]
                && (namespace.is_null() || *namespace == other["metadata"]["namespace"])
        });
        return made.cloned().collect();
    }
    let object = recorded.iter().find(same).unwrap_or(applied);
    vec![object.clone()]
}

fn observe(world: &mut World, case: &Case, mut object: Value) {
    if object["kind"] == "Pod" {
        object["metadata"]["uid"] = json!(uid(case, &object));
        object["spec"]["containers"] = json!([]);
    }
    // Kinds that networks do not depend on yet are left out, and so are their rows.
    world.observe_object(&object).unwrap();
}

/// The cluster with everything of a case.
pub fn case_world(case: &str) -> World {
    let case = cases()
        .into_iter()
        .find(|other| other.name == case)
        .unwrap();
    world_after(&case, usize::MAX)
}

fn observe_pod(world: &mut World, object: &Value) {
    let pod: core::Pod = serde_json::from_value(object.clone()).unwrap();
    world.observe_pod(&pod, 0);
}

/// Not recorded with the pod, but with its port.
fn uid(case: &Case, pod: &Value) -> String {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap();
    let key = trunkline_ovnk::Key::new(text("namespace"), text("name"));
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    let found = (0..case.recorded_steps()).find_map(|number| {
        let rows = step(&case.name, number, node).added;
        let port = rows
            .table(Table::LogicalSwitchPort)
            .find(|(name, _)| *name == default_port(&key));
        port.and_then(|(_, row)| row.key("options", "iface-id-ver").map(str::to_owned))
    });
    found.unwrap_or_else(|| format!("uid of {key}"))
}
