//! Built-in objects as Go would write them: what is empty and may be left out is left out, what may not is null where
//! Go has nil, quantities are canonical.

use serde_json::Value;

use super::builtin::QUANTITY;
use super::node::{Additional, Arena, Node, NodeId, Type};
use super::quantity;

pub(super) fn normalise(arena: &Arena, root: NodeId, object: &mut Value) {
    visit(arena, &arena[root], object);
}

fn visit(arena: &Arena, node: &Node, value: &mut Value) {
    if node.name.as_deref() == Some(QUANTITY) {
        quantity::canonicalise(value);
        return;
    }
    match value {
        Value::Object(map) => {
            map.retain(|name, value| {
                node.properties.get(name).is_none_or(|id| {
                    // An empty managedFields asks for ownership to be forgotten.
                    arena[*id].write_null
                        || name == "managedFields"
                        || !left_out(&arena[*id], value)
                })
            });
            for (name, id) in &node.properties {
                let property = &arena[*id];
                let nothing = |value: &Value| is_collection(property) && hollow(value);
                if property.write_null && map.get(name).is_none_or(nothing) {
                    map.insert(name.clone(), Value::Null);
                }
            }
            for (name, value) in map {
                if let Some(id) = node.properties.get(name) {
                    visit(arena, &arena[*id], value);
                } else if let Additional::Schema(id) = node.additional {
                    visit(arena, &arena[id], value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(element) = node.items {
                for item in items {
                    visit(arena, &arena[element], item);
                }
            }
        }
        _ => {}
    }
}

fn is_collection(node: &Node) -> bool {
    node.ty == Type::Array || matches!(node.additional, Additional::Schema(_))
}

fn hollow(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether Go leaves a field out when it has this value.
fn left_out(node: &Node, value: &Value) -> bool {
    match value {
        // Structs behind pointers are written even when they are empty.
        Value::Array(_) | Value::Object(_) => is_collection(node) && hollow(value),
        Value::Bool(b) => node.omit_zero && !b,
        Value::String(text) => node.omit_zero && text.is_empty(),
        Value::Number(number) => node.omit_zero && number.as_f64() == Some(0.0),
        Value::Null => false,
    }
}
