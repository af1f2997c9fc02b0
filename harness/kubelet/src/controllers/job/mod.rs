//! Jobs: pods that are to succeed so many times.

mod pods;
mod status;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::api::{Api, DeleteParams, PropagationPolicy};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use self::pods::create;
use self::status::{finished_at, next_status};
use self::tally::Tally;
use super::common::{Context, Failure, drive, is_deleted, owned, write_status};
use super::template;
use crate::events::Recorder;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(Api::<Job>::all(client.clone()), watcher::Config::default())
        .owns(Api::<Pod>::all(client.clone()), watcher::Config::default());
    drive(
        controller,
        Context::new(client, recorder, "job-controller"),
        reconcile,
    )
    .await;
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
            let surplus = tally
                .active
                .iter()
                .map(|p| template::delete(&context, &*job, p));
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
    write_status(&context.client, &*job, job.status.as_ref(), &new).await?;
    if let Some(verdict) = &verdict {
        verdict.announce(&context, &job);
    }
    result?;
    Ok(action)
}

/// `ttlSecondsAfterFinished`.
async fn expire(
    job: &Job,
    spec: &JobSpec,
    context: &Context,
    finished: Timestamp,
) -> Result<Action, Failure> {
    let Some(ttl) = spec.ttl_seconds_after_finished else {
        return Ok(Action::await_change());
    };
    let left = SignedDuration::from_secs(ttl.into()) - Timestamp::now().duration_since(finished);
    if let Ok(left) = Duration::try_from(left)
        && !left.is_zero()
    {
        return Ok(Action::requeue(left));
    }
    let api: Api<Job> =
        Api::namespaced(context.client.clone(), &job.namespace().unwrap_or_default());
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
