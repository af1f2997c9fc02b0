//! Namespaces.

use serde_json::{Value, json};

use super::{Strategy, restore};
use crate::object;
use crate::schema::FieldError;
use crate::validation::metadata::unknown_finalizer;

/// Finalizer in `spec.finalizers` that the namespace controller removes when the namespace is empty.
pub const FINALIZER: &str = "kubernetes";
/// Label with the namespace's own name.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Debug)]
pub struct Namespace;

impl Strategy for Namespace {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Active"});
        let finalizers = object::child(object, "spec");
        let mut names: Vec<Value> = object::list(finalizers, &["finalizers"]).to_vec();
        if !names.iter().any(|name| name == FINALIZER) {
            names.push(FINALIZER.into());
        }
        finalizers["finalizers"] = Value::Array(names);
    }

    fn default(&self, object: &mut Value) {
        let name = object::name(object).to_owned();
        if !name.is_empty() {
            object::set(object, &["metadata", "labels", NAME_LABEL], name);
        }
        object::default(object::child(object, "status"), "phase", "Active");
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        object::list(object, &["spec", "finalizers"])
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|name| unknown_finalizer(name, "spec.finalizers"))
            .collect()
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        restore(new, old, &["spec"]);
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
