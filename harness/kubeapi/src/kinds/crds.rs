//! CustomResourceDefinitions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, crd_rules as rules, fixed};
use crate::object;
use crate::registry;
use crate::schema::FieldError;
use crate::validation::field;
use crate::validation::name::dns1123_subdomain;

/// Finalizer that keeps a definition until its instances are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

#[derive(Debug)]
pub struct Definition;

impl Strategy for Definition {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        let kind = object::text(spec, &["names", "kind"]).to_owned();
        if !kind.is_empty() {
            let names = object::child(spec, "names");
            object::default(names, "singular", kind.to_lowercase());
            object::default(names, "listKind", format!("{kind}List"));
        }
        object::default(object::child(spec, "conversion"), "strategy", "None");
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = names_and_places(object);
        errors.extend(rules::versions(object));
        errors.extend(rules::conversion(object::at(object, &["spec"])));
        if errors.is_empty()
            && let Err(found) = registry::custom::resource(object)
        {
            errors.extend(found);
        }
        errors
    }

    /// What is missing is said above.
    fn says_what_is_required(&self) -> bool {
        true
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
        .chain(rules::stored_versions(new, old))
        .collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

/// Group, names and scope.
fn names_and_places(object: &Value) -> Vec<FieldError> {
    let spec = object::at(object, &["spec"]);
    let text = |path: &[&str]| object::text(spec, path);
    let mut errors = Vec::new();
    let (group, plural) = (text(&["group"]), text(&["names", "plural"]));
    // Only of a new one: afterwards none of the three can change.
    let new = object::resource_version(object).is_empty();
    if new && object::name(object) != format!("{plural}.{group}") {
        errors.push(field::invalid(
            "metadata.name",
            object::name(object),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    errors.extend(rules::approval(object, group));
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
    match text(&["scope"]) {
        "Namespaced" | "Cluster" => {}
        "" => errors.push(field::required("spec.scope", "")),
        scope => errors.push(field::not_supported(
            "spec.scope",
            scope,
            &["Cluster", "Namespaced"],
        )),
    }
    errors.extend(rules::names(object::at(spec, &["names"])));
    if object::at(spec, &["preserveUnknownFields"]) == &Value::Bool(true) {
        errors.push(field::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

fn complain(errors: &mut Vec<FieldError>, path: &str, value: &str, complaints: Vec<String>) {
    errors.extend(
        complaints
            .into_iter()
            .map(|complaint| field::invalid(path, value, &complaint)),
    );
}

/// The version that objects are stored in is always among those that they may be stored in.
pub fn keep_stored(crd: &mut Value) {
    let storage = storage_version(crd);
    let mut stored: Vec<Value> = object::list(crd, &["status", "storedVersions"]).to_vec();
    if !stored.iter().any(|version| version == &storage) {
        stored.push(storage.into());
    }
    object::set(crd, &["status", "storedVersions"], stored);
}

fn storage_version(crd: &Value) -> String {
    object::list(crd, &["spec", "versions"])
        .iter()
        .find(|v| object::at(v, &["storage"]) == &Value::Bool(true))
        .map(|v| object::text(v, &["name"]).to_owned())
        .unwrap_or_default()
}

/// Notes that a definition is on its way out.
pub fn terminating(crd: &mut Value, now: Timestamp) {
    let mut conditions: Vec<Value> = object::list(crd, &["status", "conditions"]).to_vec();
    conditions.push(json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": object::time(now),
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }));
    object::set(crd, &["status", "conditions"], conditions);
}

/// The status of a definition whose names were accepted: established at once.
pub fn established(crd: &mut Value, now: Timestamp) {
    let time = object::time(now);
    keep_stored(crd);
    let stored = object::at(crd, &["status", "storedVersions"]).clone();
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
