//! Objects as fields with values, in the form of the recorded timelines.

use std::collections::BTreeMap;

use serde_json::Value;

/// Values by path: `status.conditions[Ready].reason`.
pub type Fields = BTreeMap<String, Value>;

pub fn fields(object: &Value) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        if key != "apiVersion" && key != "kind" {
            flatten(key, value, &mut fields);
        }
    }
    fields.retain(|path, _| {
        path != "metadata.resourceVersion" && !path.starts_with("metadata.managedFields")
    });
    fields
}

fn flatten(path: &str, value: &Value, fields: &mut Fields) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(&format!("{path}.{key}"), value, fields);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                let key = ["name", "type", "phase"]
                    .into_iter()
                    .find_map(|key| value.get(key)?.as_str().map(str::to_owned));
                let key = key.unwrap_or_else(|| index.to_string());
                flatten(&format!("{path}[{key}]"), value, fields);
            }
        }
        leaf => {
            fields.insert(path.to_owned(), leaf.clone());
        }
    }
}

/// What became of every field that changed; nothing where it is gone. As in the record, a `null` that was not there
/// before does not count.
pub fn changes(before: &Fields, after: &Fields) -> Vec<(String, Option<Value>)> {
    let gone = before
        .iter()
        .filter(|(path, value)| !value.is_null() && !after.contains_key(*path));
    let new = after
        .iter()
        .filter(|(path, value)| match before.get(*path) {
            None => !value.is_null(),
            Some(before) => before != *value,
        });
    gone.map(|(path, _)| (path.clone(), None))
        .chain(new.map(|(path, value)| (path.clone(), Some(value.clone()))))
        .collect()
}
