//! Which of several nodes is best: what the pod prefers, then where fewest of its kind are, then the emptiest.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::affinity;
use super::resources::Amounts;
use super::tolerations;
use super::world::{NodeView, World};

/// Larger is better; the parts count in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    preference: i64,
    siblings: i64,
    emptiness: i128,
    pods: i64,
}

pub(super) fn score(world: &World, node: &NodeView, pod: &Pod) -> Score {
    let siblings = node.pods.iter().filter(|p| are_siblings(p, pod)).count();
    Score {
        preference: preference(world, node, pod),
        siblings: -count(siblings),
        emptiness: -Amounts::fullness(&node.node, &node.used),
        pods: -count(node.pods.len()),
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Pods of one controller, or with the same labels.
fn are_siblings(a: &Pod, b: &Pod) -> bool {
    let owner = |pod: &Pod| {
        pod.owner_references()
            .iter()
            .find(|o| o.controller == Some(true))
            .map(|o| o.uid.clone())
    };
    a.namespace() == b.namespace()
        && match (owner(a), owner(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => !a.labels().is_empty() && a.labels() == b.labels(),
            _ => false,
        }
}

fn preference(world: &World, node: &NodeView, pod: &Pod) -> i64 {
    let Some(spec) = &pod.spec else { return 0 };
    let affinity = spec.affinity.clone().unwrap_or_default();
    let mut score = 0;
    for wish in affinity
        .node_affinity
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution)
        .into_iter()
        .flatten()
    {
        if affinity::term_matches(&wish.preference, &node.node) {
            score += i64::from(wish.weight);
        }
    }
    let wishes = [
        (
            1,
            affinity
                .pod_affinity
                .and_then(|a| a.preferred_during_scheduling_ignored_during_execution),
        ),
        (
            -1,
            affinity
                .pod_anti_affinity
                .and_then(|a| a.preferred_during_scheduling_ignored_during_execution),
        ),
    ];
    for (sign, terms) in wishes {
        for wish in terms.into_iter().flatten() {
            let term = &wish.pod_affinity_term;
            let here = node.label(&term.topology_key);
            let neighbours = world
                .nodes
                .iter()
                .filter(|other| here.is_some() && other.label(&term.topology_key) == here)
                .flat_map(|other| &other.pods)
                .filter(|other| affinity::selects(term, pod, other))
                .count();
            score += sign * i64::from(wish.weight) * count(neighbours);
        }
    }
    let taints = node
        .node
        .spec
        .iter()
        .flat_map(|s| s.taints.iter().flatten());
    let unwelcome = taints
        .filter(|t| t.effect == "PreferNoSchedule")
        .filter(|t| {
            !tolerations::tolerates(
                spec,
                &t.key,
                t.value.as_deref().unwrap_or_default(),
                &t.effect,
            )
        })
        .count();
    score - 10 * count(unwelcome)
}
