//! CustomResourceDefinitions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, fixed};
use crate::object;
use crate::registry;
use crate::schema::FieldError;
use crate::validation::field;
use crate::validation::name::{dns1035_label, dns1123_subdomain};

/// Finalizer that keeps a definition until its instances are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

#[derive(Debug)]
pub struct Definition;

impl Strategy for Definition {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        let kind = object::text(spec, &["names", "kind"]).to_owned();
        let names = object::child(spec, "names");
        object::default(names, "singular", kind.to_lowercase());
        object::default(names, "listKind", format!("{kind}List"));
        object::default(object::child(spec, "conversion"), "strategy", "None");
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let spec = object::at(object, &["spec"]);
        let text = |path: &[&str]| object::text(spec, path);
        let mut errors = Vec::new();
        let (group, plural) = (text(&["group"]), text(&["names", "plural"]));
        if group.is_empty() {
            errors.push(field::required("spec.group", ""));
        } else if !group.contains('.') {
            errors.push(field::invalid(
                "spec.group",
                group,
                "should be a domain with at least one dot",
            ));
        } else {
            complain(&mut errors, "spec.group", group, dns1123_subdomain(group));
        }
        complain(
            &mut errors,
            "spec.names.plural",
            plural,
            dns1035_label(plural),
        );
        if text(&["names", "kind"]).is_empty() {
            errors.push(field::required("spec.names.kind", ""));
        }
        let expected = format!("{plural}.{group}");
        if object::name(object) != expected {
            errors.push(field::invalid(
                "metadata.name",
                object::name(object),
                "must be spec.names.plural+\".\"+spec.group",
            ));
        }
        if !matches!(text(&["scope"]), "Namespaced" | "Cluster") {
            errors.push(field::not_supported(
                "spec.scope",
                text(&["scope"]),
                &["Cluster", "Namespaced"],
            ));
        }
        errors.extend(version_errors(object::list(spec, &["versions"])));
        if let Err(found) = registry::custom::resource(object) {
            errors.extend(found);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        [
            &["spec", "group"][..],
            &["spec", "scope"],
            &["spec", "names", "plural"],
            &["spec", "names", "kind"],
        ]
        .into_iter()
        .filter_map(|path| fixed(new, old, path))
        .collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

fn complain(errors: &mut Vec<FieldError>, path: &str, value: &str, complaints: Vec<String>) {
    errors.extend(
        complaints
            .into_iter()
            .map(|complaint| field::invalid(path, value, &complaint)),
    );
}

fn version_errors(versions: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let is = |version: &Value, key: &str| object::at(version, &[key]) == &Value::Bool(true);
    let storage = versions.iter().filter(|v| is(v, "storage")).count();
    if storage != 1 {
        errors.push(field::invalid(
            "spec.versions",
            versions.to_vec(),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        if object::at(version, &["schema", "openAPIV3Schema"]).is_null() {
            errors.push(field::required(
                &format!("spec.versions[{index}].schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
    }
    errors
}

/// The status of a definition whose names were accepted: established at once.
pub fn established(crd: &mut Value, now: Timestamp) {
    let time = object::time(now);
    let storage = object::list(crd, &["spec", "versions"])
        .iter()
        .find(|v| object::at(v, &["storage"]) == &Value::Bool(true))
        .map(|v| object::text(v, &["name"]).to_owned())
        .unwrap_or_default();
    let mut stored: Vec<Value> = object::list(crd, &["status", "storedVersions"]).to_vec();
    if !stored.iter().any(|version| version == &storage) {
        stored.push(storage.into());
    }
    let since = |kind: &str| {
        object::list(crd, &["status", "conditions"])
            .iter()
            .find(|c| object::text(c, &["type"]) == kind)
            .map_or(time.clone(), |c| {
                object::text(c, &["lastTransitionTime"]).to_owned()
            })
    };
    let conditions = json!([
        {"type": "NamesAccepted", "status": "True", "lastTransitionTime": since("NamesAccepted"),
         "reason": "NoConflicts", "message": "no conflicts found"},
        {"type": "Established", "status": "True", "lastTransitionTime": since("Established"),
         "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
    ]);
    let names = object::at(crd, &["spec", "names"]).clone();
    crd["status"] =
        json!({"conditions": conditions, "acceptedNames": names, "storedVersions": stored});
}
