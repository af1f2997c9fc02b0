//! Which components a cluster gets, and in which order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Component, ComponentName, Feature, Inotify, Needs, NodeImage, Profile, profile};

/// The components of a cluster, each after those it requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub profile: Profile,
    pub nodes: NodeImage,
    pub components: Vec<Component>,
    pub workers: u8,
    /// Images of the scenarios' own pods.
    pub images: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("the profile `{profile}` has nothing that brings {feature}; {hint}")]
    Nothing {
        profile: Profile,
        feature: Feature,
        hint: String,
    },
    #[error(
        "the scenarios need {needed} nodes for ordinary pods and the cluster is to have {workers}; ask for --workers {needed}"
    )]
    Workers { needed: u32, workers: u8 },
}

/// Chooses what the scenarios need and whatever that requires in turn. `nodes` stands in for the pinned node image.
pub fn plan(
    of: Profile,
    needs: &Needs,
    workers: u8,
    nodes: Option<NodeImage>,
) -> Result<Plan, PlanError> {
    // A cluster without workers has its control plane take the pods.
    if needs.workers > u32::from(workers.max(1)) {
        return Err(PlanError::Workers {
            needed: needs.workers,
            workers,
        });
    }
    let mut list: Vec<Component> = profile(of).to_vec();
    let nodes = take_nodes(&mut list, nodes);
    let chosen = choose(of, &list, needs)?;
    Ok(Plan {
        profile: of,
        components: order(&list, &chosen),
        nodes,
        workers,
        images: needs.images.clone(),
    })
}

/// The node image in force; what it lacks is struck from what its component provides.
fn take_nodes(list: &mut [Component], instead: Option<NodeImage>) -> NodeImage {
    for component in list {
        if let Some(pinned) = &component.nodes {
            let nodes = instead.unwrap_or_else(|| pinned.clone());
            component
                .provides
                .retain(|feature| !nodes.lacks.contains(feature));
            component.nodes = Some(nodes.clone());
            return nodes;
        }
    }
    unreachable!("every profile has a node image; a test of the catalogue says so")
}

fn choose(
    of: Profile,
    list: &[Component],
    needs: &Needs,
) -> Result<BTreeSet<ComponentName>, PlanError> {
    let mut chosen: BTreeSet<ComponentName> = list
        .iter()
        .filter(|component| component.always)
        .map(|component| component.name.clone())
        .collect();
    let wanted = needs.features.iter().copied();
    for feature in std::iter::once(Feature::DefaultNetwork).chain(wanted) {
        let bringers: Vec<&Component> = list
            .iter()
            .filter(|component| component.provides.contains(&feature))
            .collect();
        let Some(first) = bringers.first() else {
            if needs.where_possible && feature != Feature::DefaultNetwork {
                continue;
            }
            return Err(nothing(of, feature));
        };
        // Enough when one of the chosen brings it.
        if !bringers
            .iter()
            .any(|bringer| chosen.contains(&bringer.name))
        {
            chosen.insert(first.name.clone());
        }
    }
    let by_name: BTreeMap<_, _> = list.iter().map(|item| (&item.name, item)).collect();
    let mut open: Vec<ComponentName> = chosen.iter().cloned().collect();
    while let Some(name) = open.pop() {
        for required in by_name.get(&name).map_or(&[][..], |item| &item.requires) {
            if chosen.insert(required.clone()) {
                open.push(required.clone());
            }
        }
    }
    Ok(chosen)
}

fn nothing(of: Profile, feature: Feature) -> PlanError {
    let other = Profile::ALL.iter().find(|other| {
        **other != of
            && profile(**other)
                .iter()
                .any(|component| component.provides.contains(&feature))
    });
    PlanError::Nothing {
        profile: of,
        feature,
        hint: match other {
            Some(other) => format!("use --profile {other}"),
            None => "run those scenarios on a site that has it".to_owned(),
        },
    }
}

/// Stable: what does not depend on each other keeps the catalogue's order.
fn order(list: &[Component], chosen: &BTreeSet<ComponentName>) -> Vec<Component> {
    let mut done: BTreeSet<&ComponentName> = BTreeSet::new();
    let mut ordered = Vec::with_capacity(chosen.len());
    while ordered.len() < chosen.len() {
        let next = list.iter().find(|component| {
            chosen.contains(&component.name)
                && !done.contains(&component.name)
                && component.requires.iter().all(|name| done.contains(name))
        });
        // A circle; a test of the catalogue says there is none.
        let Some(next) = next else { break };
        done.insert(&next.name);
        ordered.push(next.clone());
    }
    ordered
}

impl Plan {
    /// Room on the disk for all nodes, in MiB.
    pub fn disk_mib(&self) -> u64 {
        let per_node: u64 = self.components.iter().map(|item| item.disk_mib).sum();
        per_node * (u64::from(self.workers) + 1)
    }

    /// The strictest limit that any component asks for.
    pub fn inotify(&self) -> Inotify {
        self.components
            .iter()
            .map(|component| component.inotify)
            .fold(Inotify::default(), |most, one| Inotify {
                instances: most.instances.max(one.instances),
                watches: most.watches.max(one.watches),
            })
    }

    pub fn uses_helm(&self) -> bool {
        self.components
            .iter()
            .flat_map(|component| &component.install)
            .any(|action| matches!(action, super::Action::Helm(_)))
    }
}
