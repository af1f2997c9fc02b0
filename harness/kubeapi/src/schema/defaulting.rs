//! Defaulting: nulls that mean nothing are dropped, missing fields get their schema's default.

use serde_json::Value;

use super::node::{Additional, Arena, Node, NodeId};

pub(super) fn default(arena: &Arena, root: NodeId, object: &mut Value) {
    fill(arena, &arena[root], object);
}

fn fill(arena: &Arena, node: &Node, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let field = |name: &str| {
                let id = node
                    .properties
                    .get(name)
                    .copied()
                    .or(match node.additional {
                        Additional::Schema(id) => Some(id),
                        _ => None,
                    })?;
                Some(&arena[id])
            };
            map.retain(|name, value| {
                !value.is_null() || field(name).is_none_or(|f| f.nullable || f.default.is_some())
            });
            for (name, id) in &node.properties {
                let property = &arena[*id];
                let Some(default) = &property.default else {
                    continue;
                };
                let wanted = match map.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !property.nullable,
                };
                if wanted {
                    map.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in &mut *map {
                if let Some(field) = field(name) {
                    replace_null(field, value);
                    fill(arena, field, value);
                }
            }
        }
        Value::Array(items) => {
            let Some(element) = node.items.map(|id| &arena[id]) else {
                return;
            };
            for item in items {
                replace_null(element, item);
                fill(arena, element, item);
            }
        }
        _ => {}
    }
}

fn replace_null(node: &Node, value: &mut Value) {
    if value.is_null()
        && !node.nullable
        && let Some(default) = &node.default
    {
        *value = default.clone();
    }
}
