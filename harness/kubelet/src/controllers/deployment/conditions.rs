//! `Available` and `Progressing`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, DeploymentStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::controller::Action;

use super::rolling::Bounds;
use super::sets::Sets;

/// A rollout without any progress for so long has failed.
fn deadline(spec: &DeploymentSpec) -> SignedDuration {
    SignedDuration::from_secs(spec.progress_deadline_seconds.unwrap_or(600).into())
}

const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const COMPLETE: &str = "NewReplicaSetAvailable";

pub(super) fn conditions(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Vec<DeploymentCondition> {
    let before = deployment.status.clone().unwrap_or_default();
    let old = before.conditions.as_deref().unwrap_or_default();
    let mut conditions = vec![available(spec, status)];
    conditions.extend(progressing(&before, spec, sets, status, now));
    for condition in &mut conditions {
        let same = old.iter().find(|c| c.type_ == condition.type_);
        let unchanged =
            same.is_some_and(|c| c.status == condition.status && c.reason == condition.reason);
        let transition = same
            .filter(|c| c.status == condition.status)
            .and_then(|c| c.last_transition_time.clone());
        condition.last_transition_time = Some(transition.unwrap_or(Time(now)));
        let moved = condition.type_ == "Progressing" && has_moved(&before, status);
        let update = same
            .filter(|_| unchanged && !moved)
            .and_then(|c| c.last_update_time.clone());
        condition.last_update_time = Some(update.unwrap_or(Time(now)));
    }
    conditions
}

fn condition(type_: &str, holds: bool, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

fn available(spec: &DeploymentSpec, status: &DeploymentStatus) -> DeploymentCondition {
    let bounds = Bounds::of(spec);
    if status.available_replicas.unwrap_or(0) >= bounds.replicas - bounds.unavailable {
        let message = "Deployment has minimum availability.".to_owned();
        condition("Available", true, "MinimumReplicasAvailable", message)
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        condition("Available", false, "MinimumReplicasUnavailable", message)
    }
}

fn is_complete(spec: &DeploymentSpec, status: &DeploymentStatus) -> bool {
    let wanted = spec.replicas.unwrap_or(1);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
}

fn has_moved(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let old_replicas =
        |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
    now.updated_replicas > before.updated_replicas
        || old_replicas(now) < old_replicas(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn progressing(
    before: &DeploymentStatus,
    spec: &DeploymentSpec,
    sets: &Sets,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<DeploymentCondition> {
    let old = before
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Progressing")
        .cloned();
    let Some(new) = &sets.new else { return old };
    let name = new.name_any();
    if is_complete(spec, status) {
        let message = format!("ReplicaSet {name:?} has successfully progressed.");
        return Some(condition("Progressing", true, COMPLETE, message));
    }
    if sets.created {
        let message = format!("Created new replica set {name:?}");
        return Some(condition(
            "Progressing",
            true,
            "NewReplicaSetCreated",
            message,
        ));
    }
    if spec.paused == Some(true) {
        return old;
    }
    let since = old
        .as_ref()
        .and_then(|c| c.last_update_time.as_ref())
        .map_or(now, |t| t.0);
    let was_complete = old.as_ref().and_then(|c| c.reason.as_deref()) == Some(COMPLETE);
    if !was_complete && !has_moved(before, status) && now.duration_since(since) >= deadline(spec) {
        let message = format!("ReplicaSet {name:?} has timed out progressing.");
        return Some(condition("Progressing", false, TIMED_OUT, message));
    }
    if old.is_some() && !was_complete && !has_moved(before, status) {
        return old;
    }
    let message = format!("ReplicaSet {name:?} is progressing.");
    Some(condition("Progressing", true, "ReplicaSetUpdated", message))
}

/// When the deadline has to be looked at.
pub(super) fn deadline_action(
    spec: &DeploymentSpec,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Action {
    let progressing = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Progressing");
    let over =
        progressing.is_none_or(|c| matches!(c.reason.as_deref(), Some(COMPLETE | TIMED_OUT)));
    let Some(since) = progressing
        .and_then(|c| c.last_update_time.as_ref())
        .filter(|_| !over)
    else {
        return Action::await_change();
    };
    let left = deadline(spec) - now.duration_since(since.0);
    Action::requeue(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}
