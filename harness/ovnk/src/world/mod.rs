//! The observed objects as plain data: all that [`crate::compile`] looks at.

mod node;
mod parse;
mod pod;
mod pod_networks;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use trunkline_fabric::NodeName;

pub use node::{Node, annotations as node_annotations};
pub(crate) use parse::key;
pub use parse::{POD_NETWORKS, SELECTION};
pub use pod::Pod;
pub use pod_networks::{Attachment, PodNetworks, PodRoute, Role};
pub use service::{
    Endpoint, EndpointPort, EndpointSlice, Protocol, Service, ServicePort, TrafficPolicy,
};

use crate::config::ClusterConfig;
use crate::nad::{Nad, Network};
use crate::names::Key;

/// Everything that a cluster's networks depend on. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    pub config: ClusterConfig,
    pub nodes: BTreeMap<NodeName, Arc<Node>>,
    /// Nodes that still lack annotations.
    pub bare_nodes: BTreeSet<NodeName>,
    pub namespaces: BTreeSet<String>,
    pub pods: BTreeMap<Key, Arc<Pod>>,
    pub nads: BTreeMap<Key, Arc<Nad>>,
    pub services: BTreeMap<Key, Arc<Service>>,
    pub endpoint_slices: BTreeMap<Key, Arc<EndpointSlice>>,
}

impl World {
    /// The user-defined networks that have got an id, by name.
    pub fn networks(&self) -> BTreeMap<String, Network> {
        let mut networks: BTreeMap<String, Network> = BTreeMap::new();
        for (key, nad) in &self.nads {
            let (Ok(conf), Some(id)) = (&nad.conf, nad.network_id) else {
                continue;
            };
            let network = networks
                .entry(conf.name.clone())
                .or_insert_with(|| Network {
                    id,
                    conf: conf.clone(),
                    nads: BTreeSet::new(),
                });
            // A NAD whose configuration was changed afterwards is no part of the network.
            if network.id == id && network.conf.is_compatible(conf) {
                network.nads.insert(key.clone());
            }
        }
        networks
    }

    /// Pods that have interfaces: scheduled, not on the host's network, not finished.
    pub fn running_pods(&self) -> impl Iterator<Item = (&Key, &Pod, &NodeName)> {
        self.pods.iter().filter_map(|(key, pod)| {
            let node = pod.node.as_ref()?;
            (!pod.host_network && !pod.completed).then_some((key, pod.as_ref(), node))
        })
    }
}
