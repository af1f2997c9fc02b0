//! Resources described by CustomResourceDefinitions.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value;

use super::columns::Column;
use super::{ALL_VERBS, Behaviour, Resource, Role, ScalePaths, Subresource, VIEW_VERBS, Version};
use crate::gvk::api_version;
use crate::object;
use crate::schema::{self, FieldError, Gvk, Schema};
use crate::validation::name::NameRule;

/// The resource a definition describes; errors carry paths within the definition.
pub fn resource(crd: &Value) -> Result<Resource, Vec<FieldError>> {
    let spec = object::at(crd, &["spec"]);
    let text = |path: &[&str]| object::text(spec, path).to_owned();
    let texts = |path: &[&str]| -> Vec<String> {
        object::list(spec, path)
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let (group, plural, kind) = (
        text(&["group"]),
        text(&["names", "plural"]),
        text(&["names", "kind"]),
    );
    let schemas: Vec<&Value> = object::list(spec, &["versions"])
        .iter()
        .map(|version| object::at(version, &["schema"]))
        .collect();
    let shared = schemas.iter().all(|schema| *schema == schemas[0]);
    let mut errors: Vec<FieldError> = Vec::new();
    let mut versions = Vec::new();
    let mut stored = String::new();
    let mut known = None;
    for (index, version) in object::list(spec, &["versions"]).iter().enumerate() {
        match one_version(version, &group, &kind, known.clone()) {
            Ok(parsed) => {
                if shared {
                    known.clone_from(&parsed.schema);
                }
                if object::at(version, &["storage"]) == &Value::Bool(true) {
                    stored = api_version(&group, &parsed.name);
                }
                if object::at(version, &["served"]) == &Value::Bool(true) {
                    versions.push(parsed);
                }
            }
            Err(_) if shared && index > 0 => {}
            Err(found) => errors.extend(found.into_iter().map(|mut error| {
                // One schema for all versions stands above them in the server's internal type.
                let place = if shared {
                    "spec.validation.openAPIV3Schema".to_owned()
                } else {
                    format!("spec.versions[{index}].schema.openAPIV3Schema")
                };
                error.path = match error.path.as_str() {
                    "" => place,
                    path => format!("{place}.{path}"),
                };
                error
            })),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    versions.sort_by(|a, b| compare_versions(&b.name, &a.name));
    recommend(
        &mut versions,
        object::list(spec, &["versions"]),
        &group,
        &kind,
    );
    let or = |value: String, default: String| if value.is_empty() { default } else { value };
    Ok(Resource {
        singular: or(text(&["names", "singular"]), kind.to_lowercase()),
        list_kind: or(text(&["names", "listKind"]), format!("{kind}List")),
        short_names: texts(&["names", "shortNames"]),
        categories: texts(&["names", "categories"]),
        namespaced: text(&["scope"]) == "Namespaced",
        name_rule: NameRule::Subdomain,
        verbs: ALL_VERBS,
        versions,
        storage: format!("{plural}.{group}").into(),
        hashed_api_version: stored.clone(),
        stored_api_version: stored,
        behaviour: Behaviour::Custom,
        group,
        plural,
        kind,
    })
}

/// Deprecated versions without a warning of their own recommend the first that is not.
fn recommend(versions: &mut [Version], said: &[Value], group: &str, kind: &str) {
    let fresh = versions
        .iter()
        .find(|version| version.deprecation.is_none());
    let Some(fresh) = fresh.map(|version| api_version(group, &version.name)) else {
        return;
    };
    for version in versions {
        let own = said.iter().any(|v| {
            object::text(v, &["name"]) == version.name
                && !object::text(v, &["deprecationWarning"]).is_empty()
        });
        if let Some(warning) = version.deprecation.as_mut().filter(|_| !own) {
            *warning = format!("{warning}; use {fresh} {kind}");
        }
    }
}

/// `known` is the version's schema when another version has the same one.
fn one_version(
    version: &Value,
    group: &str,
    kind: &str,
    known: Option<Arc<Schema>>,
) -> Result<Version, Vec<FieldError>> {
    let name = object::text(version, &["name"]).to_owned();
    let open_api = object::at(version, &["schema", "openAPIV3Schema"]);
    let schema = match (known, open_api) {
        (Some(known), _) => Some(known),
        (None, Value::Null) => None,
        (None, open_api) => Some(Arc::new(schema::from_crd(open_api)?)),
    };
    let columns = object::list(version, &["additionalPrinterColumns"]);
    let mut columns: Vec<Column> = columns.iter().map(Column::from_crd).collect();
    if columns.is_empty() {
        columns.push(Column::age());
    }
    let deprecation = (object::at(version, &["deprecated"]) == &Value::Bool(true)).then(|| {
        match object::text(version, &["deprecationWarning"]) {
            "" => format!("{} {kind} is deprecated", api_version(group, &name)),
            said => said.to_owned(),
        }
    });
    Ok(Version {
        schema,
        open_api: (!open_api.is_null()).then(|| open_api.clone()),
        subresources: subresources(version, group, &name, kind),
        columns,
        deprecation,
        selectable: object::list(version, &["selectableFields"])
            .iter()
            .map(|f| {
                object::text(f, &["jsonPath"])
                    .trim_start_matches('.')
                    .to_owned()
            })
            .collect(),
        name,
    })
}

fn subresources(version: &Value, group: &str, name: &str, kind: &str) -> Vec<Subresource> {
    let mut subresources = Vec::new();
    if object::at(version, &["subresources", "status"]).is_object() {
        subresources.push(Subresource {
            name: "status".to_owned(),
            kind: Gvk::new(group, name, kind),
            verbs: VIEW_VERBS,
            role: Role::Status,
        });
    }
    let scale = object::at(version, &["subresources", "scale"]);
    if scale.is_object() {
        let path = |key: &str| json_path(object::text(scale, &[key]));
        subresources.push(Subresource {
            name: "scale".to_owned(),
            kind: Gvk::new("autoscaling", "v1", "Scale"),
            verbs: VIEW_VERBS,
            role: Role::Scale(ScalePaths {
                spec_replicas: path("specReplicasPath"),
                status_replicas: path("statusReplicasPath"),
                selector: Some(path("labelSelectorPath")).filter(|p| !p.is_empty()),
            }),
        });
    }
    subresources
}

/// `.spec.replicas` as keys.
fn json_path(path: &str) -> Vec<String> {
    path.split('.')
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Kubernetes' order of versions: v10 > v2 > v1 > v1beta2 > v1alpha1 > foo.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => b.cmp(a),
    }
}

fn rank(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let major: u32 = rest[..digits].parse().ok()?;
    let (stage, rest) = match &rest[digits..] {
        "" => return Some((2, major, 0)),
        rest if rest.starts_with("beta") => (1, &rest[4..]),
        rest if rest.starts_with("alpha") => (0, &rest[5..]),
        _ => return None,
    };
    Some((stage, major, rest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_in_discovery() {
        let mut versions = [
            "foo1", "v1alpha1", "v11beta2", "v1", "v10", "v2", "v3beta1", "foo10",
        ];
        versions.sort_by(|a, b| compare_versions(b, a));
        assert_eq!(
            versions,
            [
                "v10", "v2", "v1", "v11beta2", "v3beta1", "v1alpha1", "foo1", "foo10"
            ]
        );
    }
}
