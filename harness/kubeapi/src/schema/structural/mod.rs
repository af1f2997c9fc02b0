//! Whether a CRD's schema is structural, with the API server's texts. Works on the document: paths are the document's.

use serde_json::{Map, Value};

use super::error::FieldError;
use super::path;

mod junctors;
mod lists;
mod rules;

/// All violations: of the vocabulary first, then of the structure, sorted by text. Paths are relative to `openAPIV3Schema`.
pub(super) fn check(schema: &Value) -> Vec<FieldError> {
    let mut generic = Checker::default();
    generic.generic(schema, Level::Root, "");
    let mut errors = generic.errors;
    // What uses words that do not exist cannot be judged as a structure.
    if !generic.foreign {
        let mut structure = Checker::default();
        structure.structural(schema, Level::Root, "");
        structure.complete(schema, Some(schema), "", "");
        structure.errors.sort_by_cached_key(ToString::to_string);
        errors.append(&mut structure.errors);
    }
    for error in &mut errors {
        // An error about the schema as a whole has no path of its own here.
        if error.path == "<nil>" {
            error.path.clear();
        }
    }
    let mut seen = Vec::new();
    errors.retain(|error| {
        let new = !seen.contains(error);
        seen.push(error.clone());
        new
    });
    errors
}

#[derive(Clone, Copy, PartialEq)]
enum Level {
    Root,
    Item,
    Field,
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

#[derive(Default)]
struct Checker {
    errors: Vec<FieldError>,
    /// Whether parts of JSON schema were met that custom resources may not use.
    foreign: bool,
}

fn text<'v>(schema: &'v Value, name: &str) -> &'v str {
    schema.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}

fn property(at: &str, name: &str) -> String {
    path::key(&path::child(at, "properties"), name)
}

impl Checker {
    fn required(&mut self, at: String, detail: &str) {
        self.errors.push(FieldError::required(at, detail));
    }

    fn forbidden(&mut self, at: String, detail: &str) {
        self.errors.push(FieldError::forbidden(at, detail));
    }

    fn invalid(&mut self, at: String, value: &Value, detail: &str) {
        self.errors.push(FieldError::invalid(at, value, detail));
    }

    fn generic(&mut self, schema: &Value, level: Level, at: &str) {
        self.vocabulary(schema, level, at);
        self.lists(schema, at);
        self.maps(schema, at);
        self.rules(schema, at);
        if schema.get("additionalProperties").is_some() && properties(schema).next().is_some() {
            self.forbidden(
                path::child(at, "additionalProperties"),
                "additionalProperties and properties are mutual exclusive",
            );
        }
        for (name, sub) in properties(schema) {
            self.generic(sub, Level::Field, &property(at, name));
        }
        for (name, level) in [
            ("items", Level::Item),
            ("additionalProperties", Level::Field),
        ] {
            if let Some(sub) = schema.get(name).filter(|s| s.is_object()) {
                self.generic(sub, level, &path::child(at, name));
            }
        }
    }

    fn structural(&mut self, schema: &Value, level: Level, at: &str) {
        self.type_of(schema, level, at);
        self.extensions(schema, at);
        if let Some(items) = schema.get("items").filter(|i| i.is_object()) {
            self.structural(items, Level::Item, &path::child(at, "items"));
        }
        for (name, sub) in properties(schema) {
            if level == Level::Root && name == "metadata" {
                self.metadata(sub, &property(at, name));
            } else {
                self.structural(sub, Level::Field, &property(at, name));
            }
        }
        if let Some(additional) = schema.get("additionalProperties") {
            let at = path::child(at, "additionalProperties");
            if level == Level::Root {
                self.forbidden(at.clone(), "must not be used at the root");
            }
            if additional.is_object() {
                self.structural(additional, Level::Field, &at);
            }
        }
        self.value_validation(schema, at);
    }

    /// Parts of JSON schema that custom resources may not use at all.
    fn vocabulary(&mut self, schema: &Value, level: Level, at: &str) {
        const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
        for name in [
            "id",
            "additionalItems",
            "patternProperties",
            "definitions",
            "dependencies",
            "$ref",
        ] {
            if schema.get(name).is_some_and(|v| !v.is_null()) {
                self.foreign = true;
                self.forbidden(path::child(at, name), &format!("{name} is not supported"));
            }
        }
        if schema.get("items").is_some_and(Value::is_array) {
            self.foreign = true;
            self.forbidden(
                path::child(at, "items"),
                "items must be a schema object and not an array",
            );
        }
        let type_name = text(schema, "type");
        if !type_name.is_empty() && !TYPES.contains(&type_name) {
            self.errors.push(FieldError::not_supported(
                path::child(at, "type"),
                &type_name.into(),
                &TYPES,
            ));
        }
        if type_name == "null" {
            self.forbidden(
                path::child(at, "type"),
                "type cannot be set to null, use nullable as an alternative",
            );
        }
        if level == Level::Root && flag(schema, "nullable") {
            self.forbidden(
                path::child(at, "nullable"),
                "nullable cannot be true at the root",
            );
        }
        if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
            self.invalid(
                path::child(at, PRESERVE),
                &false.into(),
                "must be true or undefined",
            );
        }
        if flag(schema, "uniqueItems") {
            self.forbidden(
                path::child(at, "uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
    }

    fn type_of(&mut self, schema: &Value, level: Level, at: &str) {
        let type_name = text(schema, "type");
        let place = path::child(at, "type");
        let embedded = flag(schema, "x-kubernetes-embedded-resource");
        let untyped = flag(schema, "x-kubernetes-int-or-string")
            || flag(schema, "x-kubernetes-preserve-unknown-fields");
        if embedded && type_name != "object" {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            if type_name.is_empty() {
                self.required(place, detail);
            } else {
                self.invalid(place, &type_name.into(), detail);
            }
        } else if type_name.is_empty() && !untyped {
            self.required(
                place,
                match level {
                    Level::Root => "must not be empty at the root",
                    Level::Item => "must not be empty for specified array items",
                    Level::Field => "must not be empty for specified object fields",
                },
            );
        } else if level == Level::Root && !type_name.is_empty() && type_name != "object" {
            self.invalid(place, &type_name.into(), "must be object at the root");
        }
        if type_name == "array" && schema.get("items").is_none_or(Value::is_null) {
            self.required(path::child(at, "items"), "must be specified");
        }
    }

    fn extensions(&mut self, schema: &Value, at: &str) {
        const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
        const EMBEDDED: &str = "x-kubernetes-embedded-resource";
        let int_or_string = flag(schema, "x-kubernetes-int-or-string");
        for name in [PRESERVE, EMBEDDED] {
            if int_or_string && flag(schema, name) {
                self.invalid(
                    path::child(at, name),
                    &true.into(),
                    "must be false if x-kubernetes-int-or-string is true",
                );
            }
        }
        if !flag(schema, EMBEDDED) {
            return;
        }
        if schema.get("additionalProperties").is_some() {
            self.forbidden(
                path::child(at, "additionalProperties"),
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        if !flag(schema, PRESERVE) && properties(schema).next().is_none() {
            self.required(
                path::child(at, "properties"),
                "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
            );
        }
    }

    fn metadata(&mut self, schema: &Value, at: &str) {
        if text(schema, "type") != "object" {
            self.invalid(
                path::child(at, "type"),
                &text(schema, "type").into(),
                "must be object",
            );
        }
        let only_names =
            properties(schema).all(|(name, _)| name == "name" || name == "generateName");
        let only_types = schema.as_object().is_none_or(|fields| {
            fields
                .keys()
                .all(|k| ["type", "properties", "description", "required"].contains(&k.as_str()))
        });
        if !only_names || !only_types {
            self.forbidden(
                at.to_owned(),
                "must not specify anything other than name and generateName, but metadata is implicitly specified",
            );
        }
        for (name, sub) in properties(schema) {
            self.structural(sub, Level::Field, &property(at, name));
        }
    }
}
