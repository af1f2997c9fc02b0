//! What scripts in nodes are told about the nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    runtime::watcher,
};
use tokio::time::timeout;

use super::{
    config::POD_NETWORK,
    ready::{Objects, until},
};

/// A node as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeFacts {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) pod_network: String,
}

/// Waits until this many nodes have an address and a network for their pods.
pub(super) async fn facts(client: &Client, nodes: usize) -> Vec<NodeFacts> {
    let resource = ApiResource::erase::<Node>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    until(api, watcher::Config::default(), |objects| {
        known(objects, nodes)
    })
    .await
}

fn known(objects: &Objects, nodes: usize) -> Option<Vec<NodeFacts>> {
    let facts: Vec<NodeFacts> = objects
        .iter()
        .filter_map(|(name, node)| {
            let addresses = node.data["status"]["addresses"].as_array()?;
            let internal = addresses
                .iter()
                .find(|address| address["type"] == "InternalIP")?;
            Some(NodeFacts {
                name: name.clone(),
                address: internal["address"].as_str()?.to_owned(),
                pod_network: node.data["spec"]["podCIDR"].as_str()?.to_owned(),
            })
        })
        .collect();
    (facts.len() >= nodes).then_some(facts)
}

/// How long a node that was started may take until its kubelet speaks.
const STARTED: Duration = Duration::from_secs(120);

/// Waits until the kubelets of these nodes have spoken since then. `Err` names those that did not.
pub(super) async fn awake(
    client: &Client,
    nodes: &BTreeSet<String>,
    since: Timestamp,
) -> Result<(), Vec<String>> {
    let resource = ApiResource::erase::<Lease>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "kube-node-lease", &resource);
    let mut asleep: Vec<String> = nodes.iter().cloned().collect();
    let watching = until(api, watcher::Config::default(), |leases| {
        asleep.retain(|node| !leases.get(node).is_some_and(|lease| renewed(lease, since)));
        asleep.is_empty().then_some(())
    });
    match timeout(STARTED, watching).await {
        Ok(()) => Ok(()),
        Err(_) => Err(asleep),
    }
}

fn renewed(lease: &DynamicObject, since: Timestamp) -> bool {
    lease.data["spec"]["renewTime"]
        .as_str()
        .and_then(|time| time.parse::<Timestamp>().ok())
        .is_some_and(|time| time > since)
}

/// The environment of a script in each node.
pub(super) fn environments(facts: &[NodeFacts]) -> BTreeMap<String, Vec<String>> {
    facts
        .iter()
        .map(|node| {
            let peers: Vec<String> = facts
                .iter()
                .filter(|peer| peer.name != node.name)
                .map(|peer| format!("{} {}", peer.pod_network, peer.address))
                .collect();
            let environment = vec![
                format!("NODE={}", node.name),
                format!("POD_CIDR={}", node.pod_network),
                format!("CLUSTER_CIDR={POD_NETWORK}"),
                format!("PEERS={}", peers.join("\n")),
            ];
            (node.name.clone(), environment)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, data: serde_json::Value) -> (String, DynamicObject) {
        let mut object: DynamicObject = serde_json::from_value(
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}),
        )
        .unwrap();
        object.data = data;
        (name.to_owned(), object)
    }

    #[test]
    fn only_a_lease_that_was_renewed_since_counts() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let lease = |time: &str| node("a", json!({"spec": {"renewTime": time}})).1;
        assert!(renewed(&lease("2026-01-01T00:00:00.000001Z"), since));
        assert!(!renewed(&lease("2025-12-31T23:59:59.999999Z"), since));
        assert!(!renewed(&node("a", json!({})).1, since));
    }

    #[test]
    fn a_node_without_a_pod_network_is_waited_for() {
        let whole = |last: u8| {
            json!({
                "spec": {"podCIDR": format!("10.244.{last}.0/24")},
                "status": {"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": format!("172.18.0.{last}")}]},
            })
        };
        let mut objects = Objects::from([
            node("a", whole(1)),
            node("b", json!({"status": {"addresses": []}})),
        ]);
        assert_eq!(known(&objects, 2), None);
        objects.extend([node("b", whole(2))]);
        let facts = known(&objects, 2).unwrap();
        assert_eq!(
            environments(&facts)["a"],
            [
                "NODE=a",
                "POD_CIDR=10.244.1.0/24",
                "CLUSTER_CIDR=10.244.0.0/16",
                "PEERS=10.244.2.0/24 172.18.0.2"
            ]
        );
    }
}
