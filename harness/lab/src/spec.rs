//! What a lab shall be.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use trunkline_fabric::{FabricSpec, NodeName, NodeSpec};
use trunkline_kubelet::Role;
use trunkline_userland::ImageSource;

/// The version of Kubernetes that the lab's API behaves like.
pub const KUBERNETES_VERSION: &str = "v1.34.4";

/// The version of OVN-Kubernetes whose rows, annotations and messages the lab writes.
pub const OVN_KUBERNETES_VERSION: &str = trunkline_ovnk::OVN_KUBERNETES_VERSION;

/// What is asked for; everything else follows from it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LabSpec {
    /// In the names of the nodes: `<name>-control-plane`, `<name>-worker`, `<name>-worker2`, ….
    pub name: String,
    pub nodes: u8,
    pub images: ImageSource,
    /// A catalogue of images in place of the built-in one.
    pub catalogue: Option<CatalogueFile>,
}

/// A catalogue that the host side has read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatalogueFile {
    pub name: String,
    pub text: String,
}

/// One node of the lab.
#[derive(Debug, Clone)]
pub struct LabNode {
    pub spec: NodeSpec,
    pub role: Role,
}

impl Default for LabSpec {
    fn default() -> Self {
        Self {
            name: "lab".to_owned(),
            nodes: 3,
            images: ImageSource::default(),
            catalogue: None,
        }
    }
}

impl LabSpec {
    /// Nodes that run ordinary workloads. The only node of a lab does.
    pub fn workers(&self) -> u32 {
        u32::from(self.nodes.saturating_sub(1).max(1))
    }

    /// The nodes in kind's order and with kind's names; the first is the control plane.
    pub fn lab_nodes(&self) -> Result<Vec<LabNode>, trunkline_fabric::Error> {
        (0..self.nodes)
            .map(|index| {
                let (suffix, role) = match index {
                    0 if self.nodes == 1 => ("control-plane".to_owned(), Role::Worker),
                    0 => ("control-plane".to_owned(), Role::ControlPlane),
                    1 => ("worker".to_owned(), Role::Worker),
                    n => (format!("worker{n}"), Role::Worker),
                };
                let name = NodeName::new(format!("{}-{suffix}", self.name))?;
                // .1 is the outside; what a container engine would give out follows.
                let ip = Ipv4Addr::new(172, 18, 0, index + 2);
                Ok(LabNode {
                    spec: NodeSpec::new(name, Ipv4Net::new_assert(ip, 16)),
                    role,
                })
            })
            .collect()
    }

    pub(crate) fn fabric(nodes: &[LabNode]) -> FabricSpec {
        FabricSpec::new(nodes.iter().map(|node| node.spec.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_named_as_kind_names_them() {
        let nodes = LabSpec::default().lab_nodes().unwrap();
        let names: Vec<_> = nodes
            .iter()
            .map(|node| node.spec.name.as_str().to_owned())
            .collect();
        assert_eq!(names, ["lab-control-plane", "lab-worker", "lab-worker2"]);
    }

    #[test]
    fn the_only_node_runs_workloads() {
        let spec = LabSpec {
            nodes: 1,
            ..LabSpec::default()
        };
        assert_eq!(spec.lab_nodes().unwrap()[0].role, Role::Worker);
        assert_eq!(spec.workers(), 1);
    }
}
