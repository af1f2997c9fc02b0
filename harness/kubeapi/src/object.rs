//! Reading and writing the metadata of objects held as JSON.

use jiff::Timestamp;
use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// The value at a path of object keys; null where there is none.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter()
        .try_fold(value, |value, key| value.get(*key))
        .unwrap_or(&NULL)
}

/// The text at a path; empty where there is none.
pub fn text<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// The integer at a path.
pub fn integer(value: &Value, path: &[&str]) -> Option<i64> {
    let value = at(value, path);
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|f| f.fract() == 0.0).map(whole))
}

#[allow(clippy::cast_possible_truncation)] // checked to be whole; saturates at the limits of i64
fn whole(float: f64) -> i64 {
    float as i64
}

/// The list at a path; empty where there is none.
pub fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

/// The map at a path.
pub fn map<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Map<String, Value>> {
    at(value, path).as_object()
}

/// The map under a key of an object, made if there is none. What is no object becomes one.
pub fn child<'a>(value: &'a mut Value, key: &str) -> &'a mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let entry = &mut value[key];
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry
}

/// Sets a value at a path, making the objects on the way.
pub fn set(value: &mut Value, path: &[&str], new: impl Into<Value>) {
    if let Some((last, way)) = path.split_last() {
        way.iter().fold(value, |value, key| child(value, key))[*last] = new.into();
    }
}

/// Removes what is at a path.
pub fn remove(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, way) = path.split_last()?;
    way.iter()
        .try_fold(value, |value, key| value.get_mut(*key))?
        .as_object_mut()?
        .shift_remove(*last)
}

/// Sets a value where there is none: nothing, null, or an empty text, which is what typed clients send for nothing.
pub fn default(value: &mut Value, key: &str, new: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        let entry = map.entry(key).or_insert(Value::Null);
        if entry.is_null() || entry == "" {
            *entry = new.into();
        }
    }
}

/// Metadata of an object.
pub fn meta<'a>(object: &'a Value, key: &str) -> &'a str {
    text(object, &["metadata", key])
}

pub fn name(object: &Value) -> &str {
    meta(object, "name")
}

pub fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

pub fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

pub fn resource_version(object: &Value) -> &str {
    meta(object, "resourceVersion")
}

pub fn is_deleting(object: &Value) -> bool {
    !meta(object, "deletionTimestamp").is_empty()
}

/// Finalizers of an object.
pub fn finalizers(object: &Value) -> Vec<&str> {
    list(object, &["metadata", "finalizers"])
        .iter()
        .filter_map(Value::as_str)
        .collect()
}

pub fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    finalizers(object).contains(&finalizer)
}

/// Replaces the finalizers; an empty list leaves no field.
pub fn set_finalizers(object: &mut Value, finalizers: Vec<String>) {
    if finalizers.is_empty() {
        remove(object, &["metadata", "finalizers"]);
    } else {
        set(object, &["metadata", "finalizers"], finalizers);
    }
}

/// A time as the API writes it: RFC 3339, whole seconds, UTC.
pub fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads a time of the API.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
