//! What built-in kinds must say. Their full validation is program text upstream; this is the part their schema knows:
//! required fields of what users write (not of status, where Go writes zeroes).

use serde_json::Value;

use super::error::FieldError;
use super::node::{Additional, Arena, Node, NodeId, Type};
use super::path;

/// Lists that are required in the schema but may well be empty.
const MAY_BE_EMPTY: [&str; 5] = [
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.ClusterRole",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Condition",
    // Checked with the schema it is part of.
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.ValidationRule",
];

pub(super) fn validate(arena: &Arena, root: NodeId, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(arena, &arena[root], object, "", &mut errors);
    errors
}

fn visit(arena: &Arena, node: &Node, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            let lenient = node
                .name
                .as_deref()
                .is_some_and(|name| MAY_BE_EMPTY.contains(&name));
            for name in node.required.iter().filter(|_| !lenient) {
                let Some(property) = node.properties.get(name).map(|id| &arena[*id]) else {
                    continue;
                };
                if missing(property, map.get(name)) {
                    errors.push(FieldError::required(path::child(at, name), ""));
                }
            }
            for (name, value) in map {
                if at.is_empty() && (name == "status" || name == "metadata") {
                    continue;
                }
                if let Some(id) = node.properties.get(name) {
                    visit(arena, &arena[*id], value, &path::child(at, name), errors);
                } else if let Additional::Schema(id) = node.additional {
                    visit(arena, &arena[id], value, &path::key(at, name), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(element) = node.items {
                for (i, item) in items.iter().enumerate() {
                    visit(arena, &arena[element], item, &path::index(at, i), errors);
                }
            }
        }
        _ => {}
    }
}

/// Go cannot tell an empty string or list from a missing one; numbers and booleans always have a value.
fn missing(property: &Node, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => !matches!(
            property.ty,
            Type::Integer | Type::Number | Type::Boolean | Type::IntOrString
        ),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}
