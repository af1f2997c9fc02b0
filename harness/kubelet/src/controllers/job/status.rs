//! A job's status.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::tally::{Tally, Verdict, is_indexed};
use crate::controllers::common::{count, is_ready};

pub(super) fn next_status(
    before: &JobStatus,
    spec: &JobSpec,
    tally: &Tally,
    verdict: Option<&Verdict>,
    started: Option<Time>,
    now: Timestamp,
) -> JobStatus {
    let positive = |n: i32| (n > 0).then_some(n);
    let over = verdict.is_some();
    let mut conditions = before.conditions.clone().unwrap_or_default();
    let condition = |type_: &str, reason: &str, message: &str| JobCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    if let Some(verdict) = verdict {
        let (early, last, reason, message) = verdict.parts();
        conditions.push(condition(early, reason, message));
        conditions.push(condition(last, reason, message));
    }
    let suspended = spec.suspend == Some(true);
    let was_suspended = conditions
        .iter()
        .any(|c| c.type_ == "Suspended" && c.status == "True");
    if suspended != was_suspended {
        conditions.retain(|c| c.type_ != "Suspended");
        let mut changed = if suspended {
            condition("Suspended", "JobSuspended", "Job suspended")
        } else {
            condition("Suspended", "JobResumed", "Job resumed")
        };
        if suspended { "True" } else { "False" }.clone_into(&mut changed.status);
        conditions.push(changed);
    }
    JobStatus {
        active: positive(if over { 0 } else { count(&tally.active) }),
        ready: Some(if over {
            0
        } else {
            count(tally.active.iter().filter(|p| is_ready(p)))
        }),
        terminating: Some(tally.ending),
        succeeded: positive(tally.successes(spec)),
        failed: positive(count(&tally.failed)),
        completed_indexes: is_indexed(spec)
            .then(|| ranges(&tally.done))
            .filter(|r| !r.is_empty()),
        start_time: started,
        completion_time: (verdict == Some(&Verdict::Complete)).then_some(Time(now)),
        conditions: (!conditions.is_empty()).then_some(conditions),
        ..before.clone()
    }
}

/// `0-2,5`.
fn ranges(indexes: &BTreeSet<i32>) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let texts: Vec<_> = ranges
        .into_iter()
        .map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}-{b}")
            }
        })
        .collect();
    texts.join(",")
}

/// Since when the job has been over.
pub(super) fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
        .map(|c| {
            c.last_transition_time
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |t| t.0)
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges() {
        assert_eq!(super::ranges(&[1, 2, 3, 7].into()), "1-3,7");
        assert_eq!(super::ranges(&[].into()), "");
    }
}
