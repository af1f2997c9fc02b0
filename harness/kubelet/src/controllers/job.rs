//! Jobs: pods that are to succeed so many times.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::api::{Api, DeleteParams, PropagationPolicy};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use super::common::{
    Context, Failure, count, drive, has_failed, has_succeeded, is_active, is_deleted, is_ready, owned, value,
    write_status,
};
use super::template;
use crate::events::{Recorder, Severity};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(Api::<Job>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Pod>::all(client.clone()), watcher::Config::default());
    drive(controller, Context::new(client, recorder, "job-controller"), reconcile).await;
}

async fn reconcile(job: Arc<Job>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = job.spec.clone() else {
        return Ok(Action::await_change());
    };
    if is_deleted(&*job) {
        return Ok(Action::await_change());
    }
    let status = job.status.clone().unwrap_or_default();
    if let Some(finished) = finished_at(&status) {
        return expire(&job, &spec, &context, finished).await;
    }
    let selector = LabelSelector {
        match_labels: Some([(UID_LABEL.to_owned(), job.uid().unwrap_or_default())].into()),
        match_expressions: None,
    };
    let pods: Vec<Pod> = owned(&context.client, &*job, &selector).await?;
    let now = Timestamp::now();
    let tally = Tally::new(&spec, &pods);
    let suspended = spec.suspend == Some(true);
    let started = status.start_time.clone().filter(|_| !suspended);
    let started = started.or_else(|| (!suspended).then_some(Time(now)));
    let verdict = tally.verdict(&spec, started.as_ref().map(|t| t.0), now);

    let mut action = Action::await_change();
    let mut result = Ok(());
    match (&verdict, suspended) {
        (Some(_), _) | (None, true) => {
            let surplus = tally.active.iter().map(|p| template::delete(&context, &*job, p));
            result = join_all(surplus).await.into_iter().collect();
        }
        (None, false) => match tally.pause(now) {
            Some(pause) => action = Action::requeue(pause),
            None => result = create(&job, &spec, &context, &tally).await,
        },
    }
    if let Some(limit) = spec.active_deadline_seconds.filter(|_| verdict.is_none()) {
        let begun = started.as_ref().map_or(now, |t| t.0);
        let left = SignedDuration::from_secs(limit) - now.duration_since(begun);
        action = Action::requeue(Duration::try_from(left).unwrap_or_default());
    }
    let new = next_status(&status, &spec, &tally, verdict.as_ref(), started, now);
    write_status(&context.client, &*job, value(job.status.as_ref()), value(Some(&new))).await?;
    if let Some(verdict) = &verdict {
        verdict.announce(&context, &job);
    }
    result?;
    Ok(action)
}

/// The pods by what became of them.
struct Tally {
    active: Vec<Pod>,
    ending: i32,
    succeeded: Vec<Pod>,
    failed: Vec<Pod>,
    done: BTreeSet<i32>,
}

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Complete,
    BackoffLimit,
    Deadline,
}

impl Verdict {
    fn parts(self) -> (&'static str, &'static str, &'static str, &'static str) {
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

    fn announce(self, context: &Context, job: &Job) {
        let (_, _, reason, message) = self.parts();
        match self {
            Self::Complete => context.event(job, Severity::Normal, "Completed", "Job completed"),
            _ => context.event(job, Severity::Warning, reason, message),
        }
    }
}

impl Tally {
    fn new(spec: &JobSpec, pods: &[Pod]) -> Self {
        let pick = |keep: fn(&Pod) -> bool| pods.iter().filter(|p| keep(p)).cloned().collect::<Vec<_>>();
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

    fn successes(&self, spec: &JobSpec) -> i32 {
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

    fn verdict(&self, spec: &JobSpec, started: Option<Timestamp>, now: Timestamp) -> Option<Verdict> {
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
    fn pause(&self, now: Timestamp) -> Option<Duration> {
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
    fn open_indexes(&self, completions: i32) -> impl Iterator<Item = i32> {
        let busy: BTreeSet<i32> = self.active.iter().filter_map(index_of).collect();
        (0..completions).filter(move |i| !self.done.contains(i) && !busy.contains(i))
    }
}

fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

async fn create(job: &Job, spec: &JobSpec, context: &Context, tally: &Tally) -> Result<(), Failure> {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.successes(spec)),
        None if tally.succeeded.is_empty() => parallelism,
        None => count(&tally.active),
    };
    let active = count(&tally.active);
    if active > wanted {
        let surplus = usize::try_from(active - wanted).unwrap_or(0);
        let gone = tally.active.iter().rev().take(surplus).map(|p| template::delete(context, job, p));
        return join_all(gone).await.into_iter().collect();
    }
    let missing = usize::try_from(wanted - active).unwrap_or(0);
    let indexes: Vec<Option<i32>> = if is_indexed(spec) {
        tally.open_indexes(spec.completions.unwrap_or(1)).map(Some).take(missing).collect()
    } else {
        vec![None; missing]
    };
    let pods: Vec<Pod> = indexes.into_iter().map(|index| pod(job, spec, index)).collect();
    let made = pods.iter().map(|pod| template::create(context, job, pod));
    join_all(made).await.into_iter().map(|r| r.map(|_| ())).collect()
}

fn pod(job: &Job, spec: &JobSpec, index: Option<i32>) -> Pod {
    let mut pod = template::pod(job, &spec.template);
    let uid = job.uid().unwrap_or_default();
    let name = job.name_any();
    pod.labels_mut().extend(
        [
            (UID_LABEL, uid.clone()),
            (NAME_LABEL, name.clone()),
            ("controller-uid", uid),
            ("job-name", name.clone()),
        ]
        .map(|(k, v)| (k.to_owned(), v)),
    );
    if let Some(index) = index {
        let text = index.to_string();
        pod.annotations_mut().insert(INDEX.to_owned(), text.clone());
        pod.labels_mut().insert(INDEX.to_owned(), text.clone());
        pod.metadata.generate_name = Some(format!("{name}-{index}-"));
        if let Some(spec) = &mut pod.spec {
            spec.hostname = Some(format!("{name}-{index}"));
            let inits = spec.init_containers.iter_mut().flatten();
            for container in spec.containers.iter_mut().chain(inits) {
                container.env.get_or_insert_default().push(EnvVar {
                    name: "JOB_COMPLETION_INDEX".to_owned(),
                    value: Some(text.clone()),
                    value_from: None,
                });
            }
        }
    }
    pod
}

fn next_status(
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
    let was_suspended = conditions.iter().any(|c| c.type_ == "Suspended" && c.status == "True");
    if suspended != was_suspended {
        conditions.retain(|c| c.type_ != "Suspended");
        let mut changed = if suspended {
            condition("Suspended", "JobSuspended", "Job suspended")
        } else {
            condition("Suspended", "JobResumed", "Job resumed")
        };
        changed.status = if suspended { "True" } else { "False" }.to_owned();
        conditions.push(changed);
    }
    JobStatus {
        active: positive(if over { 0 } else { count(&tally.active) }),
        ready: Some(if over { 0 } else { count(tally.active.iter().filter(|p| is_ready(p))) }),
        terminating: Some(tally.ending),
        succeeded: positive(tally.successes(spec)),
        failed: positive(count(&tally.failed)),
        completed_indexes: is_indexed(spec).then(|| ranges(&tally.done)).filter(|r| !r.is_empty()),
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
        .map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") })
        .collect();
    texts.join(",")
}

fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
        .map(|c| c.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

/// `ttlSecondsAfterFinished`.
async fn expire(job: &Job, spec: &JobSpec, context: &Context, finished: Timestamp) -> Result<Action, Failure> {
    let Some(ttl) = spec.ttl_seconds_after_finished else {
        return Ok(Action::await_change());
    };
    let left = SignedDuration::from_secs(ttl.into()) - Timestamp::now().duration_since(finished);
    if let Ok(left) = Duration::try_from(left) {
        if !left.is_zero() {
            return Ok(Action::requeue(left));
        }
    }
    let api: Api<Job> = Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default());
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    match api.delete(&job.name_any(), &params).await {
        Ok(_) => Ok(Action::await_change()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(Action::await_change()),
        Err(error) => Err(error.into()),
    }
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
        assert_eq!(Tally::new(&spec, &pods(phases)).verdict(&spec, Some(start), now), expected);
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
        assert_eq!(ranges(&tally.done), "0,3");
        assert_eq!(tally.open_indexes(5).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(ranges(&[1, 2, 3, 7].into()), "1-3,7");
    }
}
