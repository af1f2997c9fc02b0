//! The scheduler: which node a pod runs on.

mod affinity;
mod bind;
mod claims;
mod filter;
mod message;
mod resources;
mod score;
mod tolerations;
mod world;

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::runtime::reflector::Store;
use kube::{Client, ResourceExt};

pub(super) use self::affinity::{matches_node, selector_matches};
use self::claims::Claims;
use self::message::Unschedulable;
pub(super) use self::tolerations::tolerates;
use self::world::World;
use super::informer::informer;
use crate::events::{Recorder, Reporter, Severity};
use crate::refs::pod_ref;

/// The name pods ask for, if they ask.
const NAME: &str = "default-scheduler";

struct Stores {
    pods: Store<Pod>,
    nodes: Store<Node>,
    claims: Store<PersistentVolumeClaim>,
    volumes: Store<PersistentVolume>,
    classes: Store<StorageClass>,
}

struct Scheduler {
    client: Client,
    recorder: Recorder,
    reporter: Reporter,
    stores: Stores,
    /// Pods bound by us that the watch does not show as bound yet, by uid.
    assumed: HashMap<String, Assumed>,
    /// What was last said about pods that fit nowhere, by uid.
    told: HashMap<String, String>,
}

/// A decision that is underway.
#[derive(Debug, Clone)]
struct Assumed {
    pod: Arc<Pod>,
    node: String,
    /// The claims of the pod have been told of the node and are being provisioned.
    waits_for_claims: bool,
}

/// Schedules until dropped.
pub(super) async fn run(client: Client, recorder: Recorder) {
    let (pods, pod_events) = informer::<Pod>(&client);
    let (nodes, node_events) = informer::<Node>(&client);
    let (claims, claim_events) = informer::<PersistentVolumeClaim>(&client);
    let (volumes, volume_events) = informer::<PersistentVolume>(&client);
    let (classes, class_events) = informer::<StorageClass>(&client);
    let mut events: BoxStream<'static, ()> = stream::select_all([
        pod_events,
        node_events,
        claim_events,
        volume_events,
        class_events,
    ])
    .boxed();
    let mut scheduler = Scheduler {
        client,
        recorder,
        reporter: Reporter::component(NAME),
        stores: Stores {
            pods,
            nodes,
            claims,
            volumes,
            classes,
        },
        assumed: HashMap::new(),
        told: HashMap::new(),
    };
    while events.next().await.is_some() {
        // a burst of changes is one reason to look
        while futures::FutureExt::now_or_never(events.next())
            .flatten()
            .is_some()
        {}
        scheduler.turn().await;
    }
}

impl Scheduler {
    /// Looks at every pod that has no node.
    async fn turn(&mut self) {
        let pods = self.stores.pods.state();
        self.forget(&pods);
        let mut pending: Vec<Arc<Pod>> = pods
            .iter()
            .filter(|p| is_pending(p))
            .filter(|p| {
                let uid = p.uid().unwrap_or_default();
                self.assumed.get(&uid).is_none_or(|a| a.waits_for_claims)
            })
            .cloned()
            .collect();
        if pending.is_empty() {
            return;
        }
        pending.sort_by_key(|p| {
            let priority = p.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
            (
                -priority,
                p.metadata.creation_timestamp.clone(),
                p.name_any(),
            )
        });
        for pod in pending {
            self.schedule(pod).await;
        }
    }

    /// Drops decisions that the API shows by now, and pods that are gone.
    fn forget(&mut self, pods: &[Arc<Pod>]) {
        let open: HashMap<String, bool> = pods
            .iter()
            .map(|p| (p.uid().unwrap_or_default(), is_pending(p)))
            .collect();
        self.assumed.retain(|uid, _| open.get(uid) == Some(&true));
        self.told.retain(|uid, _| open.get(uid) == Some(&true));
    }

    async fn schedule(&mut self, pod: Arc<Pod>) {
        let uid = pod.uid().unwrap_or_default();
        let claims = match Claims::of(&pod, &self.stores) {
            Ok(claims) => claims,
            Err(reason) => {
                let total = self.stores.nodes.len();
                return self
                    .refuse(&pod, Unschedulable::everywhere(total, reason))
                    .await;
            }
        };
        let node = if let Some(assumed) = self.assumed.get(&uid) {
            assumed.node.clone()
        } else {
            let world = World::new(&self.stores, &self.assumed);
            match world.choose(&pod, &claims) {
                Ok(node) => node,
                Err(refusal) => return self.refuse(&pod, refusal).await,
            }
        };
        let waits_for_claims = !claims.unbound.is_empty();
        self.assumed.insert(
            uid.clone(),
            Assumed {
                pod: Arc::clone(&pod),
                node: node.clone(),
                waits_for_claims,
            },
        );
        if waits_for_claims {
            claims.select_node(&self.client, &node).await;
            return;
        }
        match bind::bind(&self.client, &pod, &node).await {
            Ok(()) => {
                self.recorder.act(
                    &self.reporter,
                    pod_ref(&pod),
                    Severity::Normal,
                    "Scheduled",
                    "Binding",
                    format!(
                        "Successfully assigned {}/{} to {node}",
                        pod.namespace().unwrap_or_default(),
                        pod.name_any()
                    ),
                );
            }
            Err(error) => {
                tracing::debug!(%error, pod = pod.name_any(), "pod not bound");
                self.assumed.remove(&uid);
            }
        }
    }

    async fn refuse(&mut self, pod: &Pod, refusal: Unschedulable) {
        let text = refusal.to_string();
        let uid = pod.uid().unwrap_or_default();
        if self.told.get(&uid) == Some(&text) {
            return;
        }
        self.recorder.act(
            &self.reporter,
            pod_ref(pod),
            Severity::Warning,
            "FailedScheduling",
            "Scheduling",
            text.clone(),
        );
        bind::mark_unschedulable(&self.client, pod, &text).await;
        self.told.insert(uid, text);
    }
}

fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    spec.node_name.as_deref().unwrap_or_default().is_empty()
        && pod.metadata.deletion_timestamp.is_none()
        && spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && !matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests;
