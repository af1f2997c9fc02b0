//! What a VirtualMachineInstance's status must say next, computed from what is seen.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::conditions::{
    POD_SCHEDULED, READY, SYNCHRONIZED, UNSCHEDULABLE, has, not, update,
};
use super::super::context::SyncError;
use super::super::launcher::{NODE_NAME, UNIX_TRANSPORT};
use super::super::owner::is_deleted;
use super::volumes::Found;
use super::{CONTROLLER_FINALIZER, FINALIZER, PVC_NOT_FOUND, network, pods, volumes};
use crate::types::{
    Condition, Conditions, PhaseTransition, VirtualMachineInstance, VirtualMachineInstanceStatus,
    VmiPhase,
};

/// What there is besides the machine itself.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    /// All of the machine.
    pub pods: &'a [Pod],
    /// The one it runs in.
    pub pod: Option<&'a Pod>,
    pub claims: &'a Found,
    /// The VirtualMachine that made this one exists.
    pub has_owner: bool,
    pub sync_error: Option<SyncError>,
    pub now: &'a Time,
}

/// The machine with the labels, finalizers and status it should have.
pub(super) fn next(vmi: &VirtualMachineInstance, seen: &Seen<'_>) -> VirtualMachineInstance {
    let mut next = vmi.clone();
    let mut status = next.status.take().unwrap_or_default();
    let phase = status.phase.unwrap_or(VmiPhase::Pending);
    let mut sync_error = seen.sync_error.clone();
    if !(seen.pods.is_empty() && status.active_pods.is_empty()) {
        status.active_pods = active(seen.pods);
    }
    update(&mut status.conditions, ready(phase, seen));
    if let Some(pod) = seen.pod {
        status.launcher_container_image_version = pods::launcher_image(pod);
    }
    match phase {
        VmiPhase::Pending => pending(&mut status, vmi, seen),
        VmiPhase::Scheduling => {
            status.phase = Some(VmiPhase::Scheduling);
            scheduling(&mut next, &mut status, vmi, seen, &mut sync_error);
        }
        VmiPhase::Scheduled => match seen.pod {
            Some(_) => status.volume_status = volumes::status(vmi, seen.claims),
            None => status.phase = Some(VmiPhase::Failed),
        },
        VmiPhase::Running => match seen.pod {
            Some(pod) => {
                status.volume_status = volumes::status(vmi, seen.claims);
                status.interfaces = network::interfaces(vmi, pod);
            }
            None => status.phase = Some(VmiPhase::Failed),
        },
        VmiPhase::Succeeded | VmiPhase::Failed => {
            let finalizers = next.finalizers_mut();
            if seen.pods.is_empty() {
                finalizers.retain(|f| f != FINALIZER);
                status.launcher_container_image_version = None;
            }
            if !seen.has_owner {
                finalizers.retain(|f| f != CONTROLLER_FINALIZER);
            }
        }
        VmiPhase::WaitingForSync | VmiPhase::Unknown => {}
    }
    // from Scheduled on the machine is virt-handler's
    if !matches!(phase, VmiPhase::Scheduled | VmiPhase::Running) {
        synchronized(&mut status.conditions, sync_error, seen.now);
        note_transition(&mut status, phase_of(vmi), seen.now);
    }
    next.status = Some(status);
    next
}

fn phase_of(vmi: &VirtualMachineInstance) -> Option<VmiPhase> {
    vmi.status.as_ref()?.phase
}

fn active(pods: &[Pod]) -> std::collections::BTreeMap<String, String> {
    pods.iter()
        .map(|pod| {
            let node = pods::node(pod).unwrap_or_default();
            (pods::uid(pod), node.to_owned())
        })
        .collect()
}

fn ready(phase: VmiPhase, seen: &Seen<'_>) -> Condition {
    let no = |reason: &str, message: &str| not(READY, reason, message, seen.now);
    let Some(pod) = seen.pod else {
        return no(
            "PodNotExists",
            "virt-launcher pod has not yet been scheduled",
        );
    };
    if pods::is_down_or_going_down(pod) {
        return no("PodTerminating", "virt-launcher pod is terminating");
    }
    if phase != VmiPhase::Running {
        return no("GuestNotRunning", "Guest VM is not reported as running");
    }
    match pods::condition(pod, READY) {
        Some(of_pod) => Condition {
            type_: READY.to_owned(),
            status: of_pod.status.clone(),
            last_probe_time: of_pod.last_probe_time.clone(),
            last_transition_time: of_pod.last_transition_time.clone(),
            reason: of_pod.reason.clone(),
            message: of_pod.message.clone(),
        },
        None => no(
            "PodConditionMissing",
            "virt-launcher pod is missing the Ready condition",
        ),
    }
}

fn pending(
    status: &mut VirtualMachineInstanceStatus,
    vmi: &VirtualMachineInstance,
    seen: &Seen<'_>,
) {
    status.phase = Some(if seen.pod.is_some() {
        VmiPhase::Scheduling
    } else if is_deleted(vmi) {
        VmiPhase::Failed
    } else {
        VmiPhase::Pending
    });
    if let Some(error) = seen
        .sync_error
        .as_ref()
        .filter(|e| e.reason == PVC_NOT_FOUND)
    {
        let known = status
            .conditions
            .iter()
            .any(|c| c.type_ == POD_SCHEDULED && c.message.as_ref() == Some(&error.message));
        if !known {
            status.conditions.unset(POD_SCHEDULED);
            status.conditions.push(Condition {
                last_probe_time: None,
                last_transition_time: None,
                ..not(POD_SCHEDULED, UNSCHEDULABLE, &error.message, seen.now)
            });
        }
    } else if seen.pod.is_some() {
        status.conditions.unset(POD_SCHEDULED);
    }
}

fn scheduling(
    next: &mut VirtualMachineInstance,
    status: &mut VirtualMachineInstanceStatus,
    vmi: &VirtualMachineInstance,
    seen: &Seen<'_>,
    sync_error: &mut Option<SyncError>,
) {
    let Some(pod) = seen.pod else {
        // somebody else deleted it
        status.phase = Some(VmiPhase::Failed);
        return;
    };
    status.qos_class = pod.status.as_ref().and_then(|s| s.qos_class.clone());
    match pods::condition(pod, POD_SCHEDULED).filter(|c| c.status == "False") {
        Some(_) if status.conditions.find(POD_SCHEDULED).is_some() => {}
        Some(of_pod) => status.conditions.push(Condition {
            type_: POD_SCHEDULED.to_owned(),
            status: of_pod.status.clone(),
            last_probe_time: of_pod.last_probe_time.clone(),
            last_transition_time: of_pod.last_transition_time.clone(),
            reason: of_pod.reason.clone(),
            message: of_pod.message.clone(),
        }),
        None => status.conditions.unset(POD_SCHEDULED),
    }
    if let Some(error) = pods::image_error(pod) {
        *sync_error = Some(error);
    }
    if pods::can_run_machine(pod) && !is_deleted(vmi) {
        hand_over(next, status, vmi, pod, seen.claims);
    } else if pods::is_down_or_going_down(pod) {
        status.phase = Some(VmiPhase::Failed);
    }
}

/// The machine becomes virt-handler's, which finds its own by the node's name.
fn hand_over(
    next: &mut VirtualMachineInstance,
    status: &mut VirtualMachineInstanceStatus,
    vmi: &VirtualMachineInstance,
    pod: &Pod,
    claims: &Found,
) {
    status.volume_status = volumes::status(vmi, claims);
    status.interfaces = network::interfaces(vmi, pod);
    status.phase = Some(VmiPhase::Scheduled);
    let node = pods::node(pod).unwrap_or_default().to_owned();
    next.labels_mut().insert(NODE_NAME.to_owned(), node.clone());
    status.node_name = Some(node);
    if pod.annotations().contains_key(UNIX_TRANSPORT) {
        status.migration_transport = Some("Unix".to_owned());
    }
}

fn synchronized(conditions: &mut Vec<Condition>, error: Option<SyncError>, now: &Time) {
    let Some(error) = error else {
        conditions.unset(SYNCHRONIZED);
        return;
    };
    if has(conditions, SYNCHRONIZED, "False", Some(&error.reason)) {
        return;
    }
    conditions.unset(SYNCHRONIZED);
    conditions.push(Condition {
        last_probe_time: None,
        ..not(SYNCHRONIZED, &error.reason, &error.message, now)
    });
}

fn note_transition(
    status: &mut VirtualMachineInstanceStatus,
    before: Option<VmiPhase>,
    now: &Time,
) {
    let transitions = &mut status.phase_transition_timestamps;
    let known = transitions.iter().any(|t| t.phase == status.phase);
    if status.phase != before && !known {
        transitions.push(PhaseTransition {
            phase: status.phase,
            phase_transition_timestamp: Some(now.clone()),
        });
    }
}
