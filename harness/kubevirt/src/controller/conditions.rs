//! Conditions as KubeVirt changes them: one that says the same for the same reason stays as it is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::types::{Condition, Conditions};

pub(super) const READY: &str = "Ready";
pub(super) const SYNCHRONIZED: &str = "Synchronized";
pub(super) const PAUSED: &str = "Paused";
pub(super) const POD_SCHEDULED: &str = "PodScheduled";
pub(super) const FAILURE: &str = "Failure";
pub(super) const RESTART_REQUIRED: &str = "RestartRequired";
pub(super) const UNSCHEDULABLE: &str = "Unschedulable";

pub(super) fn update(conditions: &mut Vec<Condition>, condition: Condition) {
    let same = conditions
        .find(&condition.type_)
        .is_some_and(|c| c.status == condition.status && c.reason == condition.reason);
    if !same {
        conditions.set(condition);
    }
}

/// A condition that does not hold, found out and begun now.
pub(super) fn not(type_: &str, reason: &str, message: &str, now: &Time) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: "False".to_owned(),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    }
}

pub(super) fn has(
    conditions: &[Condition],
    type_: &str,
    status: &str,
    reason: Option<&str>,
) -> bool {
    conditions.iter().any(|c| {
        c.type_ == type_
            && c.status == status
            && (reason.is_none() || c.reason.as_deref() == reason)
    })
}
