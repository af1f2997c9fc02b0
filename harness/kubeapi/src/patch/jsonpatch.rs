//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386), with the API server's error texts.

use serde_json::{Map, Value};

use super::PatchError;

/// Operations a JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

pub(super) fn json(doc: &Value, ops: &Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = ops else {
        return Err(PatchError::BadRequest(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
                .to_owned(),
        ));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut doc = doc.clone();
    for operation in operations {
        step(&mut doc, operation).map_err(PatchError::Unprocessable)?;
    }
    Ok(doc)
}

fn step(doc: &mut Value, operation: &Value) -> Result<(), String> {
    let text = |name: &str| operation[name].as_str();
    let kind = text("op").unwrap_or("unknown");
    let path = text("path");
    let missing_path =
        |what: &str| format!("{kind} operation failed to decode {what}: missing value");
    match kind {
        "add" => {
            let path = path.ok_or_else(|| missing_path("path"))?;
            add(doc, path, operation["value"].clone(), "add")
        }
        "remove" => {
            let path = path.ok_or_else(|| missing_path("path"))?;
            remove(doc, path, "remove").map(drop)
        }
        "replace" => {
            let path = path.ok_or_else(|| missing_path("path"))?;
            replace(doc, path, operation["value"].clone())
        }
        "move" => {
            let from = text("from").ok_or_else(|| missing_path("from"))?;
            let path = path.ok_or_else(|| missing_path("path"))?;
            let value = doc.pointer(from).cloned().ok_or_else(|| {
                format!(
                    "move operation does not apply: doc is missing from path: {from}: missing value"
                )
            })?;
            remove(doc, from, "move")?;
            add(doc, path, value, "move")
        }
        "copy" => {
            let from = text("from").ok_or_else(|| missing_path("from"))?;
            let path = path.ok_or_else(|| missing_path("path"))?;
            let (parent, key) = container(doc, from).ok_or_else(|| {
                format!(
                    "copy operation does not apply: doc is missing from path: {from}: missing value"
                )
            })?;
            let value = match parent {
                Value::Array(items) => {
                    let index = index(&key, items.len())?;
                    items.get(index).cloned().ok_or_else(|| {
                        format!("error in copy for from: '{from}': {}", bad_index(index))
                    })?
                }
                // What is missing in a map copies as null.
                map => map.get(&key).cloned().unwrap_or(Value::Null),
            };
            add(doc, path, value, "copy")
        }
        "test" => {
            let path = path.ok_or_else(|| missing_path("path"))?;
            test(doc, path, &operation["value"])
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// The container of a pointer's target and the key in it.
fn split(path: &str) -> Option<(&str, String)> {
    let (parent, key) = path.rsplit_once('/')?;
    Some((parent, key.replace("~1", "/").replace("~0", "~")))
}

fn container<'v>(doc: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    let (parent, key) = split(path)?;
    let parent = doc
        .pointer_mut(parent)
        .filter(|p| p.is_object() || p.is_array())?;
    Some((parent, key))
}

fn no_path(kind: &str, path: &str) -> String {
    match kind {
        "move" | "copy" => format!(
            "{kind} operation does not apply: doc is missing destination path: {path}: missing value"
        ),
        "replace" => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        _ => format!(
            "{kind} operation does not apply: doc is missing path: \"{path}\": missing value"
        ),
    }
}

fn add(doc: &mut Value, path: &str, value: Value, kind: &str) -> Result<(), String> {
    if path.is_empty() {
        *doc = value;
        return Ok(());
    }
    let within = |text: String| format!("error in {kind} for path: '{path}': {text}");
    let (parent, key) = container(doc, path).ok_or_else(|| no_path(kind, path))?;
    match parent {
        Value::Object(map) => {
            map.insert(key, value);
        }
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let index = index(&key, items.len() + 1).map_err(within)?;
            if index > items.len() {
                return Err(within(bad_index(index)));
            }
            items.insert(index, value);
        }
        _ => return Err(no_path(kind, path)),
    }
    Ok(())
}

fn remove(doc: &mut Value, path: &str, kind: &str) -> Result<Value, String> {
    let within = |text: String| format!("error in {kind} for path: '{path}': {text}");
    let (parent, key) = container(doc, path).ok_or_else(|| no_path(kind, path))?;
    match parent {
        Value::Object(map) => map.shift_remove(&key).ok_or_else(|| {
            within(format!(
                "Unable to remove nonexistent key: {key}: missing value"
            ))
        }),
        Value::Array(items) => {
            let index = index(&key, items.len()).map_err(within)?;
            if index >= items.len() {
                return Err(within(bad_index(index)));
            }
            Ok(items.remove(index))
        }
        _ => Err(no_path(kind, path)),
    }
}

fn replace(doc: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *doc = value;
        return Ok(());
    }
    let (parent, key) = container(doc, path).ok_or_else(|| no_path("replace", path))?;
    match parent {
        // The library upstream uses sets what is not there.
        Value::Object(map) => {
            map.insert(key, value);
            return Ok(());
        }
        Value::Array(items) => {
            if let Some(place) = index(&key, items.len()).ok().and_then(|i| items.get_mut(i)) {
                *place = value;
                return Ok(());
            }
        }
        _ => {}
    }
    Err(format!(
        "replace operation does not apply: doc is missing key: {path}: missing value"
    ))
}

fn test(doc: &mut Value, path: &str, wanted: &Value) -> Result<(), String> {
    let failed = || format!("testing value {path} failed: test failed");
    if path.is_empty() {
        return if doc == wanted { Ok(()) } else { Err(failed()) };
    }
    let (parent, key) = container(doc, path).ok_or_else(|| {
        format!("test operation does not apply: is missing path: {path}: missing value")
    })?;
    let value = match parent {
        Value::Object(map) => map.get(&key),
        Value::Array(items) => {
            let within = |text: String| format!("error in test for path: '{path}': {text}");
            let index = index(&key, items.len()).map_err(within)?;
            Some(items.get(index).ok_or_else(|| within(bad_index(index)))?)
        }
        _ => None,
    };
    // What is missing equals null.
    if super::walk::equal(value.unwrap_or(&Value::Null), wanted) {
        Ok(())
    } else {
        Err(failed())
    }
}

/// The place in a list of this length; counted from its end when it is negative.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let index: i64 = key.parse().map_err(|_| {
        format!("value was not a proper array index: '{key}': strconv.Atoi: parsing \"{key}\": invalid syntax")
    })?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = if index < 0 { index + length } else { index };
    usize::try_from(from_start)
        .map_err(|_| format!("Unable to access invalid index: {index}: invalid index referenced"))
}

fn bad_index(index: usize) -> String {
    format!("Unable to access invalid index: {index}: invalid index referenced")
}

pub(super) fn merge(doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    if !patch.is_object() {
        return Err(PatchError::BadRequest(if patch.is_null() {
            "Invalid JSON Patch".to_owned()
        } else {
            format!("error decoding patch: {}", super::not_an_object(patch))
        }));
    }
    let mut doc = doc.clone();
    merge_into(&mut doc, patch);
    Ok(doc)
}

fn merge_into(doc: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *doc = patch.clone();
        return;
    };
    if !doc.is_object() {
        *doc = Map::new().into();
    }
    let Value::Object(doc) = doc else { return };
    for (name, value) in patch {
        if value.is_null() {
            doc.shift_remove(name);
        } else {
            merge_into(doc.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
