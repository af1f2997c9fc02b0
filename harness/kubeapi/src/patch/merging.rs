//! Merging an applied configuration into the live object: nothing is removed, the applied side wins, items keep the
//! live order except where the applied side orders them anew.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fieldset::Element;
use super::typed::{ListShape, MapShape, Relation, Shape, TypeRef, as_list, as_map, item_element};

pub(super) fn merge(ty: TypeRef<'_>, live: &Value, applied: &Value) -> Result<Value, String> {
    Ok(value(ty, Some(live), Some(applied))?.unwrap_or(Value::Null))
}

fn value(
    ty: TypeRef<'_>,
    live: Option<&Value>,
    applied: Option<&Value>,
) -> Result<Option<Value>, String> {
    let shape = match applied {
        Some(applied) => ty.shape(Some(applied)),
        None => ty.shape(live),
    };
    match shape {
        Some(Shape::List(list)) if !matches!(list.relation, Relation::Atomic) => {
            let (l, a) = (as_list(live), as_list(applied));
            if !l.is_none_or(<[_]>::is_empty) || !a.is_none_or(<[_]>::is_empty) {
                return items(&list, l.unwrap_or_default(), a.unwrap_or_default());
            }
        }
        Some(Shape::Map(map)) if !map.atomic => {
            let (l, a) = (as_map(live), as_map(applied));
            if !l.is_none_or(Map::is_empty) || !a.is_none_or(Map::is_empty) {
                return fields(&map, l, a);
            }
        }
        _ => {}
    }
    Ok(applied.or(live).cloned())
}

fn fields(
    map: &MapShape<'_>,
    live: Option<&Map<String, Value>>,
    applied: Option<&Map<String, Value>>,
) -> Result<Option<Value>, String> {
    let mut out = Map::new();
    let new = applied
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| !live.is_some_and(|l| l.contains_key(*name)));
    for name in live.into_iter().flat_map(Map::keys).chain(new) {
        let merged = value(
            map.field_or_element(name),
            live.and_then(|m| m.get(name)),
            applied.and_then(|m| m.get(name)),
        )?;
        if let Some(merged) = merged {
            out.insert(name.clone(), merged);
        }
    }
    Ok((!out.is_empty()).then(|| out.into()))
}

/// One side of a list: its items in order, each with its element.
struct Side<'v> {
    order: Vec<(Element, &'v Value)>,
    /// None for elements that occur more than once.
    unique: BTreeMap<Element, Option<&'v Value>>,
}

impl<'v> Side<'v> {
    fn new(list: &ListShape<'_>, items: &'v [Value]) -> Result<Self, String> {
        let mut side = Self {
            order: Vec::new(),
            unique: BTreeMap::new(),
        };
        for (i, item) in items.iter().enumerate() {
            let element = item_element(list, item).map_err(|e| format!("element {i}: {e}"))?;
            side.unique
                .entry(element.clone())
                .and_modify(|seen| *seen = None)
                .or_insert(Some(item));
            side.order.push((element, item));
        }
        Ok(side)
    }

    fn has(&self, element: &Element) -> bool {
        self.unique.contains_key(element)
    }

    /// The item to merge; duplicates count as null.
    fn item(&self, element: &Element) -> Option<&'v Value> {
        self.unique
            .get(element)
            .map(|item| item.unwrap_or(&Value::Null))
    }
}

fn items(list: &ListShape<'_>, live: &[Value], applied: &[Value]) -> Result<Option<Value>, String> {
    let live = Side::new(list, live)?;
    let applied = Side::new(list, applied)?;
    let mut out = Vec::new();
    let mut shared = applied
        .order
        .iter()
        .map(|(element, _)| element)
        .filter(|element| live.has(element))
        .peekable();
    let mut rest = live.order.iter().peekable();
    let mut placed: Vec<&Element> = Vec::new();
    for (element, _) in &applied.order {
        // Live items up to the next one both sides have keep their place before it.
        while let Some((standing, item)) = rest.peek() {
            if standing == element {
                rest.next();
                break;
            }
            if !applied.has(standing) {
                out.extend(value(list.element, Some(item), None)?);
                rest.next();
            } else if shared.peek().is_some_and(|next| *next != standing) {
                // It gets its place from the applied order.
                rest.next();
            } else {
                if placed.contains(&standing) {
                    rest.next();
                }
                break;
            }
        }
        let merged = value(list.element, live.item(element), applied.item(element))?;
        out.extend(merged);
        placed.push(element);
        if shared.peek() == Some(&element) {
            shared.next();
        }
    }
    for (standing, item) in rest {
        if !applied.has(standing) {
            out.extend(value(list.element, Some(item), None)?);
        }
    }
    Ok((!out.is_empty()).then(|| out.into()))
}
