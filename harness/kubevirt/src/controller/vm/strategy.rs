//! What each run strategy wants done now.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::owner::is_deleted;
use super::backoff;
use crate::types::{
    RunStrategy, StateChangeAction, StateChangeRequest, VirtualMachine, VirtualMachineInstance,
    VmiPhase,
};

/// The next act of the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Start,
    Stop,
    /// The instance failed and is to be followed by another.
    StopAndStartAgain,
    /// Too many failures: not before so long.
    Wait(Duration),
    /// A start request while halted: the machine is to run from now on.
    RunAlways,
}

pub(super) fn next(vm: &VirtualMachine, vmi: Option<&VirtualMachineInstance>, now: &Time) -> Step {
    let strategy = vm.spec.strategy();
    let phase = vmi.and_then(|vmi| vmi.status.as_ref()?.phase);
    let ended = phase.is_some_and(VmiPhase::is_final);
    match (strategy, vmi) {
        (RunStrategy::Always, Some(vmi)) => stop_if(has_stop_request(vm, vmi) || ended, vmi),
        (RunStrategy::Always, None) => start_in_time(vm, now),
        (RunStrategy::RerunOnFailure, Some(vmi)) => {
            if is_deleted(vmi) {
                Step::Nothing
            } else if phase == Some(VmiPhase::Failed) {
                Step::StopAndStartAgain
            } else {
                stop_if(has_stop_request(vm, vmi) || ended, vmi)
            }
        }
        (RunStrategy::RerunOnFailure, None) => {
            // coming from another strategy starts the machine, too
            let before = vm.status.as_ref().and_then(|s| s.run_strategy);
            if has_start_request(vm) || before != Some(strategy) {
                start_in_time(vm, now)
            } else {
                Step::Nothing
            }
        }
        (RunStrategy::Manual, Some(vmi)) => stop_if(has_stop_request(vm, vmi), vmi),
        (RunStrategy::Manual, None) if has_start_request(vm) => Step::Start,
        (RunStrategy::Halted, Some(vmi)) => stop_if(true, vmi),
        (RunStrategy::Halted, None) if has_start_request(vm) => Step::RunAlways,
        (RunStrategy::Once, None) => Step::Start,
        (RunStrategy::Manual | RunStrategy::Halted, None)
        | (RunStrategy::Once, Some(_))
        // a receiver waits for a machine from another cluster, which a lab never has
        | (RunStrategy::WaitAsReceiver, _) => Step::Nothing,
    }
}

fn stop_if(wanted: bool, vmi: &VirtualMachineInstance) -> Step {
    if wanted && !is_deleted(vmi) {
        Step::Stop
    } else {
        Step::Nothing
    }
}

fn start_in_time(vm: &VirtualMachine, now: &Time) -> Step {
    match backoff::left(vm, now) {
        Some(left) => Step::Wait(Duration::try_from(left).unwrap_or_default()),
        None => Step::Start,
    }
}

fn first_request(vm: &VirtualMachine) -> Option<&StateChangeRequest> {
    vm.status.as_ref()?.state_change_requests.first()
}

pub(super) fn has_start_request(vm: &VirtualMachine) -> bool {
    first_request(vm).is_some_and(|request| request.action == StateChangeAction::Start)
}

/// The machine is to be started, but its processors not yet.
pub(super) fn has_start_paused_request(vm: &VirtualMachine) -> bool {
    let paused = |request: &StateChangeRequest| {
        request.data.get("paused").map(String::as_str) == Some("true")
    };
    has_start_request(vm) && first_request(vm).is_some_and(paused)
}

pub(super) fn has_stop_request(vm: &VirtualMachine, vmi: &VirtualMachineInstance) -> bool {
    first_request(vm).is_some_and(|request| {
        request.action == StateChangeAction::Stop
            && request.uid.is_some()
            && request.uid == vmi.uid()
    })
}

/// The first request has been done, or can never be.
pub(super) fn first_request_is_done(
    vm: &VirtualMachine,
    vmi: Option<&VirtualMachineInstance>,
) -> bool {
    let Some(request) = first_request(vm) else {
        return false;
    };
    match (request.action, vmi) {
        (StateChangeAction::Stop, None) => true,
        (StateChangeAction::Stop, Some(vmi)) => request.uid.is_none() || request.uid != vmi.uid(),
        (StateChangeAction::Start, None) => false,
        (StateChangeAction::Start, Some(vmi)) => {
            let phase = vmi.status.as_ref().and_then(|s| s.phase);
            !is_deleted(vmi) && !phase.is_some_and(VmiPhase::is_final)
        }
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value)] // literals read best by value
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{Step, first_request_is_done, next};
    use crate::types::{VirtualMachine, VirtualMachineInstance};

    fn vm(strategy: &str, status: Value) -> VirtualMachine {
        let mut spec = json!({"template": {"spec": {"domain": {}}}});
        match strategy {
            "running" => spec["running"] = json!(true),
            "stopped" => spec["running"] = json!(false),
            other => spec["runStrategy"] = json!(other),
        }
        serde_json::from_value(json!({"metadata": {"name": "vm"}, "spec": spec, "status": status}))
            .unwrap()
    }

    /// A phase; with `-` the instance is being deleted.
    fn vmi(phase: &str) -> Option<VirtualMachineInstance> {
        let (phase, deleted) = match phase.strip_prefix('-') {
            Some(phase) => (phase, json!("2026-01-01T00:00:00Z")),
            None => (phase, json!(null)),
        };
        (!phase.is_empty()).then(|| {
            serde_json::from_value(json!({
                "metadata": {"name": "vm", "uid": "u", "deletionTimestamp": deleted},
                "spec": {"domain": {}}, "status": {"phase": phase},
            }))
            .unwrap()
        })
    }

    fn requests(requests: Value) -> Value {
        json!({"stateChangeRequests": requests, "runStrategy": "RerunOnFailure"})
    }

    #[rstest]
    #[case("Always", json!({}), "", Step::Start)]
    #[case("running", json!({}), "", Step::Start)]
    #[case("Always", json!({}), "Running", Step::Nothing)]
    #[case("Always", json!({}), "Failed", Step::Stop)]
    #[case("Always", json!({}), "Succeeded", Step::Stop)]
    #[case("Always", json!({}), "-Failed", Step::Nothing)]
    #[case("Always", requests(json!([{"action": "Stop", "uid": "u"}])), "Running", Step::Stop)]
    #[case("Always", requests(json!([{"action": "Stop", "uid": "v"}])), "Running", Step::Nothing)]
    #[case("Always", requests(json!([{"action": "Stop"}])), "Running", Step::Nothing)]
    #[case("Halted", json!({}), "", Step::Nothing)]
    #[case("stopped", json!({}), "Running", Step::Stop)]
    #[case("Halted", requests(json!([{"action": "Start", "data": {"paused": "true"}}])), "", Step::RunAlways)]
    #[case("Manual", json!({}), "", Step::Nothing)]
    #[case("Manual", requests(json!([{"action": "Start"}])), "", Step::Start)]
    #[case("Manual", json!({}), "Failed", Step::Nothing)]
    #[case("Manual", requests(json!([{"action": "Stop", "uid": "u"}])), "Running", Step::Stop)]
    #[case("RerunOnFailure", json!({}), "", Step::Start)]
    #[case("RerunOnFailure", json!({"runStrategy": "RerunOnFailure"}), "", Step::Nothing)]
    #[case("RerunOnFailure", json!({"runStrategy": "Halted"}), "", Step::Start)]
    #[case("RerunOnFailure", json!({}), "Failed", Step::StopAndStartAgain)]
    #[case("RerunOnFailure", json!({}), "-Failed", Step::Nothing)]
    #[case("RerunOnFailure", json!({}), "Succeeded", Step::Stop)]
    #[case("RerunOnFailure", requests(json!([{"action": "Start"}])), "", Step::Start)]
    #[case("Once", json!({}), "", Step::Start)]
    #[case("Once", json!({}), "Failed", Step::Nothing)]
    #[case("Once", json!({}), "Succeeded", Step::Nothing)]
    #[case("WaitAsReceiver", json!({}), "", Step::Nothing)]
    fn strategies(
        #[case] strategy: &str,
        #[case] status: Value,
        #[case] phase: &str,
        #[case] step: Step,
    ) {
        let now = Time(Timestamp::UNIX_EPOCH);
        assert_eq!(next(&vm(strategy, status), vmi(phase).as_ref(), &now), step);
    }

    #[test]
    fn a_failing_machine_waits() {
        let status = json!({"startFailure": {"retryAfterTimestamp": "1970-01-01T00:00:30Z"}});
        let now = Time(Timestamp::UNIX_EPOCH);
        let wait = Step::Wait(std::time::Duration::from_secs(30));
        assert_eq!(next(&vm("Always", status.clone()), None, &now), wait);
        assert_eq!(next(&vm("Once", status), None, &now), Step::Start);
    }

    #[rstest]
    #[case(json!([]), "Running", false)]
    #[case(json!([{"action": "Stop", "uid": "u"}, {"action": "Start"}]), "Running", false)]
    #[case(json!([{"action": "Stop", "uid": "u"}, {"action": "Start"}]), "", true)]
    #[case(json!([{"action": "Stop", "uid": "v"}]), "Running", true)]
    #[case(json!([{"action": "Stop"}]), "Running", true)]
    #[case(json!([{"action": "Start"}]), "", false)]
    #[case(json!([{"action": "Start"}]), "Pending", true)]
    #[case(json!([{"action": "Start"}]), "-Running", false)]
    #[case(json!([{"action": "Start"}]), "Failed", false)]
    fn done_requests(#[case] list: Value, #[case] phase: &str, #[case] done: bool) {
        let vm = vm("Always", requests(list));
        assert_eq!(first_request_is_done(&vm, vmi(phase).as_ref()), done);
    }
}
