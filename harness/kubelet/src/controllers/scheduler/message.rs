//! Why a pod fits nowhere, in the scheduler's words.

use std::collections::BTreeMap;
use std::fmt;

use super::filter::Refusal;

/// The reasons of all nodes.
#[derive(Debug)]
pub(super) struct Unschedulable {
    nodes: usize,
    /// Counted by text.
    reasons: BTreeMap<String, usize>,
    /// One reason for all, not counted.
    everywhere: Option<String>,
    /// Nodes that preemption could have helped with.
    preemptable: usize,
}

impl Unschedulable {
    pub(super) fn new(nodes: usize, refusals: Vec<Refusal>) -> Self {
        let mut reasons = BTreeMap::new();
        let mut preemptable = 0;
        for refusal in refusals {
            preemptable += usize::from(refusal.preemptable);
            for reason in refusal.reasons {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        Self {
            nodes,
            reasons,
            everywhere: None,
            preemptable,
        }
    }

    pub(super) fn everywhere(nodes: usize, reason: String) -> Self {
        Self {
            nodes,
            reasons: BTreeMap::new(),
            everywhere: Some(reason),
            preemptable: 0,
        }
    }
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes;
        if nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|(text, n)| format!("{n} {text}"))
            .collect();
        reasons.sort();
        reasons.extend(self.everywhere.clone());
        write!(
            f,
            "0/{nodes} nodes are available: {}. no new claims to deallocate, preemption: 0/{nodes} nodes are available: ",
            reasons.join(", ")
        )?;
        let hopeless = nodes - self.preemptable;
        let victims = format!(
            "{} No preemption victims found for incoming pod",
            self.preemptable
        );
        let helpless = format!("{hopeless} Preemption is not helpful for scheduling");
        match (self.preemptable, hopeless) {
            (0, _) => write!(f, "{helpless}."),
            (_, 0) => write!(f, "{victims}."),
            _ => write!(f, "{victims}, {helpless}."),
        }
    }
}
