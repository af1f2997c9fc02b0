//! Machines that fail before they run are started again ever later.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::types::{RunStrategy, StartFailure, VirtualMachine, VirtualMachineInstance, VmiPhase};

/// The longest wait, in seconds; the first is a thirtieth of it.
const LONGEST: i64 = 300;

/// How long to wait after so many failures in a row. Up to half as much again is added by lot, so that machines that
/// fail together do not start together.
pub(super) fn delay(failures: i64, lot: impl FnOnce(i64) -> i64) -> SignedDuration {
    let failures = failures.max(1);
    let seconds = (LONGEST / 30).saturating_mul(failures.saturating_mul(failures));
    let drawn = lot(seconds / 2);
    SignedDuration::from_secs(seconds.saturating_add(drawn).min(LONGEST))
}

/// What is left of the wait.
pub(super) fn left(vm: &VirtualMachine, now: &Time) -> Option<SignedDuration> {
    let failure = vm.status.as_ref()?.start_failure.as_ref()?;
    let left = failure
        .retry_after_timestamp
        .as_ref()?
        .0
        .duration_since(now.0);
    left.is_positive().then_some(left)
}

/// The failures so far: forgotten when the machine ran, or when nobody would start it again.
pub(super) fn failures(
    before: Option<StartFailure>,
    strategy: RunStrategy,
    vmi: Option<&VirtualMachineInstance>,
    now: &Time,
    lot: impl FnOnce(i64) -> i64,
) -> Option<StartFailure> {
    let restarts = matches!(
        strategy,
        RunStrategy::Always | RunStrategy::RerunOnFailure | RunStrategy::Once
    );
    if !restarts || vmi.is_some_and(has_run) {
        return None;
    }
    let Some(failed) = vmi.filter(|vmi| has_ended(vmi)) else {
        return before;
    };
    let uid = failed.uid();
    if before
        .as_ref()
        .is_some_and(|b| b.last_failed_vmi_uid == uid)
    {
        return before;
    }
    let count = before.map_or(0, |b| b.consecutive_fail_count) + 1;
    Some(StartFailure {
        consecutive_fail_count: count,
        last_failed_vmi_uid: uid,
        retry_after_timestamp: Some(Time(now.0 + delay(count, lot))),
    })
}

fn has_run(vmi: &VirtualMachineInstance) -> bool {
    let transitions = vmi
        .status
        .iter()
        .flat_map(|s| &s.phase_transition_timestamps);
    transitions
        .into_iter()
        .any(|t| t.phase == Some(VmiPhase::Running))
}

fn has_ended(vmi: &VirtualMachineInstance) -> bool {
    let phase = vmi.status.as_ref().and_then(|s| s.phase);
    phase.is_some_and(VmiPhase::is_final)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::{Value, json};

    use super::{delay, failures, left};
    use crate::types::{RunStrategy, VirtualMachine};

    #[test]
    fn waits_grow_with_the_square() {
        let least = |count| delay(count, |_| 0).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6].map(least), [10, 40, 90, 160, 250, 300]);
        let most = |count| delay(count, |range| range).as_secs();
        assert_eq!([1, 2, 5].map(most), [15, 60, 300]);
    }

    fn vmi(uid: &str, phase: &str, ran: bool) -> crate::types::VirtualMachineInstance {
        let transitions = if ran {
            json!([{"phase": "Running", "phaseTransitionTimestamp": null}])
        } else {
            json!([])
        };
        serde_json::from_value(json!({
            "metadata": {"name": "vm", "uid": uid}, "spec": {"domain": {}},
            "status": {"phase": phase, "phaseTransitionTimestamps": transitions},
        }))
        .unwrap()
    }

    #[test]
    fn failures_are_counted_once_each_and_forgotten_after_a_run() {
        let now = Time(Timestamp::UNIX_EPOCH);
        let count =
            |before, strategy, vmi: Option<&_>| failures(before, strategy, vmi, &now, |_| 0);
        let first = count(None, RunStrategy::Always, Some(&vmi("a", "Failed", false))).unwrap();
        assert_eq!(first.consecutive_fail_count, 1);
        let again = count(
            Some(first.clone()),
            RunStrategy::Always,
            Some(&vmi("a", "Failed", false)),
        );
        assert_eq!(again.as_ref(), Some(&first));
        let waiting = count(again, RunStrategy::Always, None);
        assert_eq!(waiting.as_ref(), Some(&first));
        let second = count(
            waiting,
            RunStrategy::Always,
            Some(&vmi("b", "Failed", false)),
        )
        .unwrap();
        assert_eq!(second.consecutive_fail_count, 2);
        assert_eq!(second.retry_after_timestamp.unwrap().0.as_second(), 40);
        assert_eq!(
            count(
                Some(first.clone()),
                RunStrategy::Always,
                Some(&vmi("b", "Failed", true))
            ),
            None
        );
        assert_eq!(
            count(
                Some(first),
                RunStrategy::Manual,
                Some(&vmi("b", "Failed", false))
            ),
            None
        );
    }

    #[test]
    fn what_is_left_of_a_wait() {
        let vm = |status: Value| -> VirtualMachine {
            serde_json::from_value(
                json!({"metadata": {}, "spec": {"template": {}}, "status": status}),
            )
            .unwrap()
        };
        let now = Time(Timestamp::from_second(100).unwrap());
        let until = |time: &str| vm(json!({"startFailure": {"retryAfterTimestamp": time}}));
        assert_eq!(
            left(&until("1970-01-01T00:01:50Z"), &now)
                .unwrap()
                .as_secs(),
            10
        );
        assert_eq!(left(&until("1970-01-01T00:01:40Z"), &now), None);
        assert_eq!(left(&vm(json!({})), &now), None);
    }
}
