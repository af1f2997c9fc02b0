//! The `components.schemas` of a document: the types its resources are made of, and what those refer to.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::schema::Gvk;
use crate::schema::builtin::{OBJECT_META, TYPES, kinds};

const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// What only this server needs to know of a schema.
const INTERNAL: [&str; 4] = ["$ref", "x-omit-zero", "x-struct", "x-write-null"];

static NAMES: LazyLock<HashMap<Gvk, &'static str>> = LazyLock::new(|| {
    TYPES
        .iter()
        .flat_map(|(name, schema)| kinds(schema).map(move |gvk| (gvk, name.as_str())))
        .collect()
});

#[derive(Debug, Default)]
pub(super) struct Components(BTreeMap<String, Value>);

impl Components {
    pub(super) fn finish(self) -> Value {
        self.0.into_iter().collect::<Map<_, _>>().into()
    }

    /// A reference to a type of the data file, which is added with all it refers to.
    pub(super) fn reference(&mut self, name: &str) -> Value {
        self.add(name);
        json!({"$ref": target(name)})
    }

    /// A reference to a built-in kind; an object of any shape where the data file has no such kind.
    pub(super) fn kind(&mut self, gvk: &Gvk) -> Value {
        match NAMES.get(gvk) {
            Some(name) => self.reference(name),
            None => json!({"type": "object"}),
        }
    }

    fn add(&mut self, name: &str) {
        if self.0.contains_key(name) {
            return;
        }
        let Some(schema) = TYPES.get(name) else {
            return;
        };
        self.0.insert(name.to_owned(), Value::Null);
        let schema = self.resolved(schema);
        self.0.insert(name.to_owned(), schema);
    }

    /// A schema of the data file as OpenAPI writes it: references by path, and wrapped where something stands beside.
    fn resolved(&mut self, schema: &Value) -> Value {
        match schema {
            Value::Object(fields) => {
                let mut out: Map<String, Value> = fields
                    .iter()
                    .filter(|(name, _)| !INTERNAL.contains(&name.as_str()))
                    .map(|(name, value)| {
                        let value = match name.as_str() {
                            "properties" => self.each(value),
                            "items" | "additionalProperties" => self.resolved(value),
                            _ => value.clone(),
                        };
                        (name.clone(), value)
                    })
                    .collect();
                if fields.contains_key("x-struct") {
                    out.insert("default".to_owned(), json!({}));
                }
                if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                    let reference = self.reference(name);
                    if out.is_empty() {
                        return reference;
                    }
                    out.insert("allOf".to_owned(), json!([reference]));
                }
                out.into()
            }
            other => other.clone(),
        }
    }

    fn each(&mut self, properties: &Value) -> Value {
        properties
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, schema)| {
                let mut resolved = self.resolved(schema);
                // A description stands beside every property, so its reference is wrapped even where nothing else does.
                if resolved.get("$ref").is_some() {
                    resolved = json!({"allOf": [resolved]});
                }
                (name.clone(), resolved)
            })
            .collect::<Map<_, _>>()
            .into()
    }

    /// Adds a custom resource's kind and its list; returns references to both.
    pub(super) fn custom(&mut self, gvk: &Gvk, schema: &Value) -> (Value, Value) {
        let mut parts: Vec<&str> = gvk.group.split('.').collect();
        parts.reverse();
        let name = format!("{}.{}.{}", parts.join("."), gvk.version, gvk.kind);
        let list = format!("{name}List");
        let metadata = json!({"allOf": [self.reference(OBJECT_META)]});
        let mut kind = schema.clone();
        if let Some(fields) = kind.as_object_mut() {
            fields.entry("type").or_insert_with(|| json!("object"));
            let properties = fields.entry("properties").or_insert_with(|| json!({}));
            properties["apiVersion"] = json!({"type": "string"});
            properties["kind"] = json!({"type": "string"});
            properties["metadata"] = metadata;
            fields.insert("x-kubernetes-group-version-kind".into(), served(gvk));
        }
        let list_meta = json!({"allOf": [self.reference(LIST_META)]});
        let list_kind = Gvk {
            kind: format!("{}List", gvk.kind),
            ..gvk.clone()
        };
        let list_schema = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": {"type": "array", "items": {"$ref": target(&name)}},
                "kind": {"type": "string"},
                "metadata": list_meta,
            },
            "x-kubernetes-group-version-kind": served(&list_kind),
        });
        let references = (
            json!({"$ref": target(&name)}),
            json!({"$ref": target(&list)}),
        );
        self.0.insert(name, kind);
        self.0.insert(list, list_schema);
        references
    }
}

fn target(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

fn served(gvk: &Gvk) -> Value {
    json!([{"group": gvk.group, "kind": gvk.kind, "version": gvk.version}])
}
