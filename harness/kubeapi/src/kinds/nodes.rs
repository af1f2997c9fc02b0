//! Nodes.

use serde_json::Value;

use super::Strategy;
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

#[derive(Debug)]
pub struct Node;

impl Strategy for Node {
    /// A kubelet registers its node with a status.
    fn prepare_create(&self, _object: &mut Value) {}

    fn default(&self, object: &mut Value) {
        let status = object::child(object, "status");
        if object::at(status, &["allocatable"]).is_null()
            && !object::at(status, &["capacity"]).is_null()
        {
            status["allocatable"] = status["capacity"].clone();
        }
        // The old field and the new one say the same.
        let spec = object::child(object, "spec");
        let (one, all) = (
            object::text(spec, &["podCIDR"]).to_owned(),
            object::list(spec, &["podCIDRs"]).to_vec(),
        );
        match all.first() {
            None if !one.is_empty() => spec["podCIDRs"] = vec![one].into(),
            Some(first) if one.is_empty() => spec["podCIDR"] = first.clone(),
            _ => {}
        }
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let path = ["spec", "podCIDR"];
        let (new, old) = (object::text(new, &path), object::text(old, &path));
        if !old.is_empty() && new != old {
            return vec![field::forbidden(
                "spec.podCIDRs",
                "node updates may not change podCIDR except from \"\" to valid",
            )];
        }
        Vec::new()
    }
}
