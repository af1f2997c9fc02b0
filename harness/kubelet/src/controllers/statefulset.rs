//! StatefulSets: pods with a number each, made in order and replaced from the last.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, Volume,
};
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use super::common::{
    Context, Failure, availability_action, count, drive, has_failed, has_succeeded, is_available,
    is_deleted, is_ready, owned, write_status,
};
use super::template;
use crate::events::{Recorder, Severity};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
const REVISION: &str = "controller-revision-hash";

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(
        Api::<StatefulSet>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Pod>::all(client.clone()), watcher::Config::default());
    drive(
        controller,
        Context::new(client, recorder, "statefulset-controller"),
        reconcile,
    )
    .await;
}

async fn reconcile(set: Arc<StatefulSet>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = set.spec.clone() else {
        return Ok(Action::await_change());
    };
    let pods: Vec<Pod> = owned(&context.client, &*set, &spec.selector).await?;
    let revision = format!("{}-{}", set.name_any(), template::hash(&spec.template));
    let now = Timestamp::now();
    let plan = Plan::new(&set, &spec, &pods, &revision, now);
    let mut result = Ok(());
    if !is_deleted(&*set) {
        for ordinal in &plan.create {
            result = create(&context, &set, &spec, *ordinal, &revision).await;
            if result.is_err() {
                break;
            }
        }
        for pod in &plan.delete {
            template_delete(&context, &set, pod).await?;
        }
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let updated = count(
        pods.iter()
            .filter(|p| p.labels().get(REVISION) == Some(&revision)),
    );
    let replicas = count(&pods);
    let before = set.status.clone().unwrap_or_default();
    let finished = updated == replicas || before.current_revision.is_none();
    let current = if finished {
        revision.clone()
    } else {
        before.current_revision.clone().unwrap_or_default()
    };
    let status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas,
        ready_replicas: Some(count(pods.iter().filter(|p| is_ready(p)))),
        available_replicas: Some(count(
            pods.iter().filter(|p| is_available(p, min_ready, now)),
        )),
        current_replicas: Some(if finished {
            updated
        } else {
            replicas - updated
        }),
        updated_replicas: Some(updated),
        current_revision: Some(current),
        update_revision: Some(revision),
        collision_count: Some(0),
        conditions: before.conditions,
    };
    write_status(&context.client, &*set, set.status.as_ref(), &status).await?;
    result?;
    Ok(availability_action(&pods, min_ready, now))
}

/// What is to be done now.
#[derive(Debug, PartialEq)]
struct Plan {
    create: Vec<i32>,
    delete: Vec<Pod>,
}

impl Plan {
    fn new(
        set: &StatefulSet,
        spec: &StatefulSetSpec,
        pods: &[Pod],
        revision: &str,
        now: Timestamp,
    ) -> Self {
        let mut plan = Self {
            create: Vec::new(),
            delete: Vec::new(),
        };
        let parallel = spec.pod_management_policy.as_deref() == Some("Parallel");
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let first = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        let end = first + spec.replicas.unwrap_or(1);
        let by_ordinal: BTreeMap<i32, &Pod> = pods
            .iter()
            .filter_map(|p| Some((ordinal(set, p)?, p)))
            .collect();
        let settled = |pod: &Pod| !is_deleted(pod) && is_available(pod, min_ready, now);
        for number in first..end {
            match by_ordinal.get(&number) {
                None => plan.create.push(number),
                Some(pod) if (has_failed(pod) || has_succeeded(pod)) && !is_deleted(*pod) => {
                    plan.delete.push((*pod).clone());
                }
                Some(pod) if parallel || settled(pod) => continue,
                Some(_) => {}
            }
            if !parallel {
                return plan;
            }
        }
        let surplus = by_ordinal
            .iter()
            .rev()
            .filter(|(n, _)| !(first..end).contains(*n));
        for (_, pod) in surplus {
            if !is_deleted(*pod) {
                plan.delete.push((*pod).clone());
            }
            if !parallel {
                return plan;
            }
        }
        plan.update(spec, &by_ordinal, first..end, revision, settled);
        plan
    }

    /// Replaces one pod of an older template, the last first, when all others are well.
    fn update(
        &mut self,
        spec: &StatefulSetSpec,
        by_ordinal: &BTreeMap<i32, &Pod>,
        range: std::ops::Range<i32>,
        revision: &str,
        settled: impl Fn(&Pod) -> bool,
    ) {
        let strategy = spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let partition = strategy
            .rolling_update
            .and_then(|r| r.partition)
            .unwrap_or(0);
        for (number, pod) in by_ordinal.iter().rev().filter(|(n, _)| range.contains(*n)) {
            if *number < partition {
                return;
            }
            let current = pod.labels().get(REVISION).map(String::as_str) == Some(revision);
            if !current && !is_deleted(*pod) {
                self.delete.push((*pod).clone());
                return;
            }
            if !settled(pod) {
                return;
            }
        }
    }
}

fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let name = pod.name_any();
    let (prefix, number) = name.rsplit_once('-')?;
    (prefix == set.name_any())
        .then(|| number.parse().ok())
        .flatten()
}

async fn create(
    context: &Context,
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    ordinal: i32,
    revision: &str,
) -> Result<(), Failure> {
    let namespace = set.namespace().unwrap_or_default();
    let name = format!("{}-{ordinal}", set.name_any());
    let mut pod = template::pod(set, &spec.template);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    pod.labels_mut().extend(
        [
            (POD_NAME, name.clone()),
            (POD_INDEX, ordinal.to_string()),
            (REVISION, revision.to_owned()),
        ]
        .map(|(k, v)| (k.to_owned(), v)),
    );
    let mut volumes = Vec::new();
    for template in spec.volume_claim_templates.iter().flatten() {
        let volume = template.name_any();
        let claim = format!("{volume}-{name}");
        ensure_claim(context, set, template, &claim, &namespace).await?;
        volumes.push(Volume {
            name: volume,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim,
                read_only: None,
            }),
            ..Volume::default()
        });
    }
    if let Some(pod_spec) = &mut pod.spec {
        pod_spec.hostname = Some(name.clone());
        pod_spec.subdomain.clone_from(&spec.service_name);
        let own = pod_spec.volumes.take().unwrap_or_default();
        let others = own
            .into_iter()
            .filter(|v| !volumes.iter().any(|w| w.name == v.name))
            .collect::<Vec<_>>();
        volumes.extend(others);
        pod_spec.volumes = Some(volumes).filter(|v| !v.is_empty());
    }
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    match api.create(&PostParams::default(), &pod).await {
        Ok(_) => {
            context.event(
                set,
                Severity::Normal,
                "SuccessfulCreate",
                format!(
                    "create Pod {name} in StatefulSet {} successful",
                    set.name_any()
                ),
            );
            Ok(())
        }
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(()),
        Err(error) => {
            context.event(
                set,
                Severity::Warning,
                "FailedCreate",
                format!(
                    "create Pod {name} in StatefulSet {} failed error: {error}",
                    set.name_any()
                ),
            );
            Err(error.into())
        }
    }
}

async fn ensure_claim(
    context: &Context,
    set: &StatefulSet,
    template: &PersistentVolumeClaim,
    name: &str,
    namespace: &str,
) -> Result<(), Failure> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), namespace);
    if api.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let mut claim = template.clone();
    claim.status = None;
    claim.metadata.name = Some(name.to_owned());
    claim.metadata.namespace = Some(namespace.to_owned());
    let labels = set
        .spec
        .as_ref()
        .and_then(|s| s.selector.match_labels.clone())
        .unwrap_or_default();
    claim.labels_mut().extend(labels);
    match api.create(&PostParams::default(), &claim).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn template_delete(context: &Context, set: &StatefulSet, pod: &Pod) -> Result<(), Failure> {
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), &set.namespace().unwrap_or_default());
    let name = pod.name_any();
    match api.delete(&name, &kube::api::DeleteParams::default()).await {
        Ok(_) => {
            context.event(
                set,
                Severity::Normal,
                "SuccessfulDelete",
                format!(
                    "delete Pod {name} in StatefulSet {} successful",
                    set.name_any()
                ),
            );
            Ok(())
        }
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value)] // literals read best by value

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    /// Pods by ordinal: `R`eady, not ready `r`, `o`ld template and ready, `.` missing.
    fn plan(spec: Value, pods: &str) -> (Vec<i32>, Vec<String>) {
        let set: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": spec})).unwrap();
        let pods: Vec<Pod> = pods
            .chars()
            .enumerate()
            .filter(|(_, c)| *c != '.')
            .map(|(i, c)| {
                let ready = if c == 'r' { "False" } else { "True" };
                let revision = if c == 'o' { "old" } else { "new" };
                serde_json::from_value(json!({
                    "metadata": {"name": format!("db-{i}"), "labels": {REVISION: revision}},
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
                }))
                .unwrap()
            })
            .collect();
        let spec = set.spec.clone().unwrap();
        let plan = Plan::new(&set, &spec, &pods, "new", Timestamp::UNIX_EPOCH);
        (
            plan.create,
            plan.delete.iter().map(ResourceExt::name_any).collect(),
        )
    }

    #[rstest]
    #[case(json!({}), "", &[0], &[])]
    #[case(json!({}), "r", &[], &[])]
    #[case(json!({}), "R", &[1], &[])]
    #[case(json!({"podManagementPolicy": "Parallel"}), "r", &[1, 2], &[])]
    #[case(json!({}), "RRRRR", &[], &["db-4"])]
    #[case(json!({}), "ooo", &[], &["db-2"])]
    #[case(json!({}), "ooR", &[], &["db-1"])]
    #[case(json!({}), "oor", &[], &[])]
    #[case(json!({"updateStrategy": {"rollingUpdate": {"partition": 2}}}), "ooR", &[], &[])]
    #[case(json!({"updateStrategy": {"type": "OnDelete"}}), "ooo", &[], &[])]
    #[case(json!({}), "R.R", &[1], &[])]
    fn plans(
        #[case] mut fields: Value,
        #[case] pods: &str,
        #[case] create: &[i32],
        #[case] delete: &[&str],
    ) {
        fields["replicas"] = json!(3);
        fields["selector"] = json!({});
        fields["template"] = json!({});
        fields["serviceName"] = json!("db");
        let (created, deleted) = plan(fields, pods);
        assert_eq!(created, create);
        assert_eq!(deleted, delete);
    }
}
