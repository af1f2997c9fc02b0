//! Deployments: ReplicaSets that replace one another.

mod conditions;
mod rolling;
mod sets;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use self::rolling::{Bounds, Scale, Size};
pub(super) use self::rolling::{Round, portion};
use self::sets::Sets;
use super::common::{Context, Failure, drive, is_deleted, owned, write_status};
use crate::events::Recorder;

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(
        Api::<Deployment>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(
        Api::<ReplicaSet>::all(client.clone()),
        watcher::Config::default(),
    )
    .watches(
        Api::<Pod>::all(client.clone()),
        watcher::Config::default(),
        |pod: Pod| ending_for(&pod),
    );
    drive(
        controller,
        Context::new(client, recorder, "deployment-controller"),
        reconcile,
    )
    .await;
}

/// The Deployment of a pod that ends: with `Recreate` it may wait for that. Its ReplicaSet is called like it and the hash.
fn ending_for(pod: &Pod) -> Option<ObjectRef<Deployment>> {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    let ends = is_deleted(pod) || matches!(phase, Some("Succeeded" | "Failed"));
    let hash = pod.labels().get("pod-template-hash").filter(|_| ends)?;
    let set = pod
        .owner_references()
        .iter()
        .find(|o| o.kind == "ReplicaSet")?;
    let name = set.name.strip_suffix(hash)?.strip_suffix('-')?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

async fn reconcile(deployment: Arc<Deployment>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = deployment.spec.clone() else {
        return Ok(Action::await_change());
    };
    if is_deleted(&*deployment) {
        return Ok(Action::await_change());
    }
    let found: Vec<ReplicaSet> = owned(&context.client, &*deployment, &spec.selector).await?;
    let mut sets = Sets::new(&spec, found);
    if spec.paused != Some(true) {
        roll(&deployment, &spec, &context, &mut sets).await?;
    }
    let status = status(&deployment, &spec, &sets, Timestamp::now());
    let before = deployment.status.as_ref();
    write_status(&context.client, &*deployment, before, &status).await?;
    sets.prune(&context, &deployment, &spec, &status).await?;
    Ok(conditions::deadline_action(
        &spec,
        &status,
        Timestamp::now(),
    ))
}

/// One step from old ReplicaSets to the new one.
async fn roll(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    context: &Context,
    sets: &mut Sets,
) -> Result<(), Failure> {
    let recreate = spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate");
    let bounds = Bounds::of(spec);
    if recreate {
        let old_scales = sets
            .old
            .iter()
            .map(|s| (s.name_any(), 0))
            .collect::<Vec<_>>();
        sets.scale(context, deployment, &bounds, &old_scales)
            .await?;
        if old_pods_remain(context, sets).await? {
            return Ok(());
        }
    }
    sets.ensure_new(context, deployment, spec, &bounds, recreate)
        .await?;
    if recreate {
        if let Some(new) = &sets.new {
            let wanted = vec![(new.name_any(), bounds.replicas)];
            sets.scale(context, deployment, &bounds, &wanted).await?;
        }
        return Ok(());
    }
    let size = |set: &ReplicaSet| Size {
        wanted: set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1),
        available: set
            .status
            .as_ref()
            .and_then(|s| s.available_replicas)
            .unwrap_or(0),
    };
    let Some(new) = &sets.new else { return Ok(()) };
    let old: Vec<Size> = sets.old.iter().map(size).collect();
    let Scale {
        new: new_size,
        old: old_sizes,
    } = rolling::step(&bounds, size(new), &old);
    let mut wanted = vec![(new.name_any(), new_size)];
    wanted.extend(sets.old.iter().map(ResourceExt::name_any).zip(old_sizes));
    sets.scale(context, deployment, &bounds, &wanted).await
}

/// `Recreate` waits until nothing of the old pods is left.
async fn old_pods_remain(context: &Context, sets: &Sets) -> Result<bool, Failure> {
    for set in &sets.old {
        let Some(selector) = set.spec.as_ref().map(|s| &s.selector) else {
            continue;
        };
        let pods: Vec<Pod> = owned(&context.client, set, selector).await?;
        if pods.iter().any(|p| {
            let phase = p.status.as_ref().and_then(|s| s.phase.as_deref());
            !matches!(phase, Some("Succeeded" | "Failed"))
        }) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn status(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    sets: &Sets,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |pick: fn(&ReplicaSet) -> i32| sets.all().map(pick).sum::<i32>();
    let replicas = sum(|s| s.status.as_ref().map_or(0, |s| s.replicas));
    let ready = sum(|s| {
        s.status
            .as_ref()
            .and_then(|s| s.ready_replicas)
            .unwrap_or(0)
    });
    let available = sum(|s| {
        s.status
            .as_ref()
            .and_then(|s| s.available_replicas)
            .unwrap_or(0)
    });
    let wanted = sum(|s| s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1));
    let updated = sets
        .new
        .as_ref()
        .and_then(|s| s.status.as_ref())
        .map_or(0, |s| s.replicas);
    let positive = |n: i32| (n > 0).then_some(n);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: positive(replicas),
        updated_replicas: positive(updated),
        ready_replicas: positive(ready),
        available_replicas: positive(available),
        unavailable_replicas: positive(wanted - available),
        ..DeploymentStatus::default()
    };
    status.conditions = Some(conditions::conditions(deployment, spec, sets, &status, now));
    status
}
