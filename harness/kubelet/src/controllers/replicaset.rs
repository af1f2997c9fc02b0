//! ReplicaSets: so many pods, no more and no less.

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use super::common::{
    Context, Failure, availability_action, count, drive, is_active, is_available, is_deleted,
    is_ready, owned, write_status,
};
use super::template;
use crate::events::Recorder;

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(
        Api::<ReplicaSet>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Pod>::all(client.clone()), watcher::Config::default());
    drive(
        controller,
        Context::new(client, recorder, "replicaset-controller"),
        reconcile,
    )
    .await;
}

async fn reconcile(set: Arc<ReplicaSet>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = set.spec.clone() else {
        return Ok(Action::await_change());
    };
    let pods: Vec<Pod> = owned(&context.client, &*set, &spec.selector).await?;
    let active: Vec<Pod> = pods.iter().filter(|p| is_active(p)).cloned().collect();
    let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let mut result = Ok(());
    if !is_deleted(&*set) {
        let template = spec.template.clone().unwrap_or_default();
        if active.len() < wanted {
            let pod = template::pod(&*set, &template);
            let missing = (active.len()..wanted).map(|_| template::create(&context, &*set, &pod));
            result = join_all(missing)
                .await
                .into_iter()
                .try_for_each(|r| r.map(|_| ()));
        } else if active.len() > wanted {
            let surplus = first_to_go(&active, active.len() - wanted);
            let gone = surplus.iter().map(|p| template::delete(&context, &*set, p));
            result = join_all(gone).await.into_iter().collect();
        }
    }
    let now = Timestamp::now();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let labels = spec
        .template
        .as_ref()
        .and_then(|t| t.metadata.as_ref())
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    let before = set.status.clone();
    let status = ReplicaSetStatus {
        replicas: count(&active),
        fully_labeled_replicas: Some(count(
            active
                .iter()
                .filter(|p| labels.iter().all(|(k, v)| p.labels().get(k) == Some(v))),
        )),
        ready_replicas: Some(count(active.iter().filter(|p| is_ready(p)))),
        available_replicas: Some(count(
            active.iter().filter(|p| is_available(p, min_ready, now)),
        )),
        terminating_replicas: before.as_ref().and_then(|b| b.terminating_replicas),
        observed_generation: set.metadata.generation,
        conditions: before.as_ref().and_then(|b| b.conditions.clone()),
    };
    write_status(&context.client, &*set, before.as_ref(), &status).await?;
    result?;
    Ok(availability_action(&active, min_ready, now))
}

/// Pods that are missed least: those without a node, then not running, then not ready, then the youngest.
fn first_to_go(pods: &[Pod], n: usize) -> Vec<Pod> {
    let mut pods = pods.to_vec();
    pods.sort_by_key(|p| {
        let assigned = p.spec.as_ref().is_some_and(|s| s.node_name.is_some());
        let running = p.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
        let age = p.metadata.creation_timestamp.clone().map(std::cmp::Reverse);
        (assigned, running, is_ready(p), age)
    });
    pods.truncate(n);
    pods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_least_useful_pods_go_first() {
        let pod = |name: &str, node: Option<&str>, phase: &str, age: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": name, "creationTimestamp": age},
                "spec": {"containers": [], "nodeName": node},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        let pods = [
            pod("old", Some("n"), "Running", "2026-01-01T00:00:00Z"),
            pod("young", Some("n"), "Running", "2026-01-02T00:00:00Z"),
            pod("pending", Some("n"), "Pending", "2026-01-01T00:00:00Z"),
            pod("unassigned", None, "Pending", "2026-01-01T00:00:00Z"),
        ];
        let names: Vec<_> = first_to_go(&pods, 3)
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        assert_eq!(names, ["unassigned", "pending", "young"]);
    }
}
