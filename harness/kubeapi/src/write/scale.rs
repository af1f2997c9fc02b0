//! The scale subresource: a small object in front of a field of another.

use serde_json::{Map, Value, json};

use super::create::Ownership;
use super::metadata::require_name;
use super::{Outcome, Part, Write};
use crate::object;
use crate::registry::ScalePaths;
use crate::schema::Gvk;
use crate::status::Status;
use crate::validation::field;

fn keys(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

/// The Scale of an object.
pub fn show(object: &Value, paths: &ScalePaths) -> Value {
    let number = |path: &[String]| object::integer(object, &keys(path)).unwrap_or(0);
    let mut metadata = Map::new();
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        let value = object::at(object, &["metadata", key]);
        if !value.is_null() {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = paths
        .selector
        .as_ref()
        .map(|path| selector_text(object::at(object, &keys(path))))
        .unwrap_or_default();
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(&paths.spec_replicas)}, "status": status,
    })
}

/// A label selector (object or text) as text.
pub fn selector_text(selector: &Value) -> String {
    if let Some(text) = selector.as_str() {
        return text.to_owned();
    }
    let exact = selector.get("matchLabels").or_else(|| {
        // A ReplicationController's selector is a plain map.
        selector
            .get("matchExpressions")
            .is_none()
            .then_some(selector)
    });
    let mut terms: Vec<String> = exact
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    for expression in object::list(selector, &["matchExpressions"]) {
        let key = object::text(expression, &["key"]);
        let values: Vec<&str> = object::list(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        terms.push(match object::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.sort();
    terms.join(",")
}

/// A custom resource whose field is missing has no Scale.
pub fn check(object: &Value, paths: &ScalePaths) -> Result<(), Status> {
    if object::at(object, &keys(&paths.spec_replicas)).is_null() {
        let path = paths.spec_replicas.join(".");
        return Err(Status::internal(&format!(
            "the spec replicas field \".{path}\" does not exist"
        )));
    }
    Ok(())
}

/// The kind of the subresource's object.
pub fn gvk() -> Gvk {
    Gvk::new("autoscaling", "v1", "Scale")
}

impl Write<'_> {
    /// Sets the number of replicas from a Scale computed from the current one.
    pub async fn scale(
        &self,
        name: &str,
        paths: &ScalePaths,
        make: impl Fn(&Value) -> Result<Value, Status> + Send + Sync,
    ) -> Result<Outcome, Status> {
        self.change(name, Part::View("scale"), Ownership::Note, |current| {
            let mut scale = make(&show(current, paths))?;
            let version = object::resource_version(&scale);
            if !version.is_empty() && version != object::resource_version(current) {
                return Err(Status::modified(self.group(), self.plural(), name));
            }
            require_name(&mut scale, name)?;
            let replicas = object::integer(&scale, &["spec", "replicas"]).unwrap_or(0);
            if replicas < 0 && self.served.resource.is_custom() {
                let path = format!(".{}", paths.spec_replicas.join("."));
                let error = field::invalid(&path, replicas, "should be a non-negative integer");
                let kind = &self.served.resource.kind;
                return Err(Status::invalid(self.group(), kind, name, &[error]));
            }
            if replicas < 0 {
                let error = field::invalid(
                    "spec.replicas",
                    replicas,
                    "must be greater than or equal to 0",
                );
                return Err(Status::invalid("autoscaling", "Scale", name, &[error]));
            }
            let mut new = current.clone();
            object::set(&mut new, &keys(&paths.spec_replicas), replicas);
            Ok(new)
        })
        .await
    }
}
