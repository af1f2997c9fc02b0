//! What the parts of a CustomResourceDefinition must be like.

use serde_json::Value;

use crate::object;
use crate::schema::FieldError;
use crate::validation::field;
use crate::validation::name::dns1035_label;

/// Groups of the Kubernetes project; definitions in them say who approved them.
const PROTECTED: [&str; 2] = ["k8s.io", "kubernetes.io"];
const APPROVED: &str = "api-approved.kubernetes.io";
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

pub fn approval(object: &Value, group: &str) -> Option<FieldError> {
    let protected = PROTECTED
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    let said = !object::text(object, &["metadata", "annotations", APPROVED]).is_empty();
    (protected && !said).then(|| {
        field::required(
            &format!("metadata.annotations[{APPROVED}]"),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
             https://github.com/kubernetes/enhancements/pull/1111",
        )
    })
}

pub fn names(names: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for key in ["plural", "singular"] {
        let name = object::text(names, &[key]);
        errors.extend(label(&format!("spec.names.{key}"), name));
    }
    for key in ["kind", "listKind"] {
        let kind = object::text(names, &[key]);
        let path = format!("spec.names.{key}");
        if kind.is_empty() {
            errors.push(field::required(&path, ""));
            continue;
        }
        errors.extend(dns1035_label(&kind.to_lowercase()).into_iter().map(|why| {
            let why = format!("may have mixed case, but should otherwise match: {why}");
            field::invalid(&path, kind, &why)
        }));
    }
    for key in ["shortNames", "categories"] {
        let short = object::list(names, &[key]).iter().filter_map(Value::as_str);
        errors.extend(
            short
                .enumerate()
                .flat_map(|(at, name)| label(&format!("spec.names.{key}[{at}]"), name)),
        );
    }
    errors
}

fn label(path: &str, name: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![field::required(path, "")];
    }
    let complaints = dns1035_label(name).into_iter();
    complaints
        .map(|why| field::invalid(path, name, &why))
        .collect()
}

pub fn versions(object: &Value) -> Vec<FieldError> {
    let all = object::at(object, &["spec", "versions"]);
    let versions = object::list(object, &["spec", "versions"]);
    let mut errors = Vec::new();
    let names: Vec<&str> = versions
        .iter()
        .map(|v| object::text(v, &["name"]))
        .collect();
    let stored: Vec<&str> = versions
        .iter()
        .filter(|v| is(v, "storage"))
        .map(|v| object::text(v, &["name"]))
        .collect();
    if names
        .iter()
        .enumerate()
        .any(|(at, name)| names[..at].contains(name))
    {
        errors.push(field::invalid(
            "spec.versions",
            all.clone(),
            "must contain unique version names",
        ));
    }
    if stored.len() != 1 {
        errors.push(field::invalid(
            "spec.versions",
            all.clone(),
            "must have exactly one version marked as storage version",
        ));
    }
    let kept = object::at(object, &["status", "storedVersions"]);
    match (stored.first(), stored.last()) {
        (Some(first), Some(last)) if first != last => errors.push(field::invalid(
            "status.storedVersions",
            vec![*first],
            &format!("must have the storage version {last}"),
        )),
        (None, _) if kept.is_null() => errors.push(field::invalid(
            "status.storedVersions",
            kept.clone(),
            "must have at least one stored version",
        )),
        _ => {}
    }
    if let Some(first) = names.first().filter(|name| !name.is_empty()) {
        errors.extend(label("spec.version", first));
    }
    for (at, version) in versions.iter().enumerate() {
        // What all versions have in common stands above them in upstream's internal type.
        let place = if versions.len() == 1 {
            "spec".to_owned()
        } else {
            format!("spec.versions[{at}]")
        };
        errors.extend(one_version(
            version,
            &format!("spec.versions[{at}]"),
            &place,
        ));
    }
    errors
}

/// Versions in which objects may be stored must stay.
pub fn stored_versions(new: &Value, old: &Value) -> Vec<FieldError> {
    let stored = object::list(old, &["status", "storedVersions"])
        .iter()
        .enumerate();
    let versions = object::list(new, &["spec", "versions"]);
    stored
        .filter(|(_, stored)| versions.iter().all(|v| object::at(v, &["name"]) != *stored))
        .map(|(at, stored)| {
            let name = stored.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            field::invalid(&format!("status.storedVersions[{at}]"), name, &why)
        })
        .collect()
}

fn one_version(version: &Value, path: &str, place: &str) -> Vec<FieldError> {
    let mut errors = label(&format!("{path}.name"), object::text(version, &["name"]));
    if object::at(version, &["schema", "openAPIV3Schema"]).is_null() {
        errors.push(field::required(
            &format!("{path}.schema.openAPIV3Schema"),
            "",
        ));
    }
    let warning = object::text(version, &["deprecationWarning"]);
    if !warning.is_empty() && !is(version, "deprecated") {
        errors.push(field::invalid(
            &format!("{path}.deprecationWarning"),
            warning,
            "can only be set for deprecated versions",
        ));
    }
    errors.extend(scale(
        object::at(version, &["subresources", "scale"]),
        &format!("{place}.subresources.scale"),
    ));
    let columns = object::list(version, &["additionalPrinterColumns"]).iter();
    errors.extend(
        columns
            .enumerate()
            .flat_map(|(at, one)| column(one, &format!("{place}.additionalPrinterColumns[{at}]"))),
    );
    let schema = object::at(version, &["schema", "openAPIV3Schema"]);
    for (at, selectable) in object::list(version, &["selectableFields"])
        .iter()
        .enumerate()
    {
        let json_path = object::text(selectable, &["jsonPath"]);
        if !refers_to_field(schema, json_path) {
            errors.push(field::invalid(
                &format!("{place}.selectableFields[{at}].jsonPath"),
                json_path,
                "is an invalid path: does not refer to a valid field",
            ));
        }
    }
    errors
}

fn scale(scale: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if !scale.is_object() {
        return errors;
    }
    for (key, part) in [
        ("specReplicasPath", ".spec"),
        ("statusReplicasPath", ".status"),
    ] {
        let json_path = object::text(scale, &[key]);
        let path = format!("{path}.{key}");
        if json_path.is_empty() {
            errors.push(field::required(&path, ""));
        } else if !json_path.starts_with(&format!("{part}.")) {
            let why = format!("should be a json path under {part}");
            errors.push(field::invalid(&path, json_path, &why));
        }
    }
    errors
}

fn column(column: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if object::text(column, &["name"]).is_empty() {
        errors.push(field::required(&format!("{path}.name"), ""));
    }
    match object::text(column, &["type"]) {
        "" => errors.push(field::required(&format!("{path}.type"), "")),
        kind if COLUMN_TYPES.contains(&kind) => {}
        kind => {
            let why = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(field::invalid(&format!("{path}.type"), kind, &why));
        }
    }
    match object::text(column, &["jsonPath"]) {
        "" => errors.push(field::required(&format!("{path}.JSONPath"), "")),
        json_path if json_path.starts_with('.') => {}
        json_path => errors.push(field::invalid(
            &format!("{path}.JSONPath"),
            json_path,
            "must be a simple json path starting with .",
        )),
    }
    errors
}

/// Whether a path of fields leads to a field of a schema.
fn refers_to_field(schema: &Value, json_path: &str) -> bool {
    let mut keys = json_path.split('.').filter(|key| !key.is_empty());
    if json_path.starts_with(".metadata.") {
        return true;
    }
    keys.try_fold(schema, |schema, key| schema.get("properties")?.get(key))
        .is_some()
}

pub fn conversion(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let conversion = object::at(spec, &["conversion"]);
    if object::text(conversion, &["strategy"]) != "Webhook" {
        return errors;
    }
    if object::at(conversion, &["webhook", "clientConfig"]).is_null() {
        errors.push(field::required(
            "spec.conversion.webhookClientConfig",
            "required when strategy is set to Webhook",
        ));
    }
    if object::list(conversion, &["webhook", "conversionReviewVersions"]).is_empty() {
        errors.push(field::required(
            "spec.conversion.conversionReviewVersions",
            "",
        ));
    }
    errors
}

fn is(version: &Value, key: &str) -> bool {
    object::at(version, &[key]) == &Value::Bool(true)
}
