//! Working on Kubernetes objects of any kind.

pub(crate) mod apply;
pub(crate) mod catalogue;
pub(crate) mod delete;
pub(crate) mod ledger;
pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod watch;

/// The owner of the fields that scenarios set.
pub(crate) const FIELD_MANAGER: &str = "trunkline";

/// Carries the id of the run that created an object, on every object it created.
pub const RUN_LABEL: &str = "trunkline.dev/run";

/// Carries the name of the scenario that created an object.
pub const SCENARIO_LABEL: &str = "trunkline.dev/scenario";
