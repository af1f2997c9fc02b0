//! The `fieldsV1` encoding of field sets: `f:` fields, `k:` list items by key, `v:` set items, `i:` indices, and `.`
//! for a field that is a member beside its children.

use serde_json::{Map, Value};

use super::fieldset::{Element, Scalar, Set};
use crate::schema::go;

pub(super) fn encode(set: &Set) -> Value {
    contents(set, false).into()
}

fn contents(set: &Set, with_self: bool) -> Map<String, Value> {
    let mut out = Map::new();
    if with_self && !set.is_empty() {
        out.insert(".".to_owned(), Map::new().into());
    }
    for (element, member, children) in set.entries() {
        if member || !children.is_empty() {
            out.insert(key(element), contents(children, member).into());
        }
    }
    out
}

fn key(element: &Element) -> String {
    match element {
        Element::Field(name) => format!("f:{name}"),
        Element::Key(fields) => {
            let fields: Map<String, Value> = fields
                .iter()
                .map(|(name, value)| (name.clone(), value.0.clone()))
                .collect();
            format!("k:{}", go::json(&fields.into()))
        }
        Element::Value(value) => format!("v:{}", go::json(&value.0)),
        Element::Index(index) => format!("i:{index}"),
    }
}

/// Reads a set; elements of kinds unknown here are skipped, malformed ones are errors.
pub(super) fn decode(fields: &Value) -> Result<Set, String> {
    match fields {
        Value::Null => Ok(Set::default()),
        Value::Object(map) => Ok(children(map)?.0),
        _ => Err("fieldsV1 must be an object".to_owned()),
    }
}

/// What is below, and whether the field itself is a member: it is when it says so, or when nothing is below it.
fn children(map: &Map<String, Value>) -> Result<(Set, bool), String> {
    let mut set = Set::default();
    let mut is_member = false;
    for (name, value) in map {
        if name == "." {
            is_member = true;
            continue;
        }
        let Some(element) = element(name)? else {
            continue;
        };
        let Value::Object(below) = value else {
            return Err(format!("{name} must be an object"));
        };
        let (below, member) = children(below)?;
        set.add(element, member, &below);
    }
    let is_member = is_member || set.is_empty();
    Ok((set, is_member))
}

fn element(name: &str) -> Result<Option<Element>, String> {
    let malformed = || format!("malformed path element {name}");
    let (kind, text) = name.split_once(':').ok_or_else(malformed)?;
    Ok(Some(match kind {
        "f" => Element::Field(text.to_owned()),
        "v" => Element::Value(Scalar(serde_json::from_str(text).map_err(|_| malformed())?)),
        "i" => Element::Index(text.parse().map_err(|_| malformed())?),
        "k" => {
            let fields: Map<String, Value> = serde_json::from_str(text).map_err(|_| malformed())?;
            let mut fields: Vec<(String, Scalar)> = fields
                .into_iter()
                .map(|(name, value)| (name, Scalar(value)))
                .collect();
            fields.sort();
            Element::Key(fields)
        }
        _ => return Ok(None),
    }))
}
