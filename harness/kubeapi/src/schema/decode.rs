//! Type errors of built-in kinds, in the words of Go's JSON decoder.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::builtin::QUANTITY;
use super::error::{DecodeError, FieldError};
use super::node::{Additional, Arena, Node, NodeId, Type};
use super::{formats, go, path};

/// Checks that every value fits the Go type behind its node; the first that does not is the error.
pub(super) fn check(arena: &Arena, root: NodeId, object: &Value) -> Result<(), DecodeError> {
    Decoder { arena }.value(&arena[root], object, &Place::default())
}

/// Checks the metadata of a custom resource and of resources embedded in it.
pub(super) fn check_metadata(
    arena: &Arena,
    root: NodeId,
    object: &Value,
) -> Result<(), DecodeError> {
    metadata(arena, &arena[root], object, "")
}

fn metadata(arena: &Arena, node: &Node, value: &Value, at: &str) -> Result<(), DecodeError> {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let place = path::child(at, name);
                let id = match (node.properties.get(name), node.additional) {
                    (Some(id), _) => *id,
                    (None, Additional::Schema(id)) => id,
                    (None, _) => continue,
                };
                if node.embedded && name == "metadata" {
                    check(arena, id, value).map_err(|e| {
                        if at.is_empty() {
                            e
                        } else {
                            DecodeError(FieldError::invalid(place, value, &e.0).to_string())
                        }
                    })?;
                } else {
                    metadata(arena, &arena[id], value, &place)?;
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let Some(element) = node.items else {
                return Ok(());
            };
            items.iter().enumerate().try_for_each(|(i, item)| {
                metadata(arena, &arena[element], item, &path::index(at, i))
            })
        }
        _ => Ok(()),
    }
}

/// Where Go says it is: the innermost struct and the path of field names (without indices) from the root.
#[derive(Debug, Clone, Default)]
struct Place {
    structure: String,
    field: String,
}

struct Decoder<'a> {
    arena: &'a Arena,
}

impl Decoder<'_> {
    fn value(&self, node: &Node, value: &Value, place: &Place) -> Result<(), DecodeError> {
        if value.is_null() {
            return Ok(());
        }
        if node.name.as_deref() == Some(QUANTITY) {
            return quantity(value);
        }
        if node.preserve_unknown {
            return Ok(());
        }
        match (node.ty, value) {
            (Type::Any, _)
            | (Type::Boolean, Value::Bool(_))
            | (Type::Number, Value::Number(_))
            | (Type::IntOrString, Value::String(_)) => Ok(()),
            (Type::Object, Value::Object(map)) => map
                .iter()
                .try_for_each(|(name, value)| self.field(node, name, value, place)),
            (Type::Array, Value::Array(items)) => {
                let Some(element) = node.items else {
                    return Ok(());
                };
                items
                    .iter()
                    .try_for_each(|item| self.value(&self.arena[element], item, place))
            }
            (Type::String, Value::String(text)) => string(node, text),
            (Type::Integer, Value::Number(number)) => {
                let fits = match node.format.as_deref() {
                    Some("int32") => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                    _ => number.as_i64().is_some(),
                };
                if fits {
                    Ok(())
                } else {
                    Err(mismatch(
                        &format!("number {number}"),
                        &self.go_type(node),
                        place,
                    ))
                }
            }
            // intstr decodes into an int32 when it is no string.
            (Type::IntOrString, Value::Number(number)) => {
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) {
                    Ok(())
                } else {
                    Err(mismatch(&format!("number {number}"), "int32", place))
                }
            }
            (Type::IntOrString, other) => Err(mismatch(kind(other), "int32", place)),
            (_, other) => Err(mismatch(kind(other), &self.go_type(node), place)),
        }
    }

    fn field(
        &self,
        node: &Node,
        name: &str,
        value: &Value,
        place: &Place,
    ) -> Result<(), DecodeError> {
        let (id, place) = match (node.properties.get(name), node.additional) {
            (Some(id), _) => {
                let place = Place {
                    structure: node.name.as_deref().map_or_else(String::new, type_name),
                    field: path::child(&place.field, name),
                };
                (*id, place)
            }
            (None, Additional::Schema(id)) => (id, place.clone()),
            (None, _) => return Ok(()),
        };
        self.value(&self.arena[id], value, &place)
    }

    fn go_type(&self, node: &Node) -> String {
        if let Some(name) = &node.name {
            return qualified(name);
        }
        let element = |id: NodeId| self.go_type(&self.arena[id]);
        match node.ty {
            Type::Boolean => "bool".to_owned(),
            Type::Number => "float64".to_owned(),
            Type::Integer => node.format.clone().unwrap_or_else(|| "int64".to_owned()),
            Type::String if node.format.as_deref() == Some("byte") => "[]uint8".to_owned(),
            Type::String => "string".to_owned(),
            Type::IntOrString => "intstr.IntOrString".to_owned(),
            Type::Array => format!("[]{}", node.items.map_or_else(String::new, element)),
            Type::Object => match node.additional {
                Additional::Schema(id) => format!("map[string]{}", element(id)),
                _ => "map[string]interface {}".to_owned(),
            },
            Type::Any => "interface {}".to_owned(),
        }
    }
}

fn mismatch(what: &str, go_type: &str, place: &Place) -> DecodeError {
    if place.field.is_empty() {
        return DecodeError(format!(
            "json: cannot unmarshal {what} into Go value of type {go_type}"
        ));
    }
    DecodeError(format!(
        "json: cannot unmarshal {what} into Go struct field {}.{} of type {go_type}",
        place.structure, place.field
    ))
}

/// `v1.PodSpec` of `io.k8s.api.core.v1.PodSpec`.
fn qualified(name: &str) -> String {
    let mut parts = name.rsplit('.');
    let last = parts.next().unwrap_or_default();
    match parts.next() {
        Some(package) => format!("{package}.{last}"),
        None => last.to_owned(),
    }
}

fn type_name(name: &str) -> String {
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn string(node: &Node, text: &str) -> Result<(), DecodeError> {
    match node.format.as_deref() {
        Some("date-time") if formats::known("date-time").is_some_and(|ok| !ok(text)) => {
            Err(DecodeError(format!(
                "parsing time {} as \"2006-01-02T15:04:05Z07:00\": cannot parse {} as \"2006\"",
                go::quoted(text),
                go::quoted(text)
            )))
        }
        Some("byte") => match illegal_base64(text) {
            Some(offset) => Err(DecodeError(format!(
                "illegal base64 data at input byte {offset}"
            ))),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The offset Go's decoder complains about. Line breaks do not count as data.
fn illegal_base64(text: &str) -> Option<usize> {
    let data: Vec<(usize, u8)> = text
        .bytes()
        .enumerate()
        .filter(|(_, b)| *b != b'\n' && *b != b'\r')
        .collect();
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let end = data
        .iter()
        .position(|(_, b)| !is_digit(*b))
        .unwrap_or(data.len());
    let padding = (4 - end % 4) % 4;
    let rest = &data[end..];
    let padded = padding <= 2 && rest.len() == padding && rest.iter().all(|(_, b)| *b == b'=');
    if padded {
        None
    } else {
        Some(rest.first().map_or(text.len(), |(offset, _)| *offset))
    }
}

static QUANTITY_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?$",
    )
    .expect("a constant expression")
});

fn quantity(value: &Value) -> Result<(), DecodeError> {
    let fits = match value {
        Value::String(text) => QUANTITY_TEXT.is_match(text),
        Value::Number(_) => true,
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(DecodeError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                .to_owned(),
        ))
    }
}
