//! Uniqueness in lists of type set and map.

use serde_json::{Map, Value};

use super::error::FieldError;
use super::node::{Additional, Arena, ListType, Node, NodeId};
use super::path;

pub(super) fn validate(arena: &Arena, root: NodeId, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    visit(arena, &arena[root], object, "", &mut errors);
    errors
}

fn visit(arena: &Arena, node: &Node, value: &Value, at: &str, errors: &mut Vec<FieldError>) {
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
            match &node.list_type {
                Some(ListType::Set) => {
                    let keys: Vec<&Value> = items.iter().collect();
                    for i in repeated(&keys) {
                        errors.push(FieldError::duplicate(path::index(at, i), &items[i]));
                    }
                }
                Some(ListType::Map(keys)) => unique_keys(keys, items, at, errors),
                Some(ListType::Atomic) | None => {}
            }
            if let Some(element) = node.items {
                for (i, item) in items.iter().enumerate() {
                    visit(arena, &arena[element], item, &path::index(at, i), errors);
                }
            }
        }
        _ => {}
    }
}

fn unique_keys(keys: &[String], items: &[Value], at: &str, errors: &mut Vec<FieldError>) {
    let wrong = items
        .iter()
        .position(|item| !item.is_object() && !item.is_null());
    if let Some(i) = wrong {
        let detail = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(path::index(at, i), &items[i], detail));
        return;
    }
    let identities: Vec<Value> = items
        .iter()
        .map(|item| {
            let identity: Map<String, Value> = keys
                .iter()
                .filter_map(|key| Some((key.clone(), item.get(key)?.clone())))
                .collect();
            identity.into()
        })
        .collect();
    let borrowed: Vec<&Value> = identities.iter().collect();
    for i in repeated(&borrowed) {
        errors.push(FieldError::duplicate(path::index(at, i), &identities[i]));
    }
}

/// Where a value occurs for the second time; further occurrences are not told.
fn repeated(values: &[&Value]) -> Vec<usize> {
    (0..values.len())
        .filter(|&i| values[..i].iter().filter(|v| **v == values[i]).count() == 1)
        .collect()
}
