//! From Kubernetes objects to the world.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::ResourceExt;
use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{EndpointSlice, Node, Pod, Service, World};
use crate::nad::Nad;
use crate::names::Key;
use trunkline_fabric::NodeName;

/// The selection of networks, which Multus reads.
pub const SELECTION: &str = "k8s.v1.cni.cncf.io/networks";
/// What OVN-Kubernetes allocated.
pub const POD_NETWORKS: &str = "k8s.ovn.org/pod-networks";

fn read<T: DeserializeOwned>(object: &Value) -> serde_json::Result<T> {
    serde_json::from_value(object.clone())
}

/// Cluster-scoped objects have an empty namespace.
pub(crate) fn key<K: kube::Resource>(object: &K) -> Key {
    let meta = object.meta();
    Key::new(
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

impl Node {
    pub fn observed(node: &core::Node) -> Option<Node> {
        Node::parse(&node.name_any(), node.annotations())
    }
}

impl Pod {
    /// `order` is for the caller to know.
    pub fn observed(pod: &core::Pod, order: u64) -> Pod {
        let spec = pod.spec.as_ref();
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let annotation = |name: &str| pod.annotations().get(name);
        Pod {
            uid: pod.uid().unwrap_or_default(),
            node: spec
                .and_then(|s| s.node_name.as_deref())
                .and_then(|name| NodeName::new(name).ok()),
            host_network: spec.and_then(|s| s.host_network).unwrap_or(false),
            completed: matches!(phase, Some("Succeeded" | "Failed")),
            selection: annotation(SELECTION).filter(|s| !s.is_empty()).cloned(),
            // What we cannot read we did not write; it will be allocated anew.
            networks: annotation(POD_NETWORKS)
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            order,
        }
    }
}

impl World {
    pub fn observe_node(&mut self, node: &core::Node) {
        let Ok(name) = NodeName::new(node.name_any()) else {
            return;
        };
        if let Some(node) = Node::observed(node) {
            self.bare_nodes.remove(&name);
            self.nodes.insert(name, node.into());
        } else {
            self.nodes.remove(&name);
            self.bare_nodes.insert(name);
        }
    }

    pub fn observe_pod(&mut self, pod: &core::Pod, order: u64) {
        self.pods.insert(key(pod), Pod::observed(pod, order).into());
    }

    pub fn observe_nad(&mut self, nad: &DynamicObject) {
        let key = key(nad);
        let nad = Nad::observed(&self.config, nad);
        self.nads.insert(key, nad.into());
    }

    pub fn observe_service(&mut self, service: &core::Service) {
        let observed = Service::observed(service);
        self.services.insert(key(service), observed.into());
    }

    /// An object of any kind; `false` when networks do not depend on that kind.
    pub fn observe_object(&mut self, object: &Value) -> serde_json::Result<bool> {
        match object["kind"].as_str() {
            Some("Node") => self.observe_node(&read(object)?),
            Some("Namespace") => {
                let namespace: core::Namespace = read(object)?;
                self.namespaces.insert(namespace.name_any());
            }
            Some("Pod") => self.observe_pod(&read(object)?, 0),
            Some("NetworkAttachmentDefinition") => self.observe_nad(&read(object)?),
            Some("Service") => self.observe_service(&read(object)?),
            Some("EndpointSlice") => self.observe_endpoint_slice(&read(object)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub fn observe_endpoint_slice(&mut self, slice: &discovery::EndpointSlice) {
        let observed = EndpointSlice::observed(slice);
        self.endpoint_slices.insert(key(slice), observed.into());
    }
}
