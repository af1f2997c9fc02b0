//! What a machine's pods say.

use k8s_openapi::api::core::v1::{ContainerState, Pod, PodCondition};
use kube::{Resource, ResourceExt};

use super::super::context::SyncError;
use super::super::launcher::COMPUTE;
use super::super::owner::is_deleted;
use crate::types::VirtualMachineInstance;

pub(super) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == type_)
}

pub(super) fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// The newest pod, on the machine's node once it has one.
pub(super) fn current<'a>(vmi: &VirtualMachineInstance, pods: &'a [Pod]) -> Option<&'a Pod> {
    let of_machine = vmi.status.as_ref().and_then(|s| s.node_name.as_deref());
    pods.iter()
        .filter(|pod| of_machine.is_none_or(|name| name.is_empty() || node(pod) == Some(name)))
        .max_by_key(|pod| pod.meta().creation_timestamp.as_ref().map(|t| t.0))
}

/// Ended, whatever it may still be called.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

pub(super) fn is_down_or_going_down(pod: &Pod) -> bool {
    let compute_ended = compute(pod).is_some_and(|state| state.terminated.is_some());
    has_ended(pod) || compute_ended || is_deleted(pod)
}

fn compute(pod: &Pod) -> Option<&ContainerState> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|s| s.name == COMPUTE)?.state.as_ref()
}

/// The machine can be started: its container runs, ready or not, and all others are ready.
pub(super) fn can_run_machine(pod: &Pod) -> bool {
    if is_down_or_going_down(pod) {
        return false;
    }
    let statuses = pod
        .status
        .as_ref()
        .and_then(|s| s.container_statuses.as_ref());
    let Some(statuses) = statuses.filter(|s| !s.is_empty()) else {
        return false;
    };
    statuses.iter().all(|status| {
        if status.name == COMPUTE {
            status.state.as_ref().is_some_and(|s| s.running.is_some())
        } else {
            status.ready
        }
    })
}

/// An image that cannot be had.
pub(super) fn image_error(pod: &Pod) -> Option<SyncError> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .find_map(|waiting| {
            let reason = waiting.reason.clone()?;
            ["ErrImagePull", "ImagePullBackOff"]
                .contains(&reason.as_str())
                .then(|| SyncError {
                    reason,
                    message: waiting.message.clone().unwrap_or_default(),
                })
        })
}

/// The image that a pod's machine runs in.
pub(super) fn launcher_image(pod: &Pod) -> Option<String> {
    let containers = &pod.spec.as_ref()?.containers;
    containers.iter().find(|c| c.name == COMPUTE)?.image.clone()
}

pub(super) fn uid(pod: &Pod) -> String {
    pod.uid().unwrap_or_default()
}
