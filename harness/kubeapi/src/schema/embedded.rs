//! Resources inside resources (`x-kubernetes-embedded-resource`): type and metadata must be those of an object.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::error::FieldError;
use super::node::{Additional, Arena, Node, NodeId};
use super::path;

pub(super) fn validate(arena: &Arena, root: NodeId, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    // The root is an object the server has checked already.
    fields(arena, &arena[root], object, "", &mut errors);
    errors
}

fn visit(arena: &Arena, node: &Node, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    if let (true, Value::Object(map)) = (node.embedded, value) {
        resource(map, at, errors);
    }
    fields(arena, node, value, at, errors);
}

fn fields(arena: &Arena, node: &Node, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
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

static KIND: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").expect("a constant expression"));

fn resource(map: &Map<String, Value>, at: &str, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let at = path::child(at, name);
        match map.get(name) {
            None => errors.push(FieldError::required(at, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(at, &map[name], "must not be empty"));
            }
            Some(Value::String(text)) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let detail = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(at, &map[name], &detail));
                }
            }
            Some(Value::String(text)) => {
                let lower = text.to_lowercase();
                if !KIND.is_match(&lower) || lower.len() > 63 {
                    errors.push(FieldError::invalid(
                        at,
                        &map[name],
                        "may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower \
                         case alphanumeric characters or '-', start with an alphabetic character, and end with an \
                         alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                         '[a-z]([-a-z0-9]*[a-z0-9])?')",
                    ));
                }
            }
            Some(other) => errors.push(FieldError::invalid(at, other, "must be a string")),
        }
    }
    if let Some(metadata) = map.get("metadata").filter(|m| !m.is_object()) {
        errors.push(FieldError::invalid(
            path::child(at, "metadata"),
            metadata,
            "must be an object",
        ));
    }
}
