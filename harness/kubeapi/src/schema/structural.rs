//! Whether a CRD's schema is structural, with the API server's texts. Works on the document: paths are the document's.

use regex::Regex;
use serde_json::{Map, Value};

use super::error::FieldError;
use super::parse::strings;
use super::{path, rules};

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

const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

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

/// A rule as the server's internal type prints.
fn as_go(rule: &Value) -> Value {
    serde_json::json!({
        "FieldPath": text(rule, "fieldPath"),
        "Message": text(rule, "message"),
        "MessageExpression": text(rule, "messageExpression"),
        "OptionalOldSelf": rule.get("optionalOldSelf"),
        "Reason": rule.get("reason"),
        "Rule": text(rule, "rule"),
    })
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

    fn lists(&mut self, schema: &Value, at: &str) {
        const TYPE: &str = "x-kubernetes-list-type";
        const KEYS: &str = "x-kubernetes-list-map-keys";
        let keys = strings(schema.get(KEYS));
        let list_type = text(schema, TYPE);
        let place = path::child(at, TYPE);
        if !keys.is_empty() && list_type != "map" {
            let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
            if list_type.is_empty() {
                self.required(place.clone(), detail);
            } else {
                self.invalid(place.clone(), &list_type.into(), detail);
            }
        }
        if list_type.is_empty() {
            return;
        }
        let type_name = text(schema, "type");
        if type_name != "array" {
            let detail = "must be array if x-kubernetes-list-type is specified";
            if type_name.is_empty() {
                self.required(path::child(at, "type"), detail);
            } else {
                self.invalid(path::child(at, "type"), &type_name.into(), detail);
            }
        }
        let Some(items) = schema.get("items") else {
            return;
        };
        let items_at = path::child(at, "items");
        if flag(items, "nullable") && (list_type == "set" || list_type == "map") {
            self.forbidden(
                path::child(&items_at, "nullable"),
                &format!("cannot be nullable when x-kubernetes-list-type is {list_type}"),
            );
        }
        match list_type {
            "atomic" => {}
            "set" => self.set_items(items, &items_at),
            "map" => self.map_items(schema, items, &keys, at),
            other => self.errors.push(FieldError::not_supported(
                place,
                &other.into(),
                &["atomic", "set", "map"],
            )),
        }
    }

    fn set_items(&mut self, items: &Value, at: &str) {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        let (name, kind) = match text(items, "type") {
            "array" => (
                "x-kubernetes-list-type",
                text(items, "x-kubernetes-list-type"),
            ),
            "object" => (
                "x-kubernetes-map-type",
                text(items, "x-kubernetes-map-type"),
            ),
            _ => return,
        };
        // A list without a type is atomic; a map without one is granular.
        if kind == "atomic" || (kind.is_empty() && name == "x-kubernetes-list-type") {
            return;
        }
        let value = if kind.is_empty() {
            Value::Null
        } else {
            kind.into()
        };
        self.invalid(path::child(at, name), &value, detail);
    }

    fn map_items(&mut self, schema: &Value, items: &Value, keys: &[String], at: &str) {
        const KEYS: &str = "x-kubernetes-list-map-keys";
        let items_at = path::child(at, "items");
        if keys.is_empty() {
            self.required(
                path::child(at, KEYS),
                "must not be empty if x-kubernetes-list-type is map",
            );
        }
        if text(items, "type") != "object" {
            self.invalid(
                path::child(&items_at, "type"),
                &text(items, "type").into(),
                "must be object if parent array's x-kubernetes-list-type is map",
            );
        }
        let required = strings(items.get("required"));
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].contains(key) {
                self.invalid(
                    path::child(at, KEYS),
                    &schema[KEYS],
                    "must not contain duplicate entries",
                );
            }
            let Some(field) = items.get("properties").and_then(|p| p.get(key)) else {
                self.invalid(
                    path::child(at, KEYS),
                    &schema[KEYS],
                    "entries must all be names of item properties",
                );
                continue;
            };
            let field_at = property(&items_at, key);
            if matches!(text(field, "type"), "array" | "object") {
                self.invalid(
                    path::child(&field_at, "type"),
                    &text(items, "type").into(),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                );
            }
            if field.get("default").is_none_or(Value::is_null) && !required.contains(key) {
                self.required(
                    path::child(&field_at, "default"),
                    "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                );
            }
            if flag(field, "nullable") {
                self.forbidden(
                    path::child(&field_at, "nullable"),
                    "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
                );
            }
        }
    }

    fn maps(&mut self, schema: &Value, at: &str) {
        const TYPE: &str = "x-kubernetes-map-type";
        let map_type = text(schema, TYPE);
        if map_type.is_empty() {
            return;
        }
        let type_name = text(schema, "type");
        if type_name != "object" {
            let detail = "must be object if x-kubernetes-map-type is specified";
            if type_name.is_empty() {
                self.required(path::child(at, "type"), detail);
            } else {
                self.invalid(path::child(at, "type"), &type_name.into(), detail);
            }
        }
        if map_type != "atomic" && map_type != "granular" {
            self.errors.push(FieldError::not_supported(
                path::child(at, TYPE),
                &map_type.into(),
                &["atomic", "granular"],
            ));
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

    fn rules(&mut self, schema: &Value, at: &str) {
        const REASONS: [&str; 4] = [
            "FieldValueRequired",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueDuplicate",
        ];
        let at = path::child(at, "x-kubernetes-validations");
        for (i, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
            let at = path::index(&at, i);
            let rule_at = path::child(&at, "rule");
            let expression = text(rule, "rule").trim();
            if expression.is_empty() {
                self.required(rule_at, "rule is not specified");
            } else if let Err(e) = rules::compile(expression) {
                self.invalid(rule_at, &as_go(rule), &format!("compilation failed: {e}"));
            } else if rule.get("optionalOldSelf").is_some() && !expression.contains("oldSelf") {
                self.invalid(
                    path::child(&at, "optionalOldSelf"),
                    &rule["optionalOldSelf"],
                    "may not be set if oldSelf is not used in rule",
                );
            }
            let message = text(rule, "message");
            let message_at = path::child(&at, "message");
            if !message.is_empty() && message.trim().is_empty() {
                self.invalid(
                    message_at,
                    &message.into(),
                    "must be non-empty if specified",
                );
            } else if message.trim().contains('\n') {
                self.invalid(message_at, &message.into(), "must not contain line breaks");
            } else if expression.contains('\n') && message.is_empty() {
                self.required(
                    message_at,
                    "message must be specified if rule contains line breaks",
                );
            }
            let message_expression = text(rule, "messageExpression");
            if !message_expression.is_empty() {
                let at = path::child(&at, "messageExpression");
                if message_expression.trim().is_empty() {
                    self.required(at, "messageExpression must be non-empty if specified");
                } else if let Err(e) = rules::compile(message_expression) {
                    self.invalid(
                        at,
                        &as_go(rule),
                        &format!("messageExpression compilation failed: {e}"),
                    );
                }
            }
            if let Some(reason) = rule.get("reason").filter(|r| !r.is_null())
                && !reason.as_str().is_some_and(|r| REASONS.contains(&r))
            {
                let mut sorted = REASONS;
                sorted.sort_unstable();
                self.errors.push(FieldError::not_supported(
                    path::child(&at, "reason"),
                    reason,
                    &sorted,
                ));
            }
        }
    }

    /// The junctors of a schema, which may only validate, not shape.
    fn value_validation(&mut self, schema: &Value, at: &str) {
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
    fn complete(&mut self, validation: &Value, structure: Option<&Value>, at: &str, said_at: &str) {
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
