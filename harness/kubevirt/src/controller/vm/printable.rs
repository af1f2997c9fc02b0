//! The one word for a machine's state.

use super::super::conditions::{PAUSED, POD_SCHEDULED, SYNCHRONIZED, UNSCHEDULABLE, has};
use super::super::owner::is_deleted;
use super::{Disks, Expected, strategy};
use crate::types::{
    PrintableStatus, RunStrategy, VirtualMachine, VirtualMachineInstance, VirtualMachineStatus,
    VmiPhase,
};

/// The first word that fits, in KubeVirt's order.
pub(super) fn status(
    vm: &VirtualMachine,
    new: &VirtualMachineStatus,
    vmi: Option<&VirtualMachineInstance>,
    expected: Expected,
    disks: Disks,
) -> PrintableStatus {
    let phase = vmi.map(|vmi| {
        let phase = vmi.status.as_ref().and_then(|s| s.phase);
        phase.unwrap_or(VmiPhase::Pending)
    });
    if is_deleted(vm) {
        return PrintableStatus::Terminating;
    }
    if let Some(status) = vmi
        .zip(phase)
        .and_then(|(vmi, phase)| at_work(vmi, phase, expected))
    {
        return status;
    }
    if let Some(status) = broken(vmi, disks, is_to_start(vm, vmi, phase)) {
        return status;
    }
    let starting = match phase {
        None => expected == Expected::Start,
        Some(phase) => matches!(
            phase,
            VmiPhase::Pending | VmiPhase::Scheduling | VmiPhase::Scheduled
        ),
    };
    if starting {
        return PrintableStatus::Starting;
    }
    if !phase.is_none_or(VmiPhase::is_final) {
        return PrintableStatus::Unknown;
    }
    let strategy = vm.spec.strategy();
    let restarts = matches!(
        strategy,
        RunStrategy::Always | RunStrategy::RerunOnFailure | RunStrategy::Once
    );
    let failures = new.start_failure.as_ref();
    if restarts && failures.is_some_and(|f| f.consecutive_fail_count > 0) {
        return PrintableStatus::CrashLoopBackOff;
    }
    if strategy == RunStrategy::WaitAsReceiver {
        return PrintableStatus::WaitingForReceiver;
    }
    PrintableStatus::Stopped
}

/// It runs, or is on its way elsewhere.
fn at_work(
    vmi: &VirtualMachineInstance,
    phase: VmiPhase,
    expected: Expected,
) -> Option<PrintableStatus> {
    if !phase.is_final() && (is_deleted(vmi) || expected == Expected::Stop) {
        return Some(PrintableStatus::Stopping);
    }
    let status = vmi.status.as_ref()?;
    let migration = status.migration_state.as_ref();
    if migration.is_some_and(|m| m.start_timestamp.is_some() && m.end_timestamp.is_none()) {
        return Some(PrintableStatus::Migrating);
    }
    if phase != VmiPhase::Running {
        return None;
    }
    Some(if has(&status.conditions, PAUSED, "True", None) {
        PrintableStatus::Paused
    } else {
        PrintableStatus::Running
    })
}

/// Why it cannot start.
fn broken(
    vmi: Option<&VirtualMachineInstance>,
    disks: Disks,
    is_to_start: bool,
) -> Option<PrintableStatus> {
    let conditions = vmi.and_then(|vmi| Some(&vmi.status.as_ref()?.conditions));
    let holds_not =
        |type_, reason| conditions.is_some_and(|all| has(all, type_, "False", Some(reason)));
    let found = [
        (
            holds_not(SYNCHRONIZED, "FailedPvcNotFound"),
            PrintableStatus::ErrorPvcNotFound,
        ),
        (disks == Disks::Failed, PrintableStatus::DataVolumeError),
        (
            holds_not(POD_SCHEDULED, UNSCHEDULABLE),
            PrintableStatus::ErrorUnschedulable,
        ),
        (disks == Disks::Filling, PrintableStatus::Provisioning),
        (
            is_to_start && disks == Disks::Unbound,
            PrintableStatus::WaitingForVolumeBinding,
        ),
        (
            holds_not(SYNCHRONIZED, "ErrImagePull"),
            PrintableStatus::ErrImagePull,
        ),
        (
            holds_not(SYNCHRONIZED, "ImagePullBackOff"),
            PrintableStatus::ImagePullBackOff,
        ),
    ];
    found
        .into_iter()
        .find_map(|(holds, status)| holds.then_some(status))
}

fn is_to_start(
    vm: &VirtualMachine,
    vmi: Option<&VirtualMachineInstance>,
    phase: Option<VmiPhase>,
) -> bool {
    match vm.spec.strategy() {
        RunStrategy::Always => true,
        RunStrategy::Manual => match vmi {
            Some(vmi) => !strategy::has_stop_request(vm, vmi),
            None => strategy::has_start_request(vm),
        },
        RunStrategy::RerunOnFailure => phase != Some(VmiPhase::Succeeded),
        RunStrategy::Once => vmi.is_none(),
        RunStrategy::Halted | RunStrategy::WaitAsReceiver => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::types::VirtualMachineStatus;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Disks, Expected, PrintableStatus, status};

    fn printable(
        strategy: &str,
        vm_status: Value,
        vmi: Option<Value>,
        expected: Expected,
    ) -> PrintableStatus {
        let vm = serde_json::from_value(json!({
            "metadata": {"name": "vm"}, "spec": {"runStrategy": strategy, "template": {}},
        }))
        .unwrap();
        let vmi = vmi.map(|status| {
            let deleted = status.get("deleted").cloned().unwrap_or_default();
            serde_json::from_value(json!({
                "metadata": {"name": "vm", "deletionTimestamp": deleted}, "spec": {"domain": {}}, "status": status,
            }))
            .unwrap()
        });
        status(
            &vm,
            &serde_json::from_value(vm_status).unwrap(),
            vmi.as_ref(),
            expected,
            Disks::Fine,
        )
    }

    #[rstest]
    #[case("Always", None, Expected::Nothing, "Stopped")]
    #[case("Always", None, Expected::Start, "Starting")]
    #[case("Always", Some(json!({})), Expected::Nothing, "Starting")]
    #[case("Always", Some(json!({"phase": "Scheduled"})), Expected::Nothing, "Starting")]
    #[case("Always", Some(json!({"phase": "Running"})), Expected::Nothing, "Running")]
    #[case("Always", Some(json!({"phase": "Running"})), Expected::Stop, "Stopping")]
    #[case("Always", Some(json!({"phase": "Running", "deleted": "2026-01-01T00:00:00Z"})), Expected::Nothing, "Stopping")]
    #[case("Always", Some(json!({"phase": "Failed", "deleted": "2026-01-01T00:00:00Z"})), Expected::Nothing, "Stopped")]
    #[case("Always", Some(json!({"phase": "Running", "conditions": [{"type": "Paused", "status": "True"}]})), Expected::Nothing, "Paused")]
    #[case("Always", Some(json!({"phase": "Running", "migrationState": {"startTimestamp": "2026-01-01T00:00:00Z"}})), Expected::Nothing, "Migrating")]
    #[case("Always", Some(json!({"phase": "Scheduling", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]})), Expected::Nothing, "ErrorUnschedulable")]
    #[case("Always", Some(json!({"phase": "Scheduling", "conditions": [{"type": "Synchronized", "status": "False", "reason": "ErrImagePull"}]})), Expected::Nothing, "ErrImagePull")]
    #[case("Always", Some(json!({"phase": "Scheduling", "conditions": [{"type": "Synchronized", "status": "False", "reason": "ImagePullBackOff"}]})), Expected::Nothing, "ImagePullBackOff")]
    #[case("Always", Some(json!({"phase": "Pending", "conditions": [
        {"type": "Synchronized", "status": "False", "reason": "FailedPvcNotFound"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]})), Expected::Nothing, "ErrorPvcNotFound")]
    #[case("WaitAsReceiver", None, Expected::Nothing, "WaitingForReceiver")]
    fn words(
        #[case] strategy: &str,
        #[case] vmi: Option<Value>,
        #[case] expected: Expected,
        #[case] word: &str,
    ) {
        assert_eq!(printable(strategy, json!({}), vmi, expected).as_str(), word);
    }

    #[rstest]
    #[case(Disks::Failed, "DataVolumeError")]
    #[case(Disks::Filling, "Provisioning")]
    #[case(Disks::Unbound, "WaitingForVolumeBinding")]
    #[case(Disks::Fine, "Stopped")]
    fn disks_that_are_not_there_yet(#[case] disks: Disks, #[case] word: &str) {
        let vm = serde_json::from_value(
            json!({"metadata": {}, "spec": {"running": true, "template": {}}}),
        )
        .unwrap();
        assert_eq!(
            status(
                &vm,
                &VirtualMachineStatus::default(),
                None,
                Expected::Nothing,
                disks
            )
            .as_str(),
            word
        );
    }

    #[test]
    fn failures_in_a_row_are_a_crash_loop() {
        let failures = json!({"startFailure": {"consecutiveFailCount": 1}});
        let failed = Some(json!({"phase": "Failed"}));
        let word = |strategy, vmi, expected| printable(strategy, failures.clone(), vmi, expected);
        assert_eq!(
            word("Always", failed.clone(), Expected::Nothing),
            PrintableStatus::CrashLoopBackOff
        );
        assert_eq!(
            word("Always", None, Expected::Nothing),
            PrintableStatus::CrashLoopBackOff
        );
        assert_eq!(
            word("Always", None, Expected::Start),
            PrintableStatus::Starting
        );
        assert_eq!(
            word("Manual", failed, Expected::Nothing),
            PrintableStatus::Stopped
        );
    }
}
