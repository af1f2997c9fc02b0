//! Evictions of launcher pods: a machine that can move is moved instead.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use kubeapi::{Reason, Status};
use serde_json::json;

use super::config::ClusterConfig;
use crate::types::{Conditions, EvictionStrategy, VirtualMachineInstance};

const DOMAIN: &str = "kubevirt.io/domain";

/// What an eviction leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Allowed,
    Denied(String),
    /// The machine shall move away from this node; the eviction is denied all the same.
    Move {
        node: String,
    },
}

/// The name of the instance, if the pod is the launcher of one and still runs.
pub(super) fn launched(pod: &Pod) -> Option<&str> {
    let label = pod.metadata.labels.as_ref()?.get("kubevirt.io")?;
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if label != "virt-launcher" || matches!(phase, Some("Failed" | "Succeeded")) {
        return None;
    }
    pod.metadata
        .annotations
        .as_ref()?
        .get(DOMAIN)
        .map(String::as_str)
}

pub(super) fn judge(
    config: &ClusterConfig,
    pod: &Pod,
    instance: &VirtualMachineInstance,
) -> Verdict {
    let status = instance.status.clone().unwrap_or_default();
    let movable = status.conditions.holds("LiveMigratable");
    let name = instance.metadata.name.as_deref().unwrap_or_default();
    let moves = match instance
        .spec
        .eviction_strategy
        .unwrap_or(config.eviction_strategy)
    {
        EvictionStrategy::LiveMigrate if !movable => {
            return Verdict::Denied(format!(
                "VMI {name} is configured with an eviction strategy but is not live-migratable"
            ));
        }
        EvictionStrategy::LiveMigrate | EvictionStrategy::External => true,
        EvictionStrategy::LiveMigrateIfPossible => movable,
        EvictionStrategy::None => false,
    };
    if !moves {
        return Verdict::Allowed;
    }
    if status
        .evacuation_node_name
        .is_some_and(|node| !node.is_empty())
    {
        return Verdict::Denied(format!("Evacuation in progress: {}", triggered(instance)));
    }
    let node = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.node_name.clone())
        .unwrap_or_default();
    if status.node_name.unwrap_or_default() != node {
        return Verdict::Denied("Eviction request for target Pod".to_owned());
    }
    Verdict::Move { node }
}

fn triggered(instance: &VirtualMachineInstance) -> String {
    format!(
        "Eviction triggered evacuation of VMI \"{}/{}\"",
        instance.metadata.namespace.as_deref().unwrap_or_default(),
        instance.metadata.name.as_deref().unwrap_or_default(),
    )
}

/// Asks the controller to move the machine, and says so to who wanted the eviction.
pub(super) async fn evacuate(
    instances: &Api<VirtualMachineInstance>,
    instance: &VirtualMachineInstance,
    node: &str,
    dry_run: bool,
) -> Status {
    let name = instance.metadata.name.as_deref().unwrap_or_default();
    let parameters = PatchParams {
        dry_run,
        ..PatchParams::default()
    };
    let patch = Patch::Merge(json!({"status": {"evacuationNodeName": node}}));
    denied(match instances.patch(name, &parameters, &patch).await {
        Ok(_) => triggered(instance),
        Err(error) => format!("kubevirt failed marking the vmi for eviction: {error}"),
    })
}

pub(super) fn denied(why: impl Into<String>) -> Status {
    Status::new(429, Reason::Unknown, why)
}
