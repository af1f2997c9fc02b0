//! The containers that kind runs nodes in.

use std::{collections::HashMap, path::PathBuf};

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::{ListContainersOptionsBuilder, StartContainerOptions},
};
use serde::Serialize;

use super::{Docker, DockerError};
use crate::kind::OWNER_MOUNT;

/// kind's label with the cluster's name.
pub const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeContainer {
    pub name: String,
    pub id: String,
    pub role: NodeRole,
    pub running: bool,
    pub image: String,
    /// The state directory of the trunkline that made it; kind's own clusters have none.
    pub owner: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeRole {
    ControlPlane,
    Worker,
    /// kind's load balancer in front of several control planes; no node at all.
    LoadBalancer,
}

impl Docker {
    /// The nodes of a kind cluster, running or not, the control plane first.
    pub async fn nodes(&self, cluster: &str) -> Result<Vec<NodeContainer>, DockerError> {
        let filters = HashMap::from([("label", vec![format!("{CLUSTER_LABEL}={cluster}")])]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let mut nodes: Vec<NodeContainer> = self
            .client()
            .list_containers(Some(options))
            .await
            .map_err(DockerError::doing(|| {
                format!("list the nodes of the cluster {cluster}")
            }))?
            .into_iter()
            .filter_map(node)
            .collect();
        nodes.sort_by(|a, b| (a.role, a.name.len(), &a.name).cmp(&(b.role, b.name.len(), &b.name)));
        Ok(nodes)
    }

    /// Starts a node that was stopped, as after a restart of the machine.
    pub async fn start_node(&self, node: &NodeContainer) -> Result<(), DockerError> {
        self.client()
            .start_container(&node.id, None::<StartContainerOptions>)
            .await
            .map_err(DockerError::doing(|| {
                format!("start the node {}", node.name)
            }))
    }
}

fn node(container: ContainerSummary) -> Option<NodeContainer> {
    let labels = container.labels.unwrap_or_default();
    let role = match labels.get(ROLE_LABEL).map(String::as_str) {
        Some("control-plane") => NodeRole::ControlPlane,
        Some("external-load-balancer") => NodeRole::LoadBalancer,
        _ => NodeRole::Worker,
    };
    let owner = container
        .mounts
        .unwrap_or_default()
        .into_iter()
        .find(|mount| mount.destination.as_deref() == Some(OWNER_MOUNT))
        .and_then(|mount| mount.source)
        .map(PathBuf::from);
    let name = container.names.and_then(|names| names.into_iter().next())?;
    Some(NodeContainer {
        name: name.trim_start_matches('/').to_owned(),
        id: container.id.unwrap_or_default(),
        role,
        running: container.state == Some(ContainerSummaryStateEnum::RUNNING),
        image: container.image.unwrap_or_default(),
        owner,
    })
}
