//! Reads the compact list of fields and spells it out as OpenAPI schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const FIELDS: &str = include_str!("../../crds/fields.txt");

const QUANTITY: &str = "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$";
const FRACTION: &str = "^(0(?:\\.\\d{1,3})?|1)$";

/// The types of the list by their names.
pub(super) struct Fields<'t>(BTreeMap<&'t str, Vec<Field<'t>>>);

struct Field<'t> {
    name: &'t str,
    required: bool,
    type_: &'t str,
    attributes: &'t str,
}

impl Fields<'static> {
    pub(super) fn embedded() -> Self {
        Self::read(FIELDS)
    }
}

impl<'t> Fields<'t> {
    fn read(text: &'t str) -> Self {
        let mut types: BTreeMap<&str, Vec<Field<'_>>> = BTreeMap::new();
        let mut current = "";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some(field) = line.strip_prefix("  ") else {
                current = line;
                continue;
            };
            types.entry(current).or_default().push(Field::read(field));
        }
        Self(types)
    }

    /// The schema of a whole object, with `apiVersion`, `kind` and `metadata`.
    pub(super) fn schema(&self, kind: &str) -> Value {
        self.type_(kind)
    }

    fn object(&self, fields: &[Field<'_>]) -> Value {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|field| (field.name.to_owned(), self.field(field)))
            .collect();
        let required: Vec<&str> = fields
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        schema
    }

    fn field(&self, field: &Field<'_>) -> Value {
        let mut schema = self.type_(field.type_);
        for attribute in field.attributes.split_whitespace() {
            apply(&mut schema, attribute);
        }
        schema
    }

    fn type_(&self, name: &str) -> Value {
        if let Some(item) = enclosed(name, '[', ']') {
            return json!({
                "type": "array",
                "items": self.expression(item),
                "x-kubernetes-list-type": "atomic",
            });
        }
        if let Some(value) = enclosed(name, '{', '}') {
            return json!({"type": "object", "additionalProperties": self.expression(value)});
        }
        match self.0.get(name) {
            Some(fields) => self.object(fields),
            None => scalar(name),
        }
    }

    /// A type with attributes.
    fn expression(&self, text: &str) -> Value {
        let (type_, attributes) = split_type(text);
        self.field(&Field {
            name: "",
            required: false,
            type_,
            attributes,
        })
    }
}

impl<'t> Field<'t> {
    fn read(line: &'t str) -> Self {
        let (name, rest) = line.split_once(' ').unwrap_or((line, "any"));
        let (type_, attributes) = split_type(rest);
        Self {
            name: name.trim_end_matches('*'),
            required: name.ends_with('*'),
            type_,
            attributes,
        }
    }
}

/// A type ends at the first space outside of brackets.
fn split_type(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

fn enclosed(text: &str, open: char, close: char) -> Option<&str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

fn scalar(name: &str) -> Value {
    match name {
        "bool" => json!({"type": "boolean"}),
        "int" => json!({"type": "integer"}),
        "int32" | "int64" => json!({"type": "integer", "format": name}),
        "time" => json!({"type": "string", "format": "date-time"}),
        "fraction" => json!({"type": "string", "pattern": FRACTION}),
        "quantity" => {
            let mut schema = int_or_string();
            schema["pattern"] = json!(QUANTITY);
            schema
        }
        "intOrString" => int_or_string(),
        "any" => json!({}),
        "onlyTrue" => json!({
            "type": "boolean",
            "x-kubernetes-validations": [
                rule("self == true", "readOnly must be true, write access is not supported"),
            ],
        }),
        "cleanPath" => json!({
            "type": "string",
            "x-kubernetes-validations": [
                rule("self.startsWith('/')", "path must be absolute (start with '/')"),
                rule("!self.contains('..')", "path must not contain '..'"),
            ],
        }),
        // `string`, `number` and `object` are called as in OpenAPI.
        _ => json!({"type": name}),
    }
}

fn int_or_string() -> Value {
    json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
    })
}

fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

fn apply(schema: &mut Value, attribute: &str) {
    let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
    // Numbers and strings are written as JSON.
    let literal = || serde_json::from_str::<Value>(value).unwrap_or_default();
    match name {
        "null" => schema["nullable"] = json!(true),
        "open" => schema["x-kubernetes-preserve-unknown-fields"] = json!(true),
        "atomic" => schema["x-kubernetes-map-type"] = json!("atomic"),
        "set" => schema["x-kubernetes-list-type"] = json!("set"),
        "list" => {
            schema
                .as_object_mut()
                .map(|schema| schema.remove("x-kubernetes-list-type"));
        }
        "keys" => {
            schema["x-kubernetes-list-type"] = json!("map");
            schema["x-kubernetes-list-map-keys"] = value.split(',').collect();
        }
        "enum" => schema["enum"] = value.split('|').collect(),
        other => schema[other] = literal(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_maps_and_attributes_are_spelled_out() {
        let fields = Fields::read(
            "# note\nA\n  x* [B] keys=name\n  y {[string] list} null\nB\n  name string default=\"\"\n",
        );
        assert_eq!(
            fields.schema("A"),
            json!({
                "type": "object",
                "properties": {
                    "x": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"name": {"type": "string", "default": ""}}},
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                    },
                    "y": {
                        "type": "object",
                        "additionalProperties": {"type": "array", "items": {"type": "string"}},
                        "nullable": true,
                    },
                },
                "required": ["x"],
            })
        );
    }
}
