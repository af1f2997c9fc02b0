#![allow(clippy::needless_pass_by_value)] // literals read best by value

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use rstest::rstest;
use serde_json::{Value, json};

use super::claims::Claims;
use super::world::{NodeView, World};

fn node(name: &str, mut object: Value) -> Arc<Node> {
    object["metadata"]["name"] = json!(name);
    object["metadata"]["labels"]["kubernetes.io/hostname"] = json!(name);
    if object["status"].is_null() {
        object["status"]["allocatable"] = json!({"cpu": "2", "memory": "4Gi", "pods": "3"});
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "c"}]);
    }
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "n", "labels": {"app": name}}, "spec": spec,
        }))
        .unwrap(),
    )
}

/// A control plane, worker `a` with the given pods, and worker `b`.
fn world(on_a: Vec<Arc<Pod>>) -> World {
    let master = json!({"spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}});
    World {
        nodes: vec![
            NodeView::new(node("cp", master), vec![]),
            NodeView::new(
                node(
                    "a",
                    json!({"metadata": {"labels": {"disk": "ssd", "cpus": "8"}}}),
                ),
                on_a,
            ),
            NodeView::new(node("b", json!({})), vec![]),
        ],
    }
}

fn choose(world: &World, pod: &Pod) -> Result<String, String> {
    world
        .choose(pod, &Claims::default())
        .map_err(|e| e.to_string())
}

fn required(expression: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
}

fn between(kind: &str, app: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}]}}})
}

#[rstest]
#[case(json!({"nodeSelector": {"disk": "ssd"}}), "a")]
#[case(json!({"nodeSelector": {"kubernetes.io/hostname": "b"}}), "b")]
#[case(required(json!({"key": "disk", "operator": "In", "values": ["ssd"]})), "a")]
#[case(required(json!({"key": "disk", "operator": "DoesNotExist"})), "b")]
#[case(required(json!({"key": "cpus", "operator": "Gt", "values": ["4"]})), "a")]
#[case(between("podAffinity", "web"), "a")]
#[case(between("podAntiAffinity", "web"), "b")]
#[case(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1500m"}}}]}), "b")]
#[case(json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"kubernetes.io/hostname": "cp"}}), "cp")]
fn places(#[case] spec: Value, #[case] expected: &str) {
    let web = pod(
        "web",
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}),
    );
    assert_eq!(
        choose(&world(vec![web]), &pod("new", spec)).as_deref(),
        Ok(expected)
    );
}

#[test]
fn spreads_and_prefers_the_empty() {
    let on_a = vec![pod("other", json!({}))];
    assert_eq!(
        choose(&world(on_a), &pod("new", json!({}))).as_deref(),
        Ok("b")
    );
    assert_eq!(
        choose(&world(vec![]), &pod("new", json!({}))).as_deref(),
        Ok("a")
    );
}

#[rstest]
#[case(json!({"nodeSelector": {"disk": "tape"}}),
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")]
#[case(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "9", "memory": "9Gi"}}}]}),
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. no new claims to deallocate, preemption: 0/3 nodes are available: 2 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.")]
#[case(
    between("podAffinity", "nobody"),
    "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
)]
fn refusals(#[case] spec: Value, #[case] expected: &str) {
    assert_eq!(
        choose(&world(vec![]), &pod("new", spec)),
        Err(expected.to_owned())
    );
}

/// As recorded from Kubernetes 1.34.4 when a virtual machine's target found no place.
#[test]
fn the_recorded_refusal() {
    let launcher = pod("launcher", json!({}));
    let mut world = world(vec![launcher]);
    world.nodes[2] = NodeView::new(node("b", json!({"spec": {"unschedulable": true}})), vec![]);
    assert_eq!(
        choose(&world, &pod("target", between("podAntiAffinity", "launcher"))),
        Err("0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.".to_owned())
    );
}

#[test]
fn existing_pods_have_a_say() {
    let hermit = pod("hermit", between("podAntiAffinity", "new"));
    let new = pod("new", json!({"nodeSelector": {"disk": "ssd"}}));
    let error = choose(&world(vec![hermit]), &new).unwrap_err();
    assert!(
        error.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"),
        "{error}"
    );
}

#[test]
fn the_first_of_a_group_may_begin() {
    let spec = between("podAffinity", "new");
    assert_eq!(
        choose(&world(vec![]), &pod("new", spec)).as_deref(),
        Ok("a")
    );
}

#[test]
fn nodes_are_full_at_their_number_of_pods() {
    let pods = (0..3).map(|i| pod(&format!("p{i}"), json!({}))).collect();
    let new = pod("new", json!({"nodeSelector": {"disk": "ssd"}}));
    let error = choose(&world(pods), &new).unwrap_err();
    assert!(error.contains("1 Too many pods"), "{error}");
}

#[test]
fn hard_spreading() {
    let spec = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}],
        "nodeSelector": {"disk": "ssd"}});
    let mut world = world(vec![]);
    assert_eq!(
        choose(&world, &pod("web", spec.clone())).as_deref(),
        Ok("a")
    );
    let everywhere = json!({"topologySpreadConstraints": spec["topologySpreadConstraints"].clone(), "tolerations": [{"operator": "Exists"}]});
    let on_a = node("a", json!({"metadata": {"labels": {"disk": "ssd"}}}));
    world.nodes[1] = NodeView::new(on_a, vec![pod("web", json!({}))]);
    let chosen = choose(&world, &pod("web", everywhere)).unwrap();
    assert_ne!(chosen, "a");
}

#[test]
fn no_nodes_at_all() {
    let world = World { nodes: vec![] };
    assert_eq!(
        choose(&world, &pod("new", json!({}))),
        Err("no nodes available to schedule pods".to_owned())
    );
}
