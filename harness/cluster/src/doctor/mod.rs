//! What a machine lacks for a kind cluster, what that breaks, and the one command that gives it.
//!
//! [`Facts`] are gathered once; every check is a pure function of them.

mod context;
mod engine;
mod facts;
mod reach;
mod rules;

#[cfg(test)]
mod tests;

use serde::Serialize;

pub use context::{ContextAnswer, ContextFacts, RightsFound, examine_context, judge};
pub use engine::{Engine, Privileged};
pub use facts::{Facts, ModuleStates, Tool};
pub use reach::Endpoint;
pub use trunkline_machine::{KernelModule, Status};

/// What one check found.
pub type Check = trunkline_machine::Check<CheckId>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckId {
    Engine,
    Privileged,
    Rootless,
    Kind,
    Helm,
    Cgroups,
    DiskSpace,
    Memory,
    Inotify,
    Kvm,
    #[serde(rename = "module-8021q")]
    Module8021q,
    ModuleOpenvswitch,
    ModuleGeneve,
    ModuleVrf,
    Registries,
    // Of a cluster that is there already.
    Server,
    Nodes,
    Network,
    Features,
    Rights,
}

/// Examines this machine. It asks the container engine to run one privileged container for a moment, because nothing else
/// tells whether it can.
pub async fn examine() -> Vec<Check> {
    examine_facts(&Facts::gather().await)
}

/// The same for given facts.
pub fn examine_facts(facts: &Facts) -> Vec<Check> {
    rules::ALL
        .iter()
        .filter_map(|rule| rule.apply(facts))
        .collect()
}
