//! From schema documents to nodes.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::checks::Checks;
use super::node::{Additional, Arena, ListType, MapType, Node, NodeId, PatchStrategy, Type};
use super::rules::Rule;

/// Parses documents into an arena. References (`$ref`: a type's name) are looked up in `types`.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    types: &'a Map<String, Value>,
    arena: Arena,
    named: HashMap<&'a str, NodeId>,
    /// References that say more than the type they refer to: filled from the type once all is parsed.
    refined: Vec<(NodeId, NodeId)>,
}

impl<'a> Parser<'a> {
    pub(super) fn new(types: &'a Map<String, Value>) -> Self {
        Self {
            types,
            arena: Arena::default(),
            named: HashMap::new(),
            refined: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Arena {
        for (id, target) in std::mem::take(&mut self.refined) {
            let mut node = self.arena[target].clone();
            let own = self.arena.get_mut(id);
            node.default = own.default.take();
            node.map_type = own.map_type.or(node.map_type);
            node.patch = std::mem::take(&mut own.patch);
            node.write_null = own.write_null;
            *own = node;
        }
        self.arena
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.arena.get_mut(id)
    }

    /// The node of a named type.
    pub(super) fn named(&mut self, name: &str) -> Option<NodeId> {
        let (name, schema) = self.types.get_key_value(name)?;
        if let Some(id) = self.named.get(name.as_str()) {
            return Some(*id);
        }
        let id = self.arena.push(Node::default());
        self.named.insert(name, id);
        let mut node = self.node(schema);
        node.name = Some(name.clone());
        // A named type without structure (RawExtension, FieldsV1, JSON) holds anything.
        node.preserve_unknown |= matches!(node.ty, Type::Object | Type::Any)
            && node.properties.is_empty()
            && node.additional == Additional::Unspecified;
        *self.arena.get_mut(id) = node;
        Some(id)
    }

    pub(super) fn schema(&mut self, schema: &Value) -> NodeId {
        let Some(target) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|name| self.named(name))
        else {
            let node = self.node(schema);
            return self.arena.push(node);
        };
        let refinement = Node {
            default: schema.get("default").cloned(),
            map_type: map_type(schema),
            patch: patch_strategy(schema),
            write_null: schema.get("x-write-null") == Some(&Value::Bool(true)),
            ..Node::default()
        };
        if refinement.default.is_none()
            && !refinement.write_null
            && refinement.map_type.is_none()
            && refinement.patch == PatchStrategy::default()
        {
            return target;
        }
        let id = self.arena.push(refinement);
        self.refined.push((id, target));
        id
    }

    fn node(&mut self, schema: &Value) -> Node {
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let text = |name: &str| schema.get(name).and_then(Value::as_str);
        let int_or_string = flag("x-kubernetes-int-or-string")
            || (text("type"), text("format")) == (None, Some("int-or-string"));
        let mut node = Node {
            ty: if int_or_string {
                Type::IntOrString
            } else {
                text("type").and_then(Type::parse).unwrap_or_default()
            },
            format: text("format").filter(|f| !f.is_empty()).map(str::to_owned),
            required: strings(schema.get("required")),
            default: schema.get("default").filter(|d| !d.is_null()).cloned(),
            nullable: flag("nullable"),
            list_type: list_type(schema),
            map_type: map_type(schema),
            patch: patch_strategy(schema),
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
            embedded: flag("x-kubernetes-embedded-resource"),
            omit_zero: flag("x-omit-zero"),
            write_null: flag("x-write-null"),
            checks: Checks::parse(schema, self),
            rules: Rule::parse_all(schema),
            ..Node::default()
        };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let id = self.schema(property);
                node.properties.insert(name.clone(), id);
            }
        }
        node.items = match schema.get("items") {
            Some(items) if items.is_object() => Some(self.schema(items)),
            _ => None,
        };
        node.additional = match schema.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Anything,
            Some(Value::Bool(false)) => Additional::Forbidden,
            Some(additional) if additional.is_object() => {
                Additional::Schema(self.schema(additional))
            }
            _ => Additional::Unspecified,
        };
        if node.embedded {
            self.imply_metadata(&mut node);
        }
        node.has_rules = !node.rules.is_empty() || self.children(&node).any(|c| c.has_rules);
        node
    }

    fn children<'n>(&'n self, node: &'n Node) -> impl Iterator<Item = &'n Node> {
        let additional = match node.additional {
            Additional::Schema(id) => Some(id),
            _ => None,
        };
        node.properties
            .values()
            .copied()
            .chain(node.items)
            .chain(additional)
            .map(|id| &self.arena[id])
    }

    /// Gives a resource the fields every resource has; what its own schema says about metadata only restricts.
    pub(super) fn imply_metadata(&mut self, node: &mut Node) {
        for name in ["apiVersion", "kind"] {
            if !node.properties.contains_key(name) {
                let id = self.arena.push(Node {
                    ty: Type::String,
                    ..Node::default()
                });
                node.properties.insert(name.to_owned(), id);
            }
        }
        let meta = self
            .named(super::builtin::OBJECT_META)
            .expect("the data file holds ObjectMeta");
        node.metadata_checks = node.properties.insert("metadata".to_owned(), meta);
    }
}

pub(super) fn strings(value: Option<&Value>) -> Vec<String> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn list_type(schema: &Value) -> Option<ListType> {
    match schema.get("x-kubernetes-list-type")?.as_str()? {
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map(strings(
            schema.get("x-kubernetes-list-map-keys"),
        ))),
        _ => Some(ListType::Atomic),
    }
}

fn map_type(schema: &Value) -> Option<MapType> {
    match schema.get("x-kubernetes-map-type")?.as_str()? {
        "atomic" => Some(MapType::Atomic),
        _ => Some(MapType::Granular),
    }
}

fn patch_strategy(schema: &Value) -> PatchStrategy {
    let strategy = schema
        .get("x-kubernetes-patch-strategy")
        .and_then(Value::as_str)
        .unwrap_or_default();
    PatchStrategy {
        merge: strategy.split(',').any(|s| s == "merge"),
        retain_keys: strategy.split(',').any(|s| s == "retainKeys"),
        merge_key: schema
            .get("x-kubernetes-patch-merge-key")
            .and_then(Value::as_str)
            .map(str::to_owned),
    }
}
