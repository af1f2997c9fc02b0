//! What this machine lacks for a lab, and the one command that gives it.
//!
//! [`Facts`] are gathered once; every check is a pure function of them.

mod checks;
mod facts;
mod subordinate;

use std::path::Path;

use serde::Serialize;

pub use facts::{Facts, Helpers, UserNamespaces};
pub use trunkline_machine::{Access, KernelModule, Status};

use crate::boot::Step;

/// What one check found.
pub type Check = trunkline_machine::Check<CheckId>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckId {
    Namespaces,
    Privileges,
    UserNamespaces,
    AppArmor,
    SubordinateIds,
    IdMapHelpers,
    Proc,
    Tun,
    Overlay,
    NetworkDevices,
    RootFsBuilder,
    DiskSpace,
    Memory,
    Inotify,
    Kvm,
}

/// Examines this machine. `cache` is where root file systems and images go; it need not exist yet.
pub fn examine(cache: &Path) -> Vec<Check> {
    examine_facts(&Facts::gather(cache))
}

/// The same for given facts.
pub fn examine_facts(facts: &Facts) -> Vec<Check> {
    checks::ALL
        .iter()
        .filter_map(|rule| rule.apply(facts))
        .collect()
}

/// The finding behind a failed step of boot, if there is one.
pub fn explain(step: Step) -> Option<Check> {
    let suspects = suspects(step);
    if suspects.is_empty() {
        return None;
    }
    // The cache plays no part in any step.
    let mut found: Vec<Check> = examine(Path::new("/"))
        .into_iter()
        .filter(|check| check.status == Status::Failed)
        .collect();
    suspects.iter().find_map(|id| {
        let index = found.iter().position(|check| check.id == *id)?;
        Some(found.swap_remove(index))
    })
}

/// What may be behind a failed step, likeliest first.
fn suspects(step: Step) -> &'static [CheckId] {
    use CheckId as Id;
    match step {
        Step::UserNamespace => &[Id::UserNamespaces, Id::Namespaces, Id::AppArmor],
        Step::IdMaps => &[Id::IdMapHelpers, Id::SubordinateIds, Id::AppArmor],
        // With AppArmor's restriction the user namespace is made, but is worth nothing.
        Step::Namespaces => &[Id::AppArmor, Id::Privileges, Id::Namespaces],
        Step::Proc | Step::Sys => &[Id::Proc, Id::AppArmor, Id::Privileges],
        Step::Tree | Step::PivotRoot => &[Id::AppArmor, Id::Privileges],
        Step::Overlay => &[Id::Overlay, Id::AppArmor, Id::Privileges],
        Step::Tun => &[Id::Tun],
        Step::Handshake
        | Step::SingleThread
        | Step::Fork
        | Step::Devices
        | Step::Cache
        | Step::Runtime => &[],
    }
}
