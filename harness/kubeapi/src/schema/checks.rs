//! Value validation: what a schema asks of a value beyond its type.

use regex::Regex;
use serde_json::Value;

use super::node::NodeId;
use super::parse::Parser;

#[derive(Debug, Clone, Default)]
pub(crate) struct Checks {
    pub(super) enumeration: Vec<Value>,
    pub(super) pattern: Option<Pattern>,
    pub(super) minimum: Option<Bound>,
    pub(super) maximum: Option<Bound>,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<u64>,
    pub(super) max_length: Option<u64>,
    pub(super) min_items: Option<u64>,
    pub(super) max_items: Option<u64>,
    pub(super) unique_items: bool,
    pub(super) min_properties: Option<u64>,
    pub(super) max_properties: Option<u64>,
    pub(super) all_of: Vec<NodeId>,
    pub(super) any_of: Vec<NodeId>,
    pub(super) one_of: Vec<NodeId>,
    pub(super) not: Option<NodeId>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(super) value: f64,
    pub(super) exclusive: bool,
}

/// A pattern as written, and compiled where it is a valid expression (others are refused with the CRD).
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(super) text: String,
    pub(super) regex: Option<Regex>,
}

impl Checks {
    /// None when the schema asks for nothing.
    pub(super) fn parse(schema: &Value, parser: &mut Parser<'_>) -> Option<Box<Self>> {
        const NAMES: [&str; 16] = [
            "enum",
            "pattern",
            "minimum",
            "maximum",
            "multipleOf",
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "uniqueItems",
            "minProperties",
            "maxProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ];
        let fields = schema.as_object()?;
        if !NAMES.iter().any(|name| fields.contains_key(*name)) {
            return None;
        }
        let count = |name: &str| schema.get(name).and_then(Value::as_u64);
        let flag = |name: &str| schema.get(name).and_then(Value::as_bool) == Some(true);
        let bound = |name: &str, exclusive: &str| {
            Some(Bound {
                value: schema.get(name)?.as_f64()?,
                exclusive: flag(exclusive),
            })
        };
        Some(Box::new(Self {
            enumeration: array(schema, "enum").to_vec(),
            pattern: schema
                .get("pattern")
                .and_then(Value::as_str)
                .filter(|p| !p.is_empty())
                .map(Pattern::new),
            minimum: bound("minimum", "exclusiveMinimum"),
            maximum: bound("maximum", "exclusiveMaximum"),
            multiple_of: schema.get("multipleOf").and_then(Value::as_f64),
            min_length: count("minLength"),
            max_length: count("maxLength"),
            min_items: count("minItems"),
            max_items: count("maxItems"),
            unique_items: flag("uniqueItems"),
            min_properties: count("minProperties"),
            max_properties: count("maxProperties"),
            all_of: branches(schema, "allOf", parser),
            any_of: branches(schema, "anyOf", parser),
            one_of: branches(schema, "oneOf", parser),
            not: schema
                .get("not")
                .filter(|n| n.is_object())
                .map(|n| parser.schema(n)),
        }))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            regex: Regex::new(text).ok(),
        }
    }
}

fn array<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn branches(schema: &Value, name: &str, parser: &mut Parser<'_>) -> Vec<NodeId> {
    array(schema, name)
        .iter()
        .map(|branch| parser.schema(branch))
        .collect()
}
