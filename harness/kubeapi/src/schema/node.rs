//! The tree a schema is made of. Nodes live in an arena and refer to each other by index, because built-in types are
//! recursive.

use indexmap::IndexMap;
use serde_json::Value;

use super::checks::Checks;
use super::rules::Rule;

/// Index of a node in its arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(pub(super) u32);

/// The JSON type a node asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Type {
    /// No `type`: anything goes.
    #[default]
    Any,
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// `x-kubernetes-int-or-string`
    IntOrString,
}

impl Type {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "" => Self::Any,
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::IntOrString => "integer,string",
        }
    }
}

/// What an object may hold besides its properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Additional {
    #[default]
    Unspecified,
    Forbidden,
    Anything,
    Schema(NodeId),
}

/// `x-kubernetes-list-type`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListType {
    Atomic,
    Set,
    Map(Vec<String>),
}

/// `x-kubernetes-map-type`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapType {
    Atomic,
    Granular,
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`, for strategic merge patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PatchStrategy {
    pub(crate) merge: bool,
    pub(crate) retain_keys: bool,
    pub(crate) merge_key: Option<String>,
}

// The flags are those of the documents; they are independent of each other.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Full name of a built-in type (`io.k8s.api.core.v1.PodSpec`).
    pub(crate) name: Option<String>,
    pub(crate) ty: Type,
    pub(crate) format: Option<String>,
    pub(crate) properties: IndexMap<String, NodeId>,
    pub(crate) additional: Additional,
    pub(crate) items: Option<NodeId>,
    pub(crate) required: Vec<String>,
    pub(crate) default: Option<Value>,
    pub(crate) nullable: bool,
    pub(crate) list_type: Option<ListType>,
    pub(crate) map_type: Option<MapType>,
    pub(crate) patch: PatchStrategy,
    pub(crate) preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`, and the root of a custom resource: apiVersion, kind and metadata are implied.
    pub(crate) embedded: bool,
    /// A scalar that Go leaves out when it is zero.
    pub(crate) omit_zero: bool,
    /// A time, list, map or pointer that Go writes as null when there is none.
    pub(crate) write_null: bool,
    /// What a custom resource's own schema says about metadata (restrictions of name and generateName).
    pub(crate) metadata_checks: Option<NodeId>,
    pub(crate) checks: Option<Box<Checks>>,
    pub(crate) rules: Vec<Rule>,
    /// Whether this node or one below it has CEL rules.
    pub(crate) has_rules: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Arena(Vec<Node>);

impl Arena {
    pub(super) fn push(&mut self, node: Node) -> NodeId {
        let id = u32::try_from(self.0.len()).expect("a schema has fewer than 2^32 nodes");
        self.0.push(node);
        NodeId(id)
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.0[id.0 as usize]
    }
}

impl std::ops::Index<NodeId> for Arena {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.0[id.0 as usize]
    }
}
