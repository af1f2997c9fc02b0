//! `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type`.

use serde_json::Value;

use super::{Checker, flag, property, text};
use crate::schema::error::FieldError;
use crate::schema::parse::strings;
use crate::schema::path;

impl Checker {
    pub(super) fn lists(&mut self, schema: &Value, at: &str) {
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

    pub(super) fn maps(&mut self, schema: &Value, at: &str) {
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
}
