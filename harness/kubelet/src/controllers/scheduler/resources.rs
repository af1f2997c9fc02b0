//! Requests against what nodes have.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::Milli;

/// Amounts by resource name; `pods` counts pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Amounts(BTreeMap<String, Milli>);

impl Amounts {
    /// What a pod asks for: the sum of its containers, or its largest init container if that is more; plus
    /// overhead. Restartable init containers run beside the others.
    pub(super) fn requested(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let requests = |c: &k8s_openapi::api::core::v1::Container| -> Self {
            let resources = c.resources.clone().unwrap_or_default();
            let mut all = resources.limits.unwrap_or_default();
            all.extend(resources.requests.unwrap_or_default());
            Self::of(&all)
        };
        let mut total: Self = spec.containers.iter().map(requests).sum();
        let mut beside = Self::default();
        let mut peak = Self::default();
        for init in spec.init_containers.iter().flatten() {
            let wanted = requests(init);
            if init.restart_policy.as_deref() == Some("Always") {
                total.add(&wanted);
                beside.add(&wanted);
                peak.raise_to(&beside);
            } else {
                let mut now = wanted;
                now.add(&beside);
                peak.raise_to(&now);
            }
        }
        total.raise_to(&peak);
        if let Some(overhead) = &spec.overhead {
            total.add(&Self::of(overhead));
        }
        total.0.insert("pods".to_owned(), Milli(1_000));
        total
    }

    fn of(list: &BTreeMap<String, Quantity>) -> Self {
        Self(
            list.iter()
                .map(|(k, v)| (k.clone(), Milli::of(v)))
                .collect(),
        )
    }

    fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let entry = self.0.entry(name.clone()).or_default();
            *entry = *entry + *amount;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let entry = self.0.entry(name.clone()).or_default();
            *entry = (*entry).max(*amount);
        }
    }

    /// What is missing, in the scheduler's words.
    pub(super) fn lacking(node: &Node, used: &Self, wanted: &Self) -> Vec<String> {
        let allocatable = allocatable(node);
        let mut lacking = Vec::new();
        for (name, amount) in &wanted.0 {
            if amount.0 == 0 {
                continue;
            }
            let have = allocatable.0.get(name).copied().unwrap_or_default();
            let used = used.0.get(name).copied().unwrap_or_default();
            if used + *amount > have {
                lacking.push(match name.as_str() {
                    "pods" => "Too many pods".to_owned(),
                    // nodes that do not report it do not limit it
                    "ephemeral-storage" if have.0 == 0 => continue,
                    name => format!("Insufficient {name}"),
                });
            }
        }
        lacking
    }

    /// How much of CPU and memory is taken, in thousandths of what there is.
    pub(super) fn fullness(node: &Node, used: &Self) -> i128 {
        let allocatable = allocatable(node);
        let share = |name: &str| {
            let have = allocatable.0.get(name).map_or(0, |m| m.0);
            let used = used.0.get(name).map_or(0, |m| m.0);
            if have > 0 { used * 1_000 / have } else { 0 }
        };
        i128::midpoint(share("cpu"), share("memory"))
    }
}

fn allocatable(node: &Node) -> Amounts {
    node.status
        .as_ref()
        .and_then(|s| s.allocatable.as_ref())
        .map(Amounts::of)
        .unwrap_or_default()
}

impl std::iter::Sum for Amounts {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |mut all, one| {
            all.add(&one);
            all
        })
    }
}
