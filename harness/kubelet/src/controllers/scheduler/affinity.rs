//! Node selectors, affinity between pods, and spreading.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm, PodSpec,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};

use super::world::{NodeView, World};

pub(super) const NO_AFFINITY: &str = "node(s) didn't match pod affinity rules";
const OWN_ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const OTHERS_ANTI_AFFINITY: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// `nodeSelector` and required node affinity.
pub(crate) fn matches_node(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.labels();
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(k, v)| labels.get(k) == Some(v));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|a| a.node_affinity.as_ref())
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .as_ref()
        });
    selected
        && required.is_none_or(|r| {
            r.node_selector_terms
                .iter()
                .any(|term| term_matches(term, node))
        })
}

pub(super) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let name = node.name_any();
    let mut any = false;
    let by_label = expressions.clone().all(|r| {
        any = true;
        requirement(r, node.labels().get(&r.key).map(String::as_str))
    });
    let by_field = fields.clone().all(|r| {
        any = true;
        requirement(r, (r.key == "metadata.name").then_some(name.as_str()))
    });
    // an empty term matches nothing
    any && by_label && by_field
}

fn requirement(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    let numbers = || {
        Some((
            value?.parse::<i64>().ok()?,
            values.first()?.parse::<i64>().ok()?,
        ))
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(have, bound)| have > bound),
        "Lt" => numbers().is_some_and(|(have, bound)| have < bound),
        _ => false,
    }
}

/// Required affinity and anti-affinity of this pod, and the anti-affinity of the pods that are there.
pub(super) fn pods_agree(world: &World, node: &NodeView, pod: &Pod) -> Result<(), &'static str> {
    for other_node in &world.nodes {
        for other in &other_node.pods {
            let hostile = anti_terms(other).iter().any(|term| {
                selects(term, other, pod) && same_domain(&term.topology_key, node, other_node)
            });
            if hostile {
                return Err(OTHERS_ANTI_AFFINITY);
            }
        }
    }
    let wanted = affinity_terms(pod);
    if !wanted.is_empty()
        && !wanted
            .iter()
            .all(|term| has_company(world, node, pod, term))
    {
        return Err(NO_AFFINITY);
    }
    let lonely = anti_terms(pod).iter().any(|term| {
        neighbours(world, node, &term.topology_key).any(|other| selects(term, pod, other))
    });
    if lonely {
        return Err(OWN_ANTI_AFFINITY);
    }
    Ok(())
}

/// The first of a group that wants to be together has nobody to join.
fn has_company(world: &World, node: &NodeView, pod: &Pod, term: &PodAffinityTerm) -> bool {
    if node.label(&term.topology_key).is_none() {
        return false;
    }
    let joined = neighbours(world, node, &term.topology_key).any(|other| selects(term, pod, other));
    let nobody = || {
        world
            .nodes
            .iter()
            .flat_map(|n| &n.pods)
            .all(|other| !selects(term, pod, other))
    };
    joined || (selects(term, pod, pod) && nobody())
}

fn neighbours<'a>(
    world: &'a World,
    node: &'a NodeView,
    key: &'a str,
) -> impl Iterator<Item = &'a Pod> {
    world
        .nodes
        .iter()
        .filter(move |other| same_domain(key, node, other))
        .flat_map(|other| other.pods.iter().map(AsRef::as_ref))
}

fn same_domain(key: &str, a: &NodeView, b: &NodeView) -> bool {
    a.label(key).is_some() && a.label(key) == b.label(key)
}

fn affinity_terms(pod: &Pod) -> Vec<PodAffinityTerm> {
    pod.spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.pod_affinity.as_ref())
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .clone()
        })
        .unwrap_or_default()
}

fn anti_terms(pod: &Pod) -> Vec<PodAffinityTerm> {
    pod.spec
        .as_ref()
        .and_then(|s| s.affinity.as_ref())
        .and_then(|a| a.pod_anti_affinity.as_ref())
        .and_then(|a| {
            a.required_during_scheduling_ignored_during_execution
                .clone()
        })
        .unwrap_or_default()
}

/// Whether a term of `owner` means `other`.
pub(super) fn selects(term: &PodAffinityTerm, owner: &Pod, other: &Pod) -> bool {
    let namespace = other.namespace().unwrap_or_default();
    let named = term.namespaces.as_deref().unwrap_or_default();
    // labels of namespaces are not known here: an empty selector means all of them
    let everywhere = term
        .namespace_selector
        .as_ref()
        .is_some_and(|s| *s == LabelSelector::default());
    let in_namespace = everywhere
        || if named.is_empty() {
            owner.namespace().unwrap_or_default() == namespace
        } else {
            named.contains(&namespace)
        };
    in_namespace
        && term
            .label_selector
            .as_ref()
            .is_some_and(|s| selector_matches(s, other.labels()))
}

pub(crate) fn selector_matches(
    selector: &LabelSelector,
    labels: &BTreeMap<String, String>,
) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|s| s.matches(labels))
}

/// Topology spread constraints that must hold.
pub(super) fn spreads(world: &World, node: &NodeView, pod: &Pod) -> bool {
    let constraints = pod
        .spec
        .iter()
        .flat_map(|s| s.topology_spread_constraints.iter().flatten())
        .filter(|c| c.when_unsatisfiable == "DoNotSchedule");
    constraints.into_iter().all(|c| spread(world, node, pod, c))
}

fn spread(
    world: &World,
    node: &NodeView,
    pod: &Pod,
    constraint: &TopologySpreadConstraint,
) -> bool {
    let Some(own) = node.label(&constraint.topology_key) else {
        return false;
    };
    let Some(spec) = &pod.spec else { return true };
    let counts = |p: &Pod| {
        p.namespace() == pod.namespace()
            && constraint
                .label_selector
                .as_ref()
                .is_some_and(|s| selector_matches(s, p.labels()))
    };
    let mut domains: BTreeMap<&String, i64> = BTreeMap::new();
    for view in world.nodes.iter().filter(|n| matches_node(spec, &n.node)) {
        if let Some(domain) = view.label(&constraint.topology_key) {
            let here = view.pods.iter().filter(|p| counts(p)).count();
            *domains.entry(domain).or_default() += i64::try_from(here).unwrap_or(i64::MAX);
        }
    }
    let fewest = domains.values().min().copied().unwrap_or(0);
    let own = domains.get(own).copied().unwrap_or(0) + i64::from(counts(pod));
    own - fewest <= i64::from(constraint.max_skew)
}
