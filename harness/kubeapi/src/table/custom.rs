//! Custom resources, by their definitions' columns.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::object;
use crate::registry::columns::Column;

pub fn heads(columns: &[Column]) -> Value {
    let name = json!({
        "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace.",
    });
    std::iter::once(name)
        .chain(columns.iter().map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": description(column),
                "priority": column.priority,
            })
        }))
        .collect()
}

fn description(column: &Column) -> String {
    if column.description.is_empty() {
        return format!(
            "Custom resource definition column (in JSONPath format): {}",
            column.json_path
        );
    }
    column.description.clone()
}

pub fn cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    std::iter::once(object::name(object).into())
        .chain(columns.iter().map(|column| cell(column, object, now)))
        .collect()
}

fn cell(column: &Column, object: &Value, now: Timestamp) -> Value {
    let found = lookup(object, &column.json_path);
    match (column.kind.as_str(), found.as_slice()) {
        (_, []) => Value::Null,
        ("date", [value, ..]) => match value.as_str() {
            Some(time) => age::since(time, now).into(),
            None => Value::Null,
        },
        ("integer" | "number" | "boolean", [value, ..]) => (*value).clone(),
        // Of several values the first is shown, as upstream does.
        (_, [value, ..]) => text(value).into(),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What a Kubernetes JSON path (`.spec.nodes[*].name`, `.status.conditions[?(@.type=="Ready")].status`) finds.
fn lookup<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim();
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = closing(inner) else {
                return Vec::new();
            };
            found = found
                .into_iter()
                .flat_map(|value| select(value, inner[..end].trim()))
                .collect();
            rest = &inner[end + 1..];
            continue;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (key, after) = key(rest);
        rest = after;
        if !key.is_empty() {
            found = found
                .into_iter()
                .filter_map(|value| value.get(&key))
                .collect();
        }
    }
    found
}

/// The next key of a path; `\.` is a dot within it.
fn key(path: &str) -> (String, &str) {
    let mut key = String::new();
    let mut chars = path.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                if let Some((_, escaped)) = chars.next() {
                    key.push(escaped);
                }
            }
            '.' | '[' => return (key, &path[at..]),
            c => key.push(c),
        }
    }
    (key, "")
}

fn closing(inner: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    for (at, c) in inner.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            ('[', None) => depth += 1,
            (']', None) if depth == 0 => return Some(at),
            (']', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What stands between brackets: an index, `*`, a quoted key, or a filter.
fn select<'a>(value: &'a Value, inside: &str) -> Vec<&'a Value> {
    if inside == "*" {
        return match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        };
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        return value
            .as_array()
            .into_iter()
            .flatten()
            .filter(|item| holds(item, filter))
            .collect();
    }
    if let Ok(index) = inside.parse::<i64>() {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let at = if index < 0 {
            usize::try_from(index.unsigned_abs())
                .ok()
                .and_then(|back| items.len().checked_sub(back))
        } else {
            usize::try_from(index).ok()
        };
        return at.and_then(|at| items.get(at)).into_iter().collect();
    }
    let key = inside.trim_matches(['\'', '"']);
    value.get(key).into_iter().collect()
}

/// `@.type=="Ready"`
fn holds(item: &Value, filter: &str) -> bool {
    let (left, right, equal) = match (filter.split_once("=="), filter.split_once("!=")) {
        (Some((left, right)), _) => (left, right, true),
        (None, Some((left, right))) => (left, right, false),
        (None, None) => return !lookup(item, filter.trim().trim_start_matches('@')).is_empty(),
    };
    let found = lookup(item, left.trim().trim_start_matches('@'));
    let wanted = right.trim().trim_matches(['\'', '"']);
    found.first().is_some_and(|v| text(v) == wanted) == equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(".spec.a", "[1]")]
    #[case("spec.a", "[1]")]
    #[case(".list[*].n", "[\"x\",\"y\"]")]
    #[case(".list[1].n", "[\"y\"]")]
    #[case(".list[-1].n", "[\"y\"]")]
    #[case(".list[?(@.n==\"x\")].v", "[5]")]
    #[case(".list[?(@.n=='z')].v", "[]")]
    #[case(".labels.example\\.com/x", "[\"dot\"]")]
    #[case(".labels['example.com/x']", "[\"dot\"]")]
    #[case(".missing.deep", "[]")]
    fn paths(#[case] path: &str, #[case] expected: &str) {
        let object = json!({"spec": {"a": 1}, "list": [{"n": "x", "v": 5}, {"n": "y"}], "labels": {"example.com/x": "dot"}});
        let found: Vec<Value> = lookup(&object, path).into_iter().cloned().collect();
        assert_eq!(Value::Array(found).to_string(), expected);
    }
}
