//! Events: one store, shown by two groups in different words.

use serde_json::{Map, Value};

use super::Strategy;

#[derive(Debug)]
pub struct Event;

impl Strategy for Event {
    fn prepare_create(&self, _object: &mut Value) {}
}

/// Field names in the core group and in `events.k8s.io`.
const NAMES: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// The event as `events.k8s.io/v1` shows it.
pub fn from_core(event: Value) -> Value {
    let mut shown = rename(event, "events.k8s.io/v1", |core| {
        NAMES.iter().find(|(a, _)| *a == core).map(|(_, b)| *b)
    });
    if let Some(fields) = shown.as_object_mut() {
        fields.retain(|key, value| !(key.starts_with("reporting") && value == ""));
    }
    shown
}

/// The event as the core group stores it.
pub fn to_core(event: Value) -> Value {
    rename(event, "v1", |new| {
        NAMES.iter().find(|(_, b)| *b == new).map(|(a, _)| *a)
    })
}

fn rename(event: Value, api_version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(fields) = event else {
        return event;
    };
    let mut out = Map::with_capacity(fields.len());
    for (key, value) in fields {
        let value = if key == "apiVersion" {
            api_version.into()
        } else {
            value
        };
        let key = name(&key).map_or(key, str::to_owned);
        out.insert(key, value);
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "message": "hello", "involvedObject": {"kind": "Pod"},
            "count": 2, "reason": "Started"});
        let shown = from_core(event.clone());
        assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
        assert_eq!(shown["note"], "hello");
        assert_eq!(shown["regarding"]["kind"], "Pod");
        assert_eq!(to_core(shown), event);
    }
}
