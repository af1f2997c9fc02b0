//! Counting pods, and what follows from it.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::INDEX;
use crate::controllers::common::{
    Context, count, has_failed, has_succeeded, is_active, is_deleted,
};
use crate::events::Severity;

/// The pods by what became of them.
pub(super) struct Tally {
    pub(super) active: Vec<Pod>,
    pub(super) ending: i32,
    pub(super) succeeded: Vec<Pod>,
    pub(super) failed: Vec<Pod>,
    pub(super) done: BTreeSet<i32>,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Complete,
    BackoffLimit,
    Deadline,
}

impl Verdict {
    pub(super) fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::Complete => (
                "SuccessCriteriaMet",
                "Complete",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            ),
            Self::BackoffLimit => (
                "FailureTarget",
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            ),
            Self::Deadline => (
                "FailureTarget",
                "Failed",
                "DeadlineExceeded",
                "Job was active longer than specified deadline",
            ),
        }
    }

    pub(super) fn announce(self, context: &Context, job: &Job) {
        let (_, _, reason, message) = self.parts();
        match self {
            Self::Complete => context.event(job, Severity::Normal, "Completed", "Job completed"),
            _ => context.event(job, Severity::Warning, reason, message),
        }
    }
}

impl Tally {
    pub(super) fn new(spec: &JobSpec, pods: &[Pod]) -> Self {
        let pick =
            |keep: fn(&Pod) -> bool| pods.iter().filter(|p| keep(p)).cloned().collect::<Vec<_>>();
        let succeeded = pick(has_succeeded);
        let completions = spec.completions.unwrap_or(1);
        Self {
            active: pick(is_active),
            ending: count(
                pods.iter()
                    .filter(|p| is_deleted(*p) && !has_succeeded(p) && !has_failed(p)),
            ),
            done: succeeded
                .iter()
                .filter_map(index_of)
                .filter(|i| *i < completions)
                .collect(),
            succeeded,
            failed: pick(has_failed),
        }
    }

    pub(super) fn successes(&self, spec: &JobSpec) -> i32 {
        if is_indexed(spec) {
            count(&self.done)
        } else {
            count(&self.succeeded)
        }
    }

    fn failures(&self) -> i32 {
        let restarts: i32 = self
            .active
            .iter()
            .flat_map(|p| p.status.iter())
            .flat_map(|s| s.container_statuses.iter().flatten())
            .map(|c| c.restart_count)
            .sum();
        count(&self.failed) + restarts
    }

    pub(super) fn verdict(
        &self,
        spec: &JobSpec,
        started: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Verdict> {
        let enough = match spec.completions {
            Some(wanted) => self.successes(spec) >= wanted,
            // any success will do once nothing runs any more
            None => !self.succeeded.is_empty() && self.active.is_empty(),
        };
        if enough {
            return Some(Verdict::Complete);
        }
        if self.failures() > spec.backoff_limit.unwrap_or(6) {
            return Some(Verdict::BackoffLimit);
        }
        let limit = SignedDuration::from_secs(spec.active_deadline_seconds?);
        (now.duration_since(started?) >= limit).then_some(Verdict::Deadline)
    }

    /// Failures in a row slow the next pod down: 10 s, doubling to ten minutes.
    pub(super) fn pause(&self, now: Timestamp) -> Option<Duration> {
        let ended = |pod: &Pod| {
            pod.status
                .iter()
                .flat_map(|s| s.container_statuses.iter().flatten())
                .filter_map(|c| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
                .map(|t| t.0)
                .max()
        };
        let last_success = self.succeeded.iter().filter_map(ended).max();
        let failures: Vec<_> = self
            .failed
            .iter()
            .filter_map(ended)
            .filter(|at| last_success.is_none_or(|s| *at > s))
            .collect();
        let last = failures.iter().max()?;
        let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(6);
        let delay = SignedDuration::from_secs((10_i64 << doublings).min(600));
        let left = delay - now.duration_since(*last);
        Duration::try_from(left).ok().filter(|left| !left.is_zero())
    }

    /// Indexes that nothing works on and that have not succeeded.
    pub(super) fn open_indexes(&self, completions: i32) -> impl Iterator<Item = i32> {
        let busy: BTreeSet<i32> = self.active.iter().filter_map(index_of).collect();
        (0..completions).filter(move |i| !self.done.contains(i) && !busy.contains(i))
    }
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(super) fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn pods(phases: &str) -> Vec<Pod> {
        let pod = |(index, phase): (usize, char)| {
            let phase = match phase {
                '+' => "Succeeded",
                '-' => "Failed",
                _ => "Running",
            };
            serde_json::from_value(json!({
                "metadata": {"name": "p", "annotations": {INDEX: index.to_string()}},
                "status": {"phase": phase, "containerStatuses": [{
                    "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}},
                }]},
            }))
            .unwrap()
        };
        phases.chars().enumerate().map(pod).collect()
    }

    fn spec(mut fields: Value) -> JobSpec {
        fields["template"] = json!({});
        serde_json::from_value(fields).unwrap()
    }

    #[rstest]
    #[case(json!({"completions": 2}), "+.", None)]
    #[case(json!({"completions": 2}), "++", Some(Verdict::Complete))]
    #[case(json!({}), "+.", None)]
    #[case(json!({}), "+-", Some(Verdict::Complete))]
    #[case(json!({"completions": 1, "backoffLimit": 1}), "-", None)]
    #[case(json!({"completions": 1, "backoffLimit": 1}), "--", Some(Verdict::BackoffLimit))]
    #[case(json!({"completions": 1, "activeDeadlineSeconds": 60}), ".", Some(Verdict::Deadline))]
    fn verdicts(#[case] fields: Value, #[case] phases: &str, #[case] expected: Option<Verdict>) {
        let spec = spec(fields);
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            Tally::new(&spec, &pods(phases)).verdict(&spec, Some(start), now),
            expected
        );
    }

    #[rstest]
    #[case("-", 10)]
    #[case("--", 20)]
    #[case("---", 40)]
    fn failures_slow_down(#[case] phases: &str, #[case] seconds: u64) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let tally = Tally::new(&spec(json!({})), &pods(phases));
        assert_eq!(tally.pause(now), Some(Duration::from_secs(seconds)));
    }

    #[test]
    fn indexes() {
        let spec = spec(json!({"completions": 5, "completionMode": "Indexed"}));
        let tally = Tally::new(&spec, &pods("+.-+"));
        assert_eq!(tally.done, [0, 3].into());
        assert_eq!(tally.open_indexes(5).collect::<Vec<_>>(), [2, 4]);
    }
}
