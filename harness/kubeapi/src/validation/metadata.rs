//! Checks of `metadata`.

use serde_json::Value;

use super::field;
use super::name::{NameRule, dns1123_label, label_value, qualified};
use crate::object;
use crate::schema::{FieldError, Gvk};

const ANNOTATIONS_LIMIT: usize = 256 * 1024;
/// Finalizers the garbage collector works with.
pub const ORPHAN: &str = "orphan";
pub const FOREGROUND: &str = "foregroundDeletion";

/// Metadata of an object about to be created.
pub fn on_create(
    object: &Value,
    namespaced: bool,
    custom: bool,
    rule: NameRule,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let generate = object::meta(object, "generateName");
    let name = object::name(object);
    if !generate.is_empty() {
        for complaint in rule.check(generate, true) {
            errors.push(field::invalid(
                "metadata.generateName",
                generate,
                &complaint,
            ));
        }
    }
    if name.is_empty() {
        errors.push(field::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        for complaint in rule.check(name, false) {
            errors.push(field::invalid("metadata.name", name, &complaint));
        }
    }
    let namespace = object::namespace(object);
    if namespaced && namespace.is_empty() {
        errors.push(field::required("metadata.namespace", ""));
    } else if namespaced {
        for complaint in dns1123_label(namespace) {
            errors.push(field::invalid("metadata.namespace", namespace, &complaint));
        }
    }
    errors.extend(common(object));
    errors.extend(finalizers(object));
    if !custom {
        let names = object::finalizers(object);
        let names = names.into_iter().enumerate();
        errors.extend(names.filter_map(|(at, name)| {
            unknown_finalizer(name, &format!("metadata.finalizers[{at}]"))
        }));
    }
    errors
}

/// Finalizers without a domain are upstream's own.
pub fn unknown_finalizer(name: &str, path: &str) -> Option<FieldError> {
    let known = name.contains('/') || matches!(name, ORPHAN | FOREGROUND | "kubernetes");
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    (!known).then(|| field::invalid(path, name, why))
}

/// Metadata of an object about to replace another.
pub fn on_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object::is_deleting(old) {
        let before = object::finalizers(old);
        let extra: Vec<String> = object::finalizers(new)
            .into_iter()
            .filter(|f| !before.contains(f))
            .map(|f| format!("{f:?}"))
            .collect();
        if !extra.is_empty() {
            errors.push(field::forbidden(
                "metadata.finalizers",
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    extra.join(", ")
                ),
            ));
        }
    }
    for key in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let path = ["metadata", key];
        errors.extend(field::immutable(
            &path.join("."),
            object::at(new, &path),
            object::at(old, &path),
        ));
    }
    errors.extend(common(new));
    errors
}

fn common(object: &Value) -> Vec<FieldError> {
    let mut errors = labels(
        object::at(object, &["metadata", "labels"]),
        "metadata.labels",
    );
    let mut size = 0;
    for (key, value) in object::map(object, &["metadata", "annotations"])
        .into_iter()
        .flatten()
    {
        size += key.len() + value.as_str().unwrap_or_default().len();
        for complaint in qualified(&key.to_lowercase()) {
            errors.push(field::invalid(
                "metadata.annotations",
                key.as_str(),
                &complaint,
            ));
        }
    }
    if size > ANNOTATIONS_LIMIT {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_LIMIT as u64,
        ));
    }
    errors.extend(owners(object));
    errors
}

/// A map of labels, wherever it is.
pub fn labels(labels: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        for complaint in qualified(key) {
            errors.push(field::invalid(path, key.as_str(), &complaint));
        }
        let value = value.as_str().unwrap_or_default();
        for complaint in label_value(value) {
            errors.push(field::invalid(path, value, &complaint));
        }
    }
    errors
}

fn owners(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    let references = object::list(object, &["metadata", "ownerReferences"]);
    for owner in references {
        let path = "metadata.ownerReferences";
        for (key, complaint) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            let value = object::text(owner, &[key]);
            if value.is_empty() {
                errors.push(field::invalid(&format!("{path}.{key}"), value, complaint));
            }
        }
        let api_version = object::text(owner, &["apiVersion"]);
        if api_version.matches('/').count() > 1 {
            errors.push(field::invalid(
                &format!("{path}.apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        let gvk = Gvk::from_api_version(api_version, object::text(owner, &["kind"]));
        if gvk.kind == "Event" && matches!(gvk.group.as_str(), "" | "events.k8s.io") {
            let why = format!(
                "{}/{}, Kind={} is disallowed from being an owner",
                gvk.group, gvk.version, gvk.kind
            );
            errors.push(field::invalid(path, owner.clone(), &why));
        }
        if object::at(owner, &["controller"]) == &Value::Bool(true) {
            let this = format!(
                "{}/{}",
                object::text(owner, &["kind"]),
                object::text(owner, &["name"])
            );
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.push(field::invalid(
                    path,
                    references.to_vec(),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
            }
        }
    }
    errors
}

fn finalizers(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let names = object::finalizers(object);
    for name in &names {
        for complaint in qualified(name) {
            errors.push(field::invalid("metadata.finalizers", *name, &complaint));
        }
    }
    if names.contains(&ORPHAN) && names.contains(&FOREGROUND) {
        errors.push(field::invalid(
            "metadata.finalizers",
            names.clone(),
            &format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"),
        ));
    }
    errors
}
