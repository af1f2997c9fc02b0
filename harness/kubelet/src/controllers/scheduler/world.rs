//! The cluster as one decision sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::claims::Claims;
use super::filter::{self, Refusal};
use super::message::Unschedulable;
use super::resources::Amounts;
use super::{Assumed, Stores, score};

/// A node with the pods on it.
#[derive(Debug)]
pub(super) struct NodeView {
    pub node: Arc<Node>,
    pub pods: Vec<Arc<Pod>>,
    pub used: Amounts,
}

impl NodeView {
    pub(super) fn new(node: Arc<Node>, pods: Vec<Arc<Pod>>) -> Self {
        Self {
            used: pods.iter().map(|p| Amounts::requested(p)).sum(),
            node,
            pods,
        }
    }

    pub(super) fn name(&self) -> String {
        self.node.name_any()
    }

    pub(super) fn label(&self, key: &str) -> Option<&String> {
        self.node.labels().get(key)
    }
}

/// All nodes.
#[derive(Debug)]
pub(super) struct World {
    pub nodes: Vec<NodeView>,
}

impl World {
    pub(super) fn new(stores: &Stores, assumed: &HashMap<String, Assumed>) -> Self {
        let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in stores.pods.state() {
            let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
            if matches!(phase, Some("Succeeded" | "Failed")) {
                continue;
            }
            if let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        for assumed in assumed.values() {
            by_node
                .entry(assumed.node.clone())
                .or_default()
                .push(Arc::clone(&assumed.pod));
        }
        let mut nodes: Vec<_> = stores
            .nodes
            .state()
            .into_iter()
            .map(|node| {
                let pods = by_node.remove(&node.name_any()).unwrap_or_default();
                NodeView::new(node, pods)
            })
            .collect();
        nodes.sort_by_key(NodeView::name);
        Self { nodes }
    }

    /// The best node that takes the pod.
    pub(super) fn choose(&self, pod: &Pod, claims: &Claims) -> Result<String, Unschedulable> {
        let mut refusals: Vec<Refusal> = Vec::new();
        let mut fitting: Vec<&NodeView> = Vec::new();
        for node in &self.nodes {
            match filter::check(self, node, pod, claims) {
                Ok(()) => fitting.push(node),
                Err(refusal) => refusals.push(refusal),
            }
        }
        fitting
            .into_iter()
            .max_by_key(|node| {
                (
                    score::score(self, node, pod),
                    std::cmp::Reverse(node.name()),
                )
            })
            .map(NodeView::name)
            .ok_or_else(|| Unschedulable::new(self.nodes.len(), refusals))
    }
}
