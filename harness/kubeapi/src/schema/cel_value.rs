//! From JSON to CEL values, by schema: numbers, dates, durations and bytes get their types, field names are escaped.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use chrono::{DateTime, NaiveDate};
use kube_cel::cel::Value as Cel;
use kube_cel::cel::objects::{Key, Map};
use serde_json::{Number, Value};

use super::node::{Additional, Arena, Node, Type};

/// Words that are no identifiers in CEL.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

pub(super) fn convert(arena: &Arena, node: &Node, value: &Value) -> Cel {
    match value {
        Value::String(text) => string(node, text),
        Value::Number(number) => match node.ty {
            Type::Number => Cel::Float(number.as_f64().unwrap_or_default()),
            Type::Integer => integer(number),
            _ => plain(value),
        },
        Value::Array(items) => {
            let element = node.items.map(|id| &arena[id]);
            let items = items.iter().map(|item| match element {
                Some(element) => convert(arena, element, item),
                None => plain(item),
            });
            Cel::List(Arc::new(items.collect()))
        }
        Value::Object(map) => {
            let mut out = HashMap::with_capacity(map.len());
            for (name, value) in map {
                let (key, value) = match (node.properties.get(name), node.additional) {
                    (Some(id), _) => (escape(name), convert(arena, &arena[*id], value)),
                    (None, Additional::Schema(id)) => {
                        (name.clone(), convert(arena, &arena[id], value))
                    }
                    (None, _) => (name.clone(), plain(value)),
                };
                out.insert(Key::String(Arc::new(key)), value);
            }
            Cel::Map(Map { map: Arc::new(out) })
        }
        other => plain(other),
    }
}

fn plain(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(number) if number.is_f64() => Cel::Float(number.as_f64().unwrap_or_default()),
        Value::Number(number) => integer(number),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(plain).collect())),
        Value::Object(map) => Cel::Map(Map {
            map: Arc::new(
                map.iter()
                    .map(|(name, value)| (Key::String(Arc::new(name.clone())), plain(value)))
                    .collect(),
            ),
        }),
    }
}

fn integer(number: &Number) -> Cel {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(n), _, _) => Cel::Int(n),
        (None, Some(n), _) => Cel::UInt(n),
        // An integer written with a fraction of zero.
        #[allow(clippy::cast_possible_truncation)]
        (None, None, Some(n)) => Cel::Int(n as i64),
        (None, None, None) => Cel::Null,
    }
}

fn string(node: &Node, text: &str) -> Cel {
    let format = node.format.as_deref().unwrap_or_default().replace('-', "");
    let typed = match (node.ty, format.as_str()) {
        (Type::String, "datetime") => DateTime::parse_from_rfc3339(text).ok().map(Cel::Timestamp),
        (Type::String, "date") => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .ok()
            .and_then(|date| date.and_hms_opt(0, 0, 0))
            .map(|time| Cel::Timestamp(time.and_utc().fixed_offset())),
        (Type::String, "duration") => duration(text).map(Cel::Duration),
        (Type::String, "byte") => base64::engine::general_purpose::STANDARD
            .decode(text)
            .ok()
            .map(|bytes| Cel::Bytes(Arc::new(bytes))),
        _ => None,
    };
    typed.unwrap_or_else(|| Cel::String(Arc::new(text.to_owned())))
}

/// A Go duration: `1h30m`, `-2.5s`.
fn duration(text: &str) -> Option<chrono::Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(chrono::Duration::zero());
    }
    let mut nanoseconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, scale) = [
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("μs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 6e10),
            ("h", 3.6e12),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))?;
        nanoseconds += number * scale;
        rest = &rest[unit.len()..];
    }
    #[allow(clippy::cast_possible_truncation)]
    let total = chrono::Duration::nanoseconds(nanoseconds as i64);
    Some(if negative { -total } else { total })
}

/// A property's name as CEL expressions write it.
fn escape(name: &str) -> String {
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
