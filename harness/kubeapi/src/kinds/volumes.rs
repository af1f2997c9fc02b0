//! PersistentVolumes, their claims and storage classes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, fixed};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

#[derive(Debug)]
pub struct Claim;

impl Strategy for Claim {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Pending"});
    }

    fn default(&self, object: &mut Value) {
        object::default(object::child(object, "spec"), "volumeMode", "Filesystem");
        object::default(object::child(object, "status"), "phase", "Pending");
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if object::list(object, &["spec", "accessModes"]).is_empty() {
            errors.push(field::required(
                "spec.accessModes",
                "at least 1 access mode is required",
            ));
        }
        if object::at(object, &["spec", "resources", "requests", "storage"]).is_null() {
            errors.push(field::required("spec.resources[storage]", ""));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        claim_spec_change(new, old).into_iter().collect()
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Only the requested size, the attributes class and (while unbound) the volume name may change.
fn claim_spec_change(new: &Value, old: &Value) -> Option<FieldError> {
    let mut before = object::at(old, &["spec"]).clone();
    let after = object::at(new, &["spec"]);
    for path in [
        &["resources", "requests"][..],
        &["volumeAttributesClassName"],
    ] {
        super::restore(&mut before, after, path);
    }
    if object::text(&before, &["volumeName"]).is_empty() {
        super::restore(&mut before, after, &["volumeName"]);
    }
    (&before != after).then(|| {
        field::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        )
    })
}

#[derive(Debug)]
pub struct Volume;

impl Strategy for Volume {
    fn prepare_create(&self, object: &mut Value) {
        let now = object::time(Timestamp::now());
        object["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": now});
    }

    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        object::default(spec, "persistentVolumeReclaimPolicy", "Retain");
        object::default(spec, "volumeMode", "Filesystem");
        if let Some(host) = spec.get_mut("hostPath") {
            object::default(host, "type", "");
        }
        object::default(object::child(object, "status"), "phase", "Pending");
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct StorageClass;

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        object::default(object, "reclaimPolicy", "Delete");
        object::default(object, "volumeBindingMode", "Immediate");
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        [
            &["provisioner"][..],
            &["parameters"],
            &["reclaimPolicy"],
            &["volumeBindingMode"],
        ]
        .into_iter()
        .filter_map(|path| fixed(new, old, path))
        .collect()
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
