//! What is there before an `up`, and what that means for it.

use std::path::Path;

use super::{KindError, Phase, Record, error::Taker};
use crate::{
    component::Plan,
    docker::{NodeContainer, NodeRole},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Situation {
    Nothing,
    /// Nodes of ours that an `up` did not finish making: kind cannot go on with them.
    HalfMade,
    /// All nodes are there; some may have to be started.
    Made,
}

/// Nodes of the name that are not ours are nobody's business.
pub(super) fn foreign(name: &str, nodes: &[NodeContainer], owner: &Path) -> Result<(), KindError> {
    let taker = nodes.iter().find_map(|node| match &node.owner {
        None => Some(Taker::Stranger),
        Some(other) if other != owner => Some(Taker::OtherState(other.clone())),
        Some(_) => None,
    });
    match taker {
        Some(by) => Err(KindError::NameTaken {
            name: name.to_owned(),
            by,
        }),
        None => Ok(()),
    }
}

pub(super) fn situation(
    name: &str,
    record: Option<&Record>,
    nodes: &[NodeContainer],
    owner: &Path,
    plan: &Plan,
) -> Result<Situation, KindError> {
    foreign(name, nodes, owner)?;
    if nodes.is_empty() {
        return Ok(Situation::Nothing);
    }
    let Some(record) = record.filter(|record| record.phase != Phase::Creating) else {
        return Ok(Situation::HalfMade);
    };
    let name = name.to_owned();
    if record.profile != plan.profile {
        return Err(KindError::OtherProfile {
            name,
            has: record.profile,
            wanted: plan.profile,
        });
    }
    if record.workers < plan.workers {
        return Err(KindError::TooFewWorkers {
            name,
            has: record.workers,
            wanted: plan.workers,
        });
    }
    if record.nodes.image != plan.nodes.image {
        return Err(KindError::OtherNodeImage {
            name,
            has: record.nodes.image.clone(),
            wanted: plan.nodes.image.clone(),
        });
    }
    let workers = nodes
        .iter()
        .filter(|node| node.role == NodeRole::Worker)
        .count();
    let there = workers
        + nodes
            .iter()
            .filter(|node| node.role == NodeRole::ControlPlane)
            .count();
    let made = usize::from(record.workers) + 1;
    if there < made {
        return Err(KindError::NodesLost {
            name,
            lost: made - there,
        });
    }
    Ok(Situation::Made)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::component::{Needs, Profile, plan};

    const OWNER: &str = "/state/clusters/tl/owner";

    fn node(role: NodeRole, owner: Option<&str>) -> NodeContainer {
        NodeContainer {
            name: "tl-node".into(),
            id: "1".into(),
            role,
            running: true,
            image: "kindest/node".into(),
            owner: owner.map(Into::into),
        }
    }

    fn ours(workers: usize) -> Vec<NodeContainer> {
        let mut nodes = vec![node(NodeRole::ControlPlane, Some(OWNER))];
        nodes.extend((0..workers).map(|_| node(NodeRole::Worker, Some(OWNER))));
        nodes
    }

    fn wanted(profile: Profile, workers: u8) -> Plan {
        plan(profile, &Needs::default(), workers, None).unwrap()
    }

    fn record(phase: Phase) -> Record {
        let plan = wanted(Profile::Plain, 2);
        Record {
            name: "tl".into(),
            profile: plan.profile,
            workers: plan.workers,
            nodes: plan.nodes,
            components: Vec::new(),
            started: jiff::Timestamp::UNIX_EPOCH,
            phase,
        }
    }

    fn decide(
        record: Option<&Record>,
        nodes: &[NodeContainer],
        plan: &Plan,
    ) -> Result<Situation, String> {
        situation("tl", record, nodes, Path::new(OWNER), plan).map_err(|error| error.to_string())
    }

    #[rstest]
    #[case::nothing(None, vec![], Situation::Nothing)]
    #[case::someone_removed_its_nodes(Some(record(Phase::Ready)), vec![], Situation::Nothing)]
    #[case::killed_while_kind_worked(Some(record(Phase::Creating)), ours(0), Situation::HalfMade)]
    #[case::its_record_is_gone(None, ours(2), Situation::HalfMade)]
    #[case::killed_while_components_came(Some(record(Phase::Installing)), ours(2), Situation::Made)]
    #[case::up_already(Some(record(Phase::Ready)), ours(2), Situation::Made)]
    fn what_is_there_decides(
        #[case] record: Option<Record>,
        #[case] nodes: Vec<NodeContainer>,
        #[case] expected: Situation,
    ) {
        assert_eq!(
            decide(record.as_ref(), &nodes, &wanted(Profile::Plain, 2)),
            Ok(expected)
        );
    }

    #[test]
    fn fewer_workers_than_there_are_is_fine() {
        assert_eq!(
            decide(
                Some(&record(Phase::Ready)),
                &ours(2),
                &wanted(Profile::Plain, 1)
            ),
            Ok(Situation::Made)
        );
    }

    #[rstest]
    #[case::a_stranger(vec![node(NodeRole::ControlPlane, None)], wanted(Profile::Plain, 2), "the name tl is taken by a kind cluster that trunkline did not make")]
    #[case::other_state(vec![node(NodeRole::ControlPlane, Some("/else/owner"))], wanted(Profile::Plain, 2), "the name tl is taken by a kind cluster that a trunkline with other state made (/else)")]
    #[case::other_profile(
        ours(2),
        wanted(Profile::OvnKubernetes, 2),
        "the cluster tl has the profile plain, not ovn-kubernetes"
    )]
    #[case::more_workers(
        ours(2),
        wanted(Profile::Plain, 3),
        "the cluster tl has 2 workers and 3 are wanted"
    )]
    #[case::lost_nodes(
        ours(1),
        wanted(Profile::Plain, 2),
        "the cluster tl has lost 1 of its nodes"
    )]
    fn what_cannot_go_on_says_so(
        #[case] nodes: Vec<NodeContainer>,
        #[case] plan: Plan,
        #[case] text: &str,
    ) {
        let refusal = decide(Some(&record(Phase::Ready)), &nodes, &plan).unwrap_err();
        assert!(refusal.starts_with(text), "{refusal}");
    }

    #[test]
    fn another_node_image_is_another_cluster() {
        let mut plan = wanted(Profile::Plain, 2);
        plan.nodes.image = "mine".into();
        let refusal = decide(Some(&record(Phase::Ready)), &ours(2), &plan).unwrap_err();
        assert!(refusal.contains("not mine"), "{refusal}");
    }
}
