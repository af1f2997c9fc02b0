//! A Deployment's ReplicaSets.

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, ReplicaSetSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::rolling::Bounds;
use crate::controllers::common::{Context, Failure, is_deleted, owner_reference};
use crate::controllers::template;
use crate::events::Severity;

const HASH: &str = "pod-template-hash";
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";

/// The one with today's template, and the others.
#[derive(Debug)]
pub(super) struct Sets {
    pub new: Option<ReplicaSet>,
    pub old: Vec<ReplicaSet>,
    /// Made by this reconciliation.
    pub created: bool,
}

impl Sets {
    pub(super) fn new(spec: &DeploymentSpec, found: Vec<ReplicaSet>) -> Self {
        let (mut same, mut old): (Vec<_>, Vec<_>) = found.into_iter().partition(|set| {
            let template = set.spec.as_ref().and_then(|s| s.template.as_ref());
            template.is_some_and(|t| {
                template::without_label(t, HASH) == template::without_label(&spec.template, HASH)
            })
        });
        // the oldest of equals
        let new = (!same.is_empty()).then(|| same.remove(0));
        old.extend(same);
        Self {
            new,
            old,
            created: false,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReplicaSet> {
        self.old.iter().chain(&self.new)
    }

    /// Makes the new set if there is none, and numbers it after the others.
    pub(super) async fn ensure_new(
        &mut self,
        context: &Context,
        deployment: &Deployment,
        spec: &DeploymentSpec,
        bounds: &Bounds,
        recreate: bool,
    ) -> Result<(), Failure> {
        let latest = self.old.iter().map(revision).max().unwrap_or(0);
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(context.client.clone(), &namespace);
        let number = if let Some(set) = &self.new {
            let number = revision(set).max(latest + 1);
            if number != revision(set) {
                let patch = json!({"metadata": {"annotations": {REVISION: number.to_string()}}});
                let set = api
                    .patch(
                        &set.name_any(),
                        &PatchParams::default(),
                        &Patch::Merge(patch),
                    )
                    .await?;
                self.new = Some(set);
            }
            number
        } else {
            let number = latest + 1;
            let size = self.first_size(bounds, recreate);
            let set = replica_set(deployment, spec, bounds, number, size);
            let name = set.name_any();
            self.new = Some(match api.create(&PostParams::default(), &set).await {
                Ok(set) => {
                    self.created = true;
                    if size > 0 {
                        announce(context, deployment, "up", &name, 0, size);
                    }
                    set
                }
                // made a moment ago, before our list showed it
                Err(kube::Error::Api(error)) if error.code == 409 => api.get(&name).await?,
                Err(error) => return Err(error.into()),
            });
            number
        };
        if deployment.annotations().get(REVISION) != Some(&number.to_string()) {
            let api: Api<Deployment> = Api::namespaced(context.client.clone(), &namespace);
            let patch = json!({"metadata": {"annotations": {REVISION: number.to_string()}}});
            api.patch(
                &deployment.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        }
        Ok(())
    }

    fn first_size(&self, bounds: &Bounds, recreate: bool) -> i32 {
        let old: i32 = self.old.iter().map(wanted).sum();
        if recreate {
            bounds.replicas
        } else {
            (bounds.replicas + bounds.surge - old).clamp(0, bounds.replicas)
        }
    }

    /// Sets wanted sizes, by name.
    pub(super) async fn scale(
        &mut self,
        context: &Context,
        deployment: &Deployment,
        bounds: &Bounds,
        sizes: &[(String, i32)],
    ) -> Result<(), Failure> {
        let api: Api<ReplicaSet> = Api::namespaced(
            context.client.clone(),
            &deployment.namespace().unwrap_or_default(),
        );
        for set in self.old.iter_mut().chain(&mut self.new) {
            let name = set.name_any();
            let Some((_, size)) = sizes.iter().find(|(n, _)| *n == name) else {
                continue;
            };
            let before = wanted(set);
            let annotations = scale_annotations(bounds);
            let annotated = annotations
                .iter()
                .all(|(k, v)| set.annotations().get(*k) == Some(v));
            if before == *size && (annotated || *size == 0) {
                continue;
            }
            let annotations: std::collections::BTreeMap<_, _> = annotations.into_iter().collect();
            let patch =
                json!({"metadata": {"annotations": annotations}, "spec": {"replicas": size}});
            *set = api
                .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
            if before != *size {
                let direction = if *size > before { "up" } else { "down" };
                announce(context, deployment, direction, &name, before, *size);
            }
        }
        Ok(())
    }

    /// Deletes old sets beyond the history limit, once the rollout is complete.
    pub(super) async fn prune(
        &self,
        context: &Context,
        deployment: &Deployment,
        spec: &DeploymentSpec,
        status: &DeploymentStatus,
    ) -> Result<(), Failure> {
        let replicas = spec.replicas.unwrap_or(1);
        if status.updated_replicas.unwrap_or(0) != replicas
            || status.replicas.unwrap_or(0) != replicas
        {
            return Ok(());
        }
        let keep = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let mut idle: Vec<_> = self
            .old
            .iter()
            .filter(|s| {
                wanted(s) == 0
                    && s.status.as_ref().is_none_or(|s| s.replicas == 0)
                    && !is_deleted(*s)
            })
            .collect();
        idle.sort_by_key(|s| std::cmp::Reverse(revision(s)));
        let api: Api<ReplicaSet> = Api::namespaced(
            context.client.clone(),
            &deployment.namespace().unwrap_or_default(),
        );
        for set in idle.into_iter().skip(keep) {
            match api.delete(&set.name_any(), &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(error)) if error.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn announce(
    context: &Context,
    deployment: &Deployment,
    direction: &str,
    set: &str,
    before: i32,
    size: i32,
) {
    context.event(
        deployment,
        Severity::Normal,
        "ScalingReplicaSet",
        format!("Scaled {direction} replica set {set} from {before} to {size}"),
    );
}

fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|r| r.parse().ok())
        .unwrap_or(0)
}

fn scale_annotations(bounds: &Bounds) -> [(&'static str, String); 2] {
    [
        (DESIRED, bounds.replicas.to_string()),
        (MAXIMUM, (bounds.replicas + bounds.surge).to_string()),
    ]
}

fn replica_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    bounds: &Bounds,
    number: i64,
    size: i32,
) -> ReplicaSet {
    let hash = template::hash(&spec.template);
    let (template, selector) = template::with_label(&spec.template, &spec.selector, HASH, &hash);
    let mut annotations: std::collections::BTreeMap<String, String> = deployment
        .annotations()
        .iter()
        .filter(|(k, _)| !k.starts_with("kubectl.kubernetes.io/last-applied") && *k != REVISION)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    annotations.insert(REVISION.to_owned(), number.to_string());
    annotations.extend(scale_annotations(bounds).map(|(k, v)| (k.to_owned(), v)));
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: template.metadata.as_ref().and_then(|m| m.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![owner_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            selector,
            template: Some(template),
            min_ready_seconds: spec.min_ready_seconds,
        }),
        status: None,
    }
}
