//! What a VirtualMachine's status must say next.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::conditions::{FAILURE, READY, RESTART_REQUIRED, has, not, update};
use super::super::context::SyncError;
use super::{Disks, Expected, GENERATION, backoff, printable, strategy};
use crate::types::{
    Condition, Conditions, VirtualMachine, VirtualMachineInstance, VirtualMachineStatus,
};

/// What the controller has seen and done.
#[derive(Debug)]
pub(super) struct Done<'a> {
    /// As it was before it was made or deleted.
    pub vmi: Option<&'a VirtualMachineInstance>,
    pub expected: Expected,
    pub sync_error: Option<SyncError>,
    pub restart: Restart,
    pub disks: Disks,
    pub now: &'a Time,
}

/// Whether a running machine lags behind what is specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Required,
    NotRequired,
    /// Nothing to compare with.
    Unknown,
}

pub(super) fn next(
    vm: &VirtualMachine,
    done: &Done<'_>,
    lot: impl FnOnce(i64) -> i64,
) -> VirtualMachineStatus {
    let before = vm.status.clone().unwrap_or_default();
    let mut status = before.clone();
    let vmi = done.vmi;
    let of_vmi = vmi.and_then(|vmi| vmi.status.as_ref());
    status.created = vmi.is_some();
    status.ready = of_vmi.is_some_and(|s| has(&s.conditions, READY, "True", None));
    let observed = vmi.and_then(|vmi| vmi.annotations().get(GENERATION)?.parse().ok());
    if let Some(generation) = observed {
        status.observed_generation = generation;
        status.desired_generation = vm.metadata.generation.unwrap_or_default();
    }
    // known since the machine was started for the first time
    let strategy = vm.spec.strategy();
    if status.run_strategy.is_some() || status.created {
        status.run_strategy = Some(strategy);
    }
    if strategy::first_request_is_done(vm, vmi) {
        status.state_change_requests.remove(0);
    }
    status.start_failure = backoff::failures(before.start_failure, strategy, vmi, done.now, lot);
    conditions(&mut status.conditions, done);
    status.printable_status = Some(printable::status(
        vm,
        &status,
        vmi,
        done.expected,
        done.disks,
    ));
    status
}

fn conditions(conditions: &mut Vec<Condition>, done: &Done<'_>) {
    let no = |reason: &str, message: &str| not(READY, reason, message, done.now);
    let of_vmi = done.vmi.map(|vmi| {
        let status = vmi.status.as_ref();
        status.map_or(&[][..], |s| s.conditions.as_slice())
    });
    let ready = match of_vmi.map(|all| all.iter().find(|c| c.type_ == READY)) {
        None => no("VMINotExists", "VMI does not exist"),
        Some(None) => no("VMIConditionMissing", "VMI is missing the Ready condition"),
        Some(Some(ready)) => ready.clone(),
    };
    update(conditions, ready);
    match &done.sync_error {
        None => conditions.unset(FAILURE),
        Some(error) => {
            let failure = Condition {
                status: "True".to_owned(),
                last_probe_time: None,
                ..not(FAILURE, &error.reason, &error.message, done.now)
            };
            update(conditions, failure);
        }
    }
    match done.restart {
        Restart::Required => update(
            conditions,
            Condition {
                type_: RESTART_REQUIRED.to_owned(),
                status: "True".to_owned(),
                last_probe_time: None,
                last_transition_time: Some(done.now.clone()),
                reason: None,
                message: Some(
                    "a non-live-updatable field was changed in the template spec".to_owned(),
                ),
            },
        ),
        Restart::NotRequired => conditions.unset(RESTART_REQUIRED),
        Restart::Unknown => {}
    }
    let Some(of_vmi) = of_vmi else { return };
    let own = [READY, FAILURE, RESTART_REQUIRED];
    let is_own = |condition: &Condition| own.contains(&condition.type_.as_str());
    for condition in of_vmi.iter().filter(|c| !is_own(c)) {
        update(conditions, condition.clone());
    }
    conditions.retain(|c| is_own(c) || of_vmi.iter().any(|of| of.type_ == c.type_));
}
