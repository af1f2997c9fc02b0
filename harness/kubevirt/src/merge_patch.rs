//! What is written of an object that has changed.

use serde_json::{Map, Value};

/// The merge patch that makes the one of the other; nothing if they are equal.
pub fn merge_patch(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after {
        match before.get(name) {
            Some(known) => {
                if let Some(changed) = merge_patch(known, value) {
                    patch.insert(name.clone(), changed);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge_patch;

    #[test]
    fn a_difference_names_what_changed() {
        let before = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2], "f": {}});
        assert_eq!(merge_patch(&before, &before), None);
        let after = json!({"a": 1, "b": {"c": 4}, "e": [2], "f": {}, "g": true});
        let patch = merge_patch(&before, &after).unwrap();
        assert_eq!(
            patch,
            json!({"b": {"c": 4, "d": null}, "e": [2], "g": true})
        );
    }
}
