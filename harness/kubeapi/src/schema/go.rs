//! How Go prints values, for messages that quote them.

use std::fmt::Write;

use serde_json::{Map, Value};

/// A value inside a field error: strings quoted, numbers and booleans plain, the rest as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => quoted(s),
        Value::Number(n) if n.is_f64() => float(n.as_f64().unwrap_or_default()),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        _ => json(value),
    }
}

/// `%v`: strings bare, maps as `map[key:value]` in the order of their keys.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut fields: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}:{}", plain(value)))
                .collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        other => shown(other),
    }
}

/// JSON as `encoding/json` writes it: maps in the order of their keys, and `<`, `>`, `&` escaped.
pub(crate) fn json(value: &Value) -> String {
    sorted(value)
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let map: Map<String, Value> = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)))
                .collect();
            map.into()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

/// `%q`
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `%v` of a float64: the shortest form, with an exponent below 1e-4 and from 1e21.
pub(crate) fn float(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || (1e-4..1e21).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_go_prints_them() {
        assert_eq!(shown(&json!("a\"b\n")), r#""a\"b\n""#);
        assert_eq!(shown(&json!(3)), "3");
        assert_eq!(shown(&json!(1.5)), "1.5");
        assert_eq!(shown(&json!(1e21)), "1e+21");
        assert_eq!(shown(&json!(0.00001)), "1e-05");
        assert_eq!(shown(&json!(null)), "null");
        assert_eq!(
            shown(&json!({"b": 1, "a": ["<"]})),
            r#"{"a":["\u003c"],"b":1}"#
        );
    }
}
