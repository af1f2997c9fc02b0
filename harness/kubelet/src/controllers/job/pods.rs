//! Making a job's pods.

use futures::future::join_all;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use kube::ResourceExt;

use super::tally::{Tally, is_indexed};
use super::{INDEX, NAME_LABEL, UID_LABEL};
use crate::controllers::common::{Context, Failure, count};
use crate::controllers::template;

/// Creates what is missing, or deletes what is too much.
pub(super) async fn create(
    job: &Job,
    spec: &JobSpec,
    context: &Context,
    tally: &Tally,
) -> Result<(), Failure> {
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        Some(completions) => parallelism.min(completions - tally.successes(spec)),
        None if tally.succeeded.is_empty() => parallelism,
        None => count(&tally.active),
    };
    let active = count(&tally.active);
    if active > wanted {
        let surplus = usize::try_from(active - wanted).unwrap_or(0);
        let gone = tally
            .active
            .iter()
            .rev()
            .take(surplus)
            .map(|p| template::delete(context, job, p));
        return join_all(gone).await.into_iter().collect();
    }
    let missing = usize::try_from(wanted - active).unwrap_or(0);
    let indexes: Vec<Option<i32>> = if is_indexed(spec) {
        tally
            .open_indexes(spec.completions.unwrap_or(1))
            .map(Some)
            .take(missing)
            .collect()
    } else {
        vec![None; missing]
    };
    let pods: Vec<Pod> = indexes
        .into_iter()
        .map(|index| pod(job, spec, index))
        .collect();
    let made = pods.iter().map(|pod| template::create(context, job, pod));
    join_all(made)
        .await
        .into_iter()
        .try_for_each(|r| r.map(|_| ()))
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
