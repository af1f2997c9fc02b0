//! `allOf`, `anyOf`, `oneOf` and `not`: they may only validate what the structure around them declares.

use regex::Regex;
use serde_json::{Map, Value};

use super::{Checker, list, properties, property, text};
use crate::schema::path;

const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

impl Checker {
    /// The junctors of a schema, which may only validate, not shape.
    pub(super) fn value_validation(&mut self, schema: &Value, at: &str) {
        let int_or_string = |schema: &Value| {
            let branches = list(schema, "anyOf");
            branches.len() == 2
                && branches[0] == serde_json::json!({"type": "integer"})
                && branches[1] == serde_json::json!({"type": "string"})
        };
        let typed_here = int_or_string(schema);
        let typed_first = list(schema, "allOf").first().is_some_and(int_or_string);
        for junctor in JUNCTORS {
            if junctor == "anyOf" && typed_here {
                continue;
            }
            for (i, branch) in list(schema, junctor).iter().enumerate() {
                let at = path::index(&path::child(at, junctor), i);
                self.nested(branch, &at, typed_first && junctor == "allOf" && i == 0);
            }
        }
        if let Some(not) = schema.get("not") {
            self.nested(not, &path::child(at, "not"), false);
        }
        let pattern = text(schema, "pattern");
        if !pattern.is_empty()
            && let Err(e) = Regex::new(pattern)
        {
            self.invalid(
                path::child(at, "pattern"),
                &pattern.into(),
                &format!("must be a valid regular expression, but isn't: {e}"),
            );
        }
    }

    fn nested(&mut self, schema: &Value, at: &str, skip_any_of: bool) {
        let mut schema = schema.clone();
        if skip_any_of && let Some(map) = schema.as_object_mut() {
            map.shift_remove("anyOf");
        }
        let schema = &schema;
        let empty = "must be empty to be structural";
        let undefined = "must be undefined to be structural";
        let unset = "must be false to be structural";
        let rules = [
            ("type", empty),
            ("additionalProperties", undefined),
            ("default", undefined),
            ("title", empty),
            ("description", empty),
            ("nullable", unset),
            ("x-kubernetes-preserve-unknown-fields", unset),
            ("x-kubernetes-embedded-resource", unset),
            ("x-kubernetes-int-or-string", unset),
            ("x-kubernetes-list-map-keys", empty),
            ("x-kubernetes-list-type", undefined),
            ("x-kubernetes-map-type", undefined),
            ("x-kubernetes-validations", empty),
        ];
        for (name, detail) in rules {
            let set = schema
                .get(name)
                .is_some_and(|v| !matches!(v, Value::Null | Value::Bool(false)) && *v != "");
            if set {
                self.forbidden(path::child(at, name), detail);
            }
        }
        for (name, sub) in properties(schema) {
            let at = property(at, name);
            if name == "metadata" {
                self.forbidden(at.clone(), "must not be specified in a nested context");
            }
            self.nested(sub, &at, false);
        }
        if let Some(items) = schema.get("items") {
            self.nested(items, &path::child(at, "items"), false);
        }
        self.value_validation(schema, at);
    }

    /// Whatever a junctor speaks of must exist in the structure.
    pub(super) fn complete(
        &mut self,
        validation: &Value,
        structure: Option<&Value>,
        at: &str,
        said_at: &str,
    ) {
        for junctor in JUNCTORS {
            for (i, branch) in list(validation, junctor).iter().enumerate() {
                let said_at = path::index(&path::child(said_at, junctor), i);
                self.complete_nested(branch, structure, at, &said_at);
            }
        }
        if let Some(not) = validation.get("not") {
            self.complete_nested(not, structure, at, &path::child(said_at, "not"));
        }
        // Below the root of the structure, its own junctors are checked in their place.
        if at == said_at {
            for (name, sub) in properties(validation) {
                let at = property(at, name);
                self.complete(sub, Some(sub), &at, &at);
            }
            for (name, sub) in [
                ("items", validation.get("items")),
                (
                    "additionalProperties",
                    validation.get("additionalProperties"),
                ),
            ] {
                if let Some(sub) = sub.filter(|s| s.is_object()) {
                    let at = path::child(at, name);
                    self.complete(sub, Some(sub), &at, &at);
                }
            }
        }
    }

    fn complete_nested(
        &mut self,
        validation: &Value,
        structure: Option<&Value>,
        at: &str,
        said_at: &str,
    ) {
        let Some(structure) = structure else {
            self.required(
                at.to_owned(),
                &format!("because it is defined in {said_at}"),
            );
            return;
        };
        for junctor in JUNCTORS {
            for (i, branch) in list(validation, junctor).iter().enumerate() {
                let said_at = path::index(&path::child(said_at, junctor), i);
                self.complete_nested(branch, Some(structure), at, &said_at);
            }
        }
        if let Some(not) = validation.get("not") {
            self.complete_nested(not, Some(structure), at, &path::child(said_at, "not"));
        }
        if let Some(items) = validation.get("items") {
            self.complete_nested(
                items,
                structure.get("items"),
                &path::child(at, "items"),
                &path::child(said_at, "items"),
            );
        }
        for (name, sub) in properties(validation) {
            // An empty schema says nothing.
            if sub.as_object().is_some_and(Map::is_empty) {
                continue;
            }
            let field = structure.get("properties").and_then(|p| p.get(name));
            self.complete_nested(sub, field, &property(at, name), &property(said_at, name));
        }
    }
}
