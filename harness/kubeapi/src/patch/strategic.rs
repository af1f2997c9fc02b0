//! Strategic merge patch: like a merge patch, but lists merge by key where the schema says so, and directives
//! (`$patch`, `$retainKeys`, `$deleteFromPrimitiveList/…`, `$setElementOrder/…`) say what a merge cannot.

use serde_json::{Map, Value};

use super::PatchError;
use crate::schema::node::{Additional, Arena, Node};
use crate::schema::{Schema, go};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

pub(super) fn strategic(schema: &Schema, doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::BadRequest(super::not_an_object(patch)));
    };
    let doc = doc.as_object().cloned().unwrap_or_default();
    let place = Place {
        arena: schema.arena(),
        node: Some(&schema.arena()[schema.root()]),
    };
    Ok(place.merge_map(doc, patch.clone())?.into())
}

/// A place in the schema; below free-form values there is no node.
#[derive(Clone, Copy)]
struct Place<'a> {
    arena: &'a Arena,
    node: Option<&'a Node>,
}

fn failed(text: impl Into<String>) -> PatchError {
    PatchError::Failed(text.into())
}

fn unknown_directive(directive: &Value, map: &Object) -> PatchError {
    let directive = directive
        .as_str()
        .map_or_else(|| directive.to_string(), str::to_owned);
    failed(format!(
        "unknown patch type: {directive} in map: {}",
        go::plain(&map.clone().into())
    ))
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn wrong_kind(expected: &str, got: &Value) -> PatchError {
    failed(format!(
        "expected a {expected}, but received a {}",
        go_kind(got)
    ))
}

fn as_list(value: Value) -> Result<Vec<Value>, PatchError> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(wrong_kind("[]interface {}", &other)),
    }
}

impl<'a> Place<'a> {
    fn field(self, name: &str) -> Self {
        let id = self.node.and_then(|node| {
            let additional = match node.additional {
                Additional::Schema(id) => Some(id),
                _ => None,
            };
            node.properties.get(name).copied().or(additional)
        });
        Self {
            node: id.map(|id| &self.arena[id]),
            ..self
        }
    }

    fn element(self) -> Self {
        Self {
            node: self.node.and_then(|n| n.items).map(|id| &self.arena[id]),
            ..self
        }
    }

    fn merges(self) -> bool {
        self.node.is_some_and(|n| n.patch.merge)
    }

    fn merge_key(self) -> Option<&'a str> {
        self.node?.patch.merge_key.as_deref()
    }

    fn merge_map(self, mut original: Object, mut patch: Object) -> Result<Object, PatchError> {
        if let Some(directive) = patch.get(PATCH) {
            return match directive.as_str() {
                Some("replace") => {
                    patch.shift_remove(PATCH);
                    Ok(patch)
                }
                Some("delete") => Ok(Object::new()),
                _ => Err(unknown_directive(directive, &patch)),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        let orders: Vec<String> = patch
            .keys()
            .filter(|key| key.starts_with(SET_ORDER))
            .cloned()
            .collect();
        for key in orders {
            if let Some(order) = patch.shift_remove(&key) {
                let field = &key[SET_ORDER.len()..];
                self.field(field)
                    .ordered(field, &as_list(order)?, &mut original, &mut patch)?;
            }
        }
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(DELETE_FROM) {
                let (Some(Value::Array(items)), Value::Array(gone)) =
                    (original.get_mut(field), value)
                else {
                    continue;
                };
                items.retain(|item| !gone.contains(item));
            } else {
                self.field(&key).merge_field(key, value, &mut original)?;
            }
        }
        Ok(original)
    }

    fn merge_field(
        self,
        key: String,
        value: Value,
        original: &mut Object,
    ) -> Result<(), PatchError> {
        let merged = match (original.get_mut(&key), value) {
            (_, Value::Null) => None,
            (Some(Value::Object(old)), Value::Object(new)) => {
                Some(self.merge_map(std::mem::take(old), new)?.into())
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Some(self.merge_list(std::mem::take(old), new)?.into())
            }
            (_, new) => without_directives(without_nulls(new)),
        };
        match merged {
            Some(merged) => {
                original.insert(key, merged);
            }
            None => {
                original.shift_remove(&key);
            }
        }
        Ok(())
    }

    fn merge_list(self, original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, PatchError> {
        if !self.merges() {
            return Ok(patch);
        }
        if original.is_empty() && patch.is_empty() {
            return Ok(original);
        }
        let Some(key) = self.list_key(&original, &patch)? else {
            let mut merged: Vec<Value> = Vec::new();
            for item in original.iter().chain(&patch) {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            return in_order(merged, &patch, &original, None);
        };
        let (original, patch) = list_directives(original, patch, key)?;
        let mut merged = original.clone();
        for item in &patch {
            let item = item
                .as_object()
                .ok_or_else(|| wrong_kind("map[string]interface {}", item))?;
            let wanted = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
            match merged
                .iter_mut()
                .find(|old| old.get(key) == Some(wanted))
                .and_then(Value::as_object_mut)
            {
                Some(old) => {
                    let new = self
                        .element()
                        .merge_map(std::mem::take(old), item.clone())?;
                    *old = new;
                }
                None => merged.push(item.clone().into()),
            }
        }
        in_order(merged, &patch, &original, Some(key))
    }

    /// The merge key of a list of maps; None for a list of scalars.
    fn list_key(self, original: &[Value], patch: &[Value]) -> Result<Option<&'a str>, PatchError> {
        let items = || original.iter().chain(patch);
        if items().any(Value::is_array) {
            return Err(PatchError::Unprocessable(
                "lists of lists are not supported".to_owned(),
            ));
        }
        let maps = items().filter(|item| item.is_object()).count();
        if maps == 0 {
            return Ok(None);
        }
        if let Some(other) = items().find(|item| !item.is_object()) {
            return Err(wrong_kind("map[string]interface {}", other));
        }
        self.merge_key().map(Some).ok_or_else(|| {
            let name = self
                .element()
                .node
                .and_then(|n| n.name.as_deref())
                .and_then(|n| n.rsplit('.').next())
                .unwrap_or_default();
            failed(format!("cannot merge lists without merge key for {name}"))
        })
    }

    /// Merges a list that comes with the order its items are to have.
    fn ordered(
        self,
        field: &str,
        order: &[Value],
        original: &mut Object,
        patch: &mut Object,
    ) -> Result<(), PatchError> {
        let old = original.get(field).cloned().map(as_list).transpose()?;
        let new = patch.shift_remove(field).map(as_list).transpose()?;
        let key = self.merge_key();
        let server_order = old.clone().unwrap_or_default();
        if let Some(new) = &new {
            agree(new, order, key)?;
        }
        let merged = match (old, new) {
            (None, None) => return Ok(()),
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => self.merge_list(old, new)?,
        };
        let merged = in_order(merged, order, &server_order, key)?;
        original.insert(field.to_owned(), merged.into());
        Ok(())
    }
}

fn no_merge_key(map: &Object, key: &str) -> PatchError {
    failed(format!(
        "map: {} does not contain declared merge key: {key}",
        go::plain(&map.clone().into())
    ))
}

/// `$retainKeys` names all keys to keep; the patch must not set others.
fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), PatchError> {
    let malformed = || PatchError::BadRequest("invalid patch format of retainKeys".to_owned());
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = keys else {
        return Err(malformed());
    };
    let kept = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let stray = patch.iter().any(|(name, value)| {
        !value.is_null()
            && !name.starts_with(DELETE_FROM)
            && !name.starts_with(SET_ORDER)
            && !kept(name)
    });
    if stray {
        return Err(malformed());
    }
    original.retain(|name, _| kept(name));
    Ok(())
}

/// Carries out `$patch` directives among a list's items; returns what is left of both lists.
fn list_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut rest = Vec::new();
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(PATCH) else {
            rest.push(item);
            continue;
        };
        let map = item.as_object().cloned().unwrap_or_default();
        match directive.as_str() {
            Some("delete") => {
                let gone = map.get(key).ok_or_else(|| no_merge_key(&map, key))?;
                original.retain(|old| old.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(failed("merging lists cannot yet be specified in the patch"));
            }
            _ => return Err(unknown_directive(directive, &map)),
        }
    }
    Ok(if replace {
        (rest, Vec::new())
    } else {
        (original, rest)
    })
}

/// What is the same item in two lists: the merge key's value, or the scalar itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

fn position(items: &[Value], item: &Value, key: Option<&str>) -> Option<usize> {
    let wanted = identity(item, key)?;
    items
        .iter()
        .position(|candidate| identity(candidate, key) == Some(wanted))
}

/// Orders a merged list: items of the patch in the patch's order, the server's own in the server's, and between the
/// two an own item goes first when the server has it before the other.
fn in_order(
    merged: Vec<Value>,
    order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for item in merged.iter().chain(order) {
            match item.as_object() {
                Some(map) if map.contains_key(key) => {}
                Some(map) => return Err(no_merge_key(map, key)),
                None => return Err(wrong_kind("map[string]interface {}", item)),
            }
        }
    }
    let (mut patched, mut own): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| position(order, item, key).is_some());
    patched.sort_by_key(|item| position(order, item, key));
    own.sort_by_key(|item| position(server_order, item, key).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(patched.len() + own.len());
    let (mut patched, mut own) = (patched.into_iter().peekable(), own.into_iter().peekable());
    loop {
        let own_first = match (own.peek(), patched.peek()) {
            (None, None) => return Ok(out),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(own), Some(patched)) => {
                let places = (
                    position(server_order, own, key),
                    position(server_order, patched, key),
                );
                matches!(places, (Some(own), Some(patched)) if own < patched)
            }
        };
        out.extend(if own_first {
            own.next()
        } else {
            patched.next()
        });
    }
}

/// A patch's list must not contradict the order it comes with.
fn agree(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| item.get(PATCH).is_none()) {
        let wanted = identity(item, key);
        if !rest.any(|candidate| identity(candidate, key) == wanted) {
            return Err(PatchError::BadRequest(
                "invalid patch format of setElementOrder list".to_owned(),
            ));
        }
    }
    Ok(())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect::<Object>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A value that is taken over whole; None when it is itself a directive.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(PATCH) {
                return None;
            }
            let map: Object = map
                .into_iter()
                .filter_map(|(name, value)| Some((name, without_directives(value)?)))
                .collect();
            Some(map.into())
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}
