//! DaemonSets: one pod on every node that takes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{
    Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
    PodSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, ResourceExt};

use super::common::{
    Context, Failure, availability_action, count, drive, has_failed, has_succeeded, is_available,
    is_deleted, is_ready, owned, write_status,
};
use super::deployment::{Round, portion};
use super::scheduler::{matches_node, tolerates};
use super::template;
use crate::events::Recorder;

const REVISION: &str = "controller-revision-hash";

pub(super) async fn run(client: Client, recorder: Recorder) {
    let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .map(|_| ());
    let controller = Controller::new(
        Api::<DaemonSet>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Pod>::all(client.clone()), watcher::Config::default())
    .reconcile_all_on(nodes);
    drive(
        controller,
        Context::new(client, recorder, "daemonset-controller"),
        reconcile,
    )
    .await;
}

async fn reconcile(set: Arc<DaemonSet>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(spec) = set.spec.clone() else {
        return Ok(Action::await_change());
    };
    let pods: Vec<Pod> = owned(&context.client, &*set, &spec.selector).await?;
    let nodes = Api::<Node>::all(context.client.clone())
        .list(&ListParams::default())
        .await?
        .items;
    let hash = template::hash(&spec.template);
    let now = Timestamp::now();
    let plan = Plan::new(&spec, &nodes, &pods, &hash, now);
    let mut result: Result<(), Failure> = Ok(());
    if !is_deleted(&*set) {
        let made: Vec<Pod> = plan
            .create
            .iter()
            .map(|node| pod(&set, &spec, node, &hash))
            .collect();
        let made = made
            .iter()
            .map(|pod| template::create(&context, &*set, pod));
        result = join_all(made)
            .await
            .into_iter()
            .try_for_each(|r| r.map(|_| ()));
        for pod in &plan.delete {
            template::delete(&context, &*set, pod).await?;
        }
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let placed: Vec<&Pod> = plan.placed.values().copied().collect();
    let available = count(placed.iter().filter(|p| is_available(p, min_ready, now)));
    let status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        desired_number_scheduled: plan.wanted,
        current_number_scheduled: count(&placed),
        number_misscheduled: plan.misplaced,
        number_ready: count(placed.iter().filter(|p| is_ready(p))),
        number_available: Some(available).filter(|n| *n > 0),
        number_unavailable: Some(plan.wanted - available).filter(|n| *n > 0),
        updated_number_scheduled: Some(count(
            placed
                .iter()
                .filter(|p| p.labels().get(REVISION) == Some(&hash)),
        )),
        collision_count: None,
        conditions: None,
    };
    write_status(&context.client, &*set, set.status.as_ref(), &status).await?;
    result?;
    Ok(availability_action(&pods, min_ready, now))
}

struct Plan<'a> {
    create: Vec<String>,
    delete: Vec<Pod>,
    placed: BTreeMap<String, &'a Pod>,
    wanted: i32,
    misplaced: i32,
}

impl<'a> Plan<'a> {
    fn new(
        spec: &DaemonSetSpec,
        nodes: &[Node],
        pods: &'a [Pod],
        hash: &str,
        now: Timestamp,
    ) -> Self {
        let template = spec.template.spec.clone().unwrap_or_default();
        let wish = tolerant(template);
        let fits: Vec<String> = nodes
            .iter()
            .filter(|n| runs_on(&wish, n))
            .map(ResourceExt::name_any)
            .collect();
        let mut plan = Self {
            create: Vec::new(),
            delete: Vec::new(),
            placed: BTreeMap::new(),
            wanted: count(&fits),
            misplaced: 0,
        };
        for pod in pods {
            let over = has_failed(pod) || has_succeeded(pod);
            match node_of(pod).filter(|n| fits.contains(n)) {
                Some(node) if !over && !plan.placed.contains_key(&node) => {
                    plan.placed.insert(node, pod);
                }
                other => {
                    plan.misplaced += i32::from(other.is_none());
                    if !is_deleted(pod) {
                        plan.delete.push(pod.clone());
                    }
                }
            }
        }
        plan.create = fits
            .into_iter()
            .filter(|n| !plan.placed.contains_key(n))
            .collect();
        plan.update(spec, hash, now);
        plan
    }

    /// Replaces pods of older templates, as many at a time as may be missing.
    fn update(&mut self, spec: &DaemonSetSpec, hash: &str, now: Timestamp) {
        let strategy = spec.update_strategy.clone().unwrap_or_default();
        if strategy.type_.as_deref() == Some("OnDelete") {
            return;
        }
        let limit = strategy
            .rolling_update
            .and_then(|r| r.max_unavailable)
            .unwrap_or(IntOrString::Int(1));
        let limit = portion(&limit, self.wanted, Round::Up).max(1);
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let well = |pod: &Pod| !is_deleted(pod) && is_available(pod, min_ready, now);
        let missing = self.wanted - count(self.placed.values().filter(|p| well(p)));
        let mut may_go = (limit - missing).max(0);
        for pod in self.placed.values() {
            let old = pod.labels().get(REVISION).map(String::as_str) != Some(hash);
            if !old || is_deleted(*pod) {
                continue;
            }
            // one that is not well costs nothing
            if !well(pod) {
                self.delete.push((*pod).clone());
            } else if may_go > 0 {
                may_go -= 1;
                self.delete.push((*pod).clone());
            }
        }
    }
}

fn runs_on(spec: &PodSpec, node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    matches_node(spec, node)
        && taints.filter(|t| t.effect != "PreferNoSchedule").all(|t| {
            tolerates(
                spec,
                &t.key,
                t.value.as_deref().unwrap_or_default(),
                &t.effect,
            )
        })
}

/// The node a pod was made for, bound or not.
fn node_of(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    spec.node_name.clone().or_else(|| {
        let terms = &spec
            .affinity
            .as_ref()?
            .node_affinity
            .as_ref()?
            .required_during_scheduling_ignored_during_execution
            .as_ref()?
            .node_selector_terms;
        let fields = terms.first()?.match_fields.as_ref()?;
        fields.first()?.values.as_ref()?.first().cloned()
    })
}

const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

fn tolerant(mut spec: PodSpec) -> PodSpec {
    let network = (spec.host_network == Some(true))
        .then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let more = TOLERATED
        .into_iter()
        .chain(network)
        .map(|(key, effect)| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        });
    spec.tolerations.get_or_insert_default().extend(more);
    spec
}

fn pod(set: &DaemonSet, spec: &DaemonSetSpec, node: &str, hash: &str) -> Pod {
    let mut pod = template::pod(set, &spec.template);
    pod.labels_mut()
        .insert(REVISION.to_owned(), hash.to_owned());
    pod.labels_mut().insert(
        "pod-template-generation".to_owned(),
        set.metadata.generation.unwrap_or(1).to_string(),
    );
    let mut pod_spec = tolerant(pod.spec.take().unwrap_or_default());
    pin(&mut pod_spec, node);
    pod.spec = Some(pod_spec);
    pod
}

/// The scheduler places it, and has one choice.
fn pin(spec: &mut PodSpec, node: &str) {
    let this_node = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let node_affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    let required = node_affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm::default()],
        });
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![this_node.clone()]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, taint: Option<&str>) -> Node {
        let taints: Vec<_> = taint
            .iter()
            .map(|key| json!({"key": key, "effect": "NoSchedule"}))
            .collect();
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"taints": taints}}))
            .unwrap()
    }

    #[test]
    fn one_per_node_and_replaced_one_by_one() {
        let spec: DaemonSetSpec = serde_json::from_value(
            json!({"selector": {}, "template": {"spec": {"containers": []}}}),
        )
        .unwrap();
        let set = DaemonSet::default();
        let nodes = [
            node("cp", Some("node-role.kubernetes.io/control-plane")),
            node("a", None),
            node("b", Some("node.kubernetes.io/unschedulable")),
        ];
        let plan = Plan::new(&spec, &nodes, &[], "h1", Timestamp::UNIX_EPOCH);
        assert_eq!(plan.create, ["a", "b"]);

        let pods: Vec<Pod> = plan
            .create
            .iter()
            .map(|n| {
                let mut pod = pod(&set, &spec, n, "h1");
                pod.metadata.name = Some(n.clone());
                pod.status = serde_json::from_value(
                    json!({"conditions": [{"type": "Ready", "status": "True"}]}),
                )
                .unwrap();
                pod
            })
            .collect();
        let same = Plan::new(&spec, &nodes, &pods, "h1", Timestamp::UNIX_EPOCH);
        assert!(same.create.is_empty() && same.delete.is_empty());
        let update = Plan::new(&spec, &nodes, &pods, "h2", Timestamp::UNIX_EPOCH);
        assert_eq!(
            update
                .delete
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>(),
            ["a"]
        );
    }
}
