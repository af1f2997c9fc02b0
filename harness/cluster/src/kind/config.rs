//! The configuration that kind makes the nodes from.

use std::path::Path;

use serde_json::{Value, json};

use super::OWNER_MOUNT;
use crate::component::{Feature, Plan};

/// Addresses of pods and Services: kind's own defaults, and what the lab uses.
pub const POD_NETWORK: &str = "10.244.0.0/16";
pub const SERVICE_NETWORK: &str = "10.96.0.0/16";

/// kind's configuration of such a cluster. JSON is YAML.
pub(super) fn config(plan: &Plan, image: &str, owner: &Path) -> Value {
    let node = |role: &str| {
        json!({
            "role": role,
            "image": image,
            "extraMounts": [{
                "hostPath": owner.display().to_string(),
                "containerPath": OWNER_MOUNT,
                "readOnly": true,
            }],
        })
    };
    let nodes: Vec<Value> = std::iter::once(node("control-plane"))
        .chain((0..plan.workers).map(|_| node("worker")))
        .collect();
    let mut networking = json!({
        "podSubnet": POD_NETWORK,
        "serviceSubnet": SERVICE_NETWORK,
    });
    if brings_own_network(plan) {
        networking["disableDefaultCNI"] = json!(true);
        networking["kubeProxyMode"] = json!("none");
    }
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": networking,
        "kubeadmConfigPatches": plan.nodes.kubeadm_patches,
        "nodes": nodes,
    })
}

/// Another component than the node image brings the default network.
fn brings_own_network(plan: &Plan) -> bool {
    !plan.nodes.brings_network()
        || plan.components.iter().any(|component| {
            component.nodes.is_none() && component.provides.contains(&Feature::DefaultNetwork)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Needs, NodeImage, Profile, plan};

    #[test]
    fn a_plain_cluster_keeps_kinds_network() {
        let plan = plan(Profile::Plain, &Needs::default(), 1, None).unwrap();
        let config = config(&plan, "kindest/node:v1", Path::new("/state/owner"));
        assert_eq!(config["networking"]["disableDefaultCNI"], Value::Null);
        assert_eq!(config["nodes"][0]["role"], "control-plane");
        assert_eq!(config["nodes"][1]["role"], "worker");
        assert_eq!(config["nodes"][2], Value::Null);
        assert_eq!(
            config["nodes"][1]["extraMounts"][0]["hostPath"],
            "/state/owner"
        );
    }

    #[test]
    fn ovn_kubernetes_takes_its_place() {
        let plan = plan(Profile::OvnKubernetes, &Needs::default(), 2, None).unwrap();
        let config = config(&plan, "kindest/node:v1", Path::new("/state/owner"));
        assert_eq!(config["networking"]["disableDefaultCNI"], true);
        assert_eq!(config["networking"]["kubeProxyMode"], "none");
    }

    #[test]
    fn a_node_image_without_a_network_gets_another_component_and_its_patches() {
        let nodes = NodeImage {
            image: "mine".into(),
            lacks: vec![Feature::DefaultNetwork],
            kubeadm_patches: vec!["kind: ClusterConfiguration\n".into()],
        };
        let plan = plan(Profile::Plain, &Needs::default(), 0, Some(nodes)).unwrap();
        let config = config(&plan, "mine", Path::new("/state/owner"));
        assert_eq!(config["networking"]["disableDefaultCNI"], true);
        assert_eq!(
            config["kubeadmConfigPatches"][0],
            "kind: ClusterConfiguration\n"
        );
    }
}
