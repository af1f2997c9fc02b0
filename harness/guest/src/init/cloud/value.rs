//! Reading a value as cloud-init does: generously.

use serde_json::Value;

/// Plain YAML, with the meaning that octal numbers have had in cloud-config since ever.
pub fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_yaml::options! { legacy_octal_numbers: true };
    serde_yaml::from_str_with_options(text, options)
        .map_err(|error| error.without_snippet().to_string().replace('\n', " "))
}

/// Strings count too.
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => Some(number.as_i64() == Some(1)),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" | "y" => Some(true),
            "false" | "0" | "off" | "no" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

pub fn flag(map: &Value, key: &str, default: bool) -> bool {
    map.get(key).and_then(boolean).unwrap_or(default)
}

/// Numbers and booleans are text as well, where text is wanted.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(if *value { "True" } else { "False" }.to_owned()),
        _ => None,
    }
}

pub fn text_of(map: &Value, key: &str) -> Option<String> {
    map.get(key).and_then(text)
}

/// A list, or what would be its only member.
pub fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    }
}

pub fn texts(value: Option<&Value>) -> Vec<String> {
    list(value).into_iter().filter_map(text).collect()
}

/// As Python names it, for messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_as_cloud_config_means_it() {
        let value = yaml("expire: False\nmode: 0644\nyes: yes\nmac: 02:00:00:00:00:01\n").unwrap();
        assert_eq!(value["expire"], json!(false));
        assert_eq!(value["mode"], json!(420));
        assert_eq!(value["mac"], json!("02:00:00:00:00:01"));
        assert!(yaml("a: [b").is_err());
        assert!(yaml("a: 1\na: 2\n").is_err());
    }

    #[test]
    fn words_that_are_booleans() {
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!("Yes"), Some(true)),
            (json!("off"), Some(false)),
            (json!(1), Some(true)),
            (json!("unchanged"), None),
            (json!([]), None),
        ] {
            assert_eq!(boolean(&value), expected, "{value}");
        }
    }
}
