//! What is special about each built-in kind: defaults, what a client may set, what is refused.

pub mod autoscaling;
pub mod cluster;
pub mod config;
pub mod crd_rules;
pub mod crds;
pub mod events;
pub mod extensions;
pub mod jobs;
pub mod namespaces;
pub mod nodes;
pub mod pod_spec;
pub mod pods;
pub mod policies;
pub mod services;
pub mod simple;
pub mod volumes;
pub mod workloads;

use serde_json::Value;

use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

/// The rules of a kind. All functions are pure; objects come as JSON.
pub trait Strategy: Send + Sync {
    /// Fills in what the client left out. Also applied to objects being updated.
    fn default(&self, _object: &mut Value) {}

    /// Sets what is not the client's to set on creation; runs before the defaults.
    fn prepare_create(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            map.shift_remove("status");
        }
    }

    /// Restores what an update may not change.
    fn prepare_update(&self, _new: &mut Value, _old: &Value) {}

    /// Restores what an update of the status may not change beyond everything outside `metadata` and `status`.
    fn prepare_status(&self, _new: &mut Value, _old: &Value) {}

    /// Checks beyond the schema.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether [`Strategy::validate`] says which fields are required, so that the schema need not.
    fn says_what_is_required(&self) -> bool {
        false
    }

    /// Checks of a change, beyond [`Strategy::validate`] of the new state.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether `metadata.generation` counts changes.
    fn counts_generation(&self) -> bool {
        false
    }

    /// The grace period of a deletion when the client asked for `asked`; None for kinds without one.
    fn grace_period(&self, _object: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether deletion answers with the object instead of a Status.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Whether a change without a resourceVersion is accepted.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Whether PUT of a missing object creates it.
    fn allows_create_on_update(&self) -> bool {
        false
    }
}

/// A kind without rules of its own.
#[derive(Debug)]
pub struct Plain;
impl Strategy for Plain {}

/// A kind without rules of its own whose generation counts.
#[derive(Debug)]
pub struct Counted;
impl Strategy for Counted {
    fn counts_generation(&self) -> bool {
        true
    }
}

/// A kind without rules of its own whose deletion answers with the object.
#[derive(Debug)]
pub struct ReturnsDeleted;
impl Strategy for ReturnsDeleted {
    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Instances of CustomResourceDefinitions.
#[derive(Debug)]
pub struct Custom;
impl Strategy for Custom {
    /// Whether a status may be set on creation depends on the version's subresources, so the caller decides.
    fn prepare_create(&self, _object: &mut Value) {}

    fn counts_generation(&self) -> bool {
        true
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }
}

/// Puts back one field of an old object, or takes it away.
pub(crate) fn restore(new: &mut Value, old: &Value, path: &[&str]) {
    match object::at(old, path) {
        Value::Null => {
            object::remove(new, path);
        }
        value => object::set(new, path, value.clone()),
    }
}

/// An error when the value at a path changed.
pub(crate) fn fixed(new: &Value, old: &Value, path: &[&str]) -> Option<FieldError> {
    field::immutable(
        &path.join("."),
        object::at(new, path),
        object::at(old, path),
    )
}
