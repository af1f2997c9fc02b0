//! The walks over typed values that apply is made of: which fields a value sets, what differs between two, a value
//! without some fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fieldset::{Element, Set};
use super::typed::{
    ListShape, MapShape, Relation, ScalarType, Shape, TypeRef, as_list, as_map, item_element,
};
use crate::schema::go;

/// Checks a value against its type; the error names the first place that does not fit (`.spec.foo: …`).
pub(super) fn check(ty: TypeRef<'_>, value: &Value, duplicates: bool) -> Result<(), String> {
    let mut errors = Vec::new();
    check_at(ty, value, duplicates, &mut Vec::new(), &mut errors);
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => Err(format!("errors:\n  {}", errors.join("\n  "))),
    }
}

fn check_at(
    ty: TypeRef<'_>,
    value: &Value,
    duplicates: bool,
    path: &mut Vec<String>,
    errors: &mut Vec<String>,
) {
    let mut error = |path: &[String], text: String| {
        let place = path.concat();
        errors.push(if place.is_empty() {
            text
        } else {
            format!("{place}: {text}")
        });
    };
    if value.is_null() {
        return;
    }
    match ty.shape(Some(value)) {
        None => error(path, "schema error: invalid atom: inlined".to_owned()),
        Some(Shape::Scalar(kind)) => {
            if let Some(text) = scalar_error(kind, value) {
                error(path, text);
            }
        }
        Some(Shape::List(list)) => {
            let Value::Array(items) = value else {
                error(path, format!("expected list, got {}", go_value(value)));
                return;
            };
            let mut seen = std::collections::BTreeSet::new();
            for (i, item) in items.iter().enumerate() {
                let element = match list.relation {
                    Relation::Atomic => Element::Index(i),
                    _ => match item_element(&list, item) {
                        Ok(element) => element,
                        Err(text) => {
                            let place = path.concat();
                            errors.push(format!("{place}: element {i}: {text}"));
                            return;
                        }
                    },
                };
                if !seen.insert(element.clone()) && !duplicates {
                    let place = path.concat();
                    errors.push(format!("{place}: duplicate entries for key {element}"));
                }
                path.push(element.to_string());
                check_at(list.element, item, duplicates, path, errors);
                path.pop();
            }
        }
        Some(Shape::Map(map)) => {
            let Value::Object(fields) = value else {
                error(path, format!("expected map, got {}", go_value(value)));
                return;
            };
            for (name, value) in fields {
                let ty = map.field_or_element(name);
                path.push(format!(".{name}"));
                if matches!(ty, TypeRef::Undeclared) {
                    errors.push(format!("{}: field not declared in schema", path.concat()));
                } else {
                    check_at(ty, value, duplicates, path, errors);
                }
                path.pop();
            }
        }
    }
}

fn scalar_error(kind: ScalarType, value: &Value) -> Option<String> {
    let fits = match kind {
        ScalarType::Numeric => value.is_number(),
        ScalarType::String => value.is_string(),
        ScalarType::Boolean => value.is_boolean(),
        ScalarType::Untyped => !value.is_object() && !value.is_array(),
    };
    if fits {
        return None;
    }
    Some(match kind {
        ScalarType::Numeric => {
            let got = match value {
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Array(_) => "[]interface {}",
                _ => "map[string]interface {}",
            };
            format!("expected numeric (int or float), got {got}")
        }
        ScalarType::String => format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go::shown(value)
        ),
        ScalarType::Boolean => format!("expected boolean, got {}", go_value(value)),
        ScalarType::Untyped => format!("expected any scalar, got {}", go_value(value)),
    })
}

/// `%v` of an unstructured value.
fn go_value(value: &Value) -> String {
    format!("&{{{}}}", go::plain(value))
}

/// Every leaf field and list item a value sets.
pub(super) fn fields(ty: TypeRef<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    fields_at(ty, value, &mut Vec::new(), &mut set);
    set
}

fn fields_at(ty: TypeRef<'_>, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    match ty.shape(Some(value)) {
        None => {}
        Some(Shape::Scalar(_)) => set.insert(path),
        Some(Shape::List(list)) => {
            if matches!(list.relation, Relation::Atomic) {
                set.insert(path);
                return;
            }
            for (element, items) in by_element(&list, as_list(Some(value)).unwrap_or_default()) {
                path.push(element);
                if let [item] = items[..] {
                    fields_at(list.element, item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        Some(Shape::Map(map)) => {
            if map.atomic {
                set.insert(path);
                return;
            }
            for (name, value) in as_map(Some(value)).into_iter().flatten() {
                path.push(Element::Field(name.clone()));
                fields_at(map.field_or_element(name), value, path, set);
                let hollow = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if hollow || map.field(name).is_none() {
                    set.insert(path);
                }
                path.pop();
            }
        }
    }
}

/// Items by their element; more than one under an element are duplicates. Items without an element do not count.
fn by_element<'v>(list: &ListShape<'_>, items: &'v [Value]) -> BTreeMap<Element, Vec<&'v Value>> {
    let mut out: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for item in items {
        if let Ok(element) = item_element(list, item) {
            out.entry(element).or_default().push(item);
        }
    }
    out
}

/// What changed between two values.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Comparison {
    /// Without some fields and what is below them.
    pub(super) fn without(&self, fields: &Set) -> Self {
        Self {
            added: self.added.recursive_difference(fields),
            modified: self.modified.recursive_difference(fields),
            removed: self.removed.recursive_difference(fields),
        }
    }
}

pub(super) fn compare(ty: TypeRef<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparer = Comparer {
        path: Vec::new(),
        found: Comparison::default(),
    };
    comparer.value(ty, Some(old), Some(new));
    comparer.found
}

struct Comparer {
    path: Vec<Element>,
    found: Comparison,
}

impl Comparer {
    fn value(&mut self, ty: TypeRef<'_>, old: Option<&Value>, new: Option<&Value>) {
        let (old_shape, new_shape) = (ty.shape(old), ty.shape(new));
        let is_leaf = match (old, new) {
            (_, None) => self.shape(old_shape, old, new),
            (None, _) => self.shape(new_shape, old, new),
            _ => match (old_shape, new_shape) {
                (Some(o), Some(n)) if !o.same_kind(&n) => {
                    self.shape(old_shape, old, new);
                    self.shape(new_shape, old, new)
                }
                _ => self.shape(new_shape, old, new),
            },
        };
        if is_leaf {
            return;
        }
        if old.is_none() {
            self.found.added.insert(&self.path);
        } else if new.is_none() {
            self.found.removed.insert(&self.path);
        }
    }

    /// Compares by a shape; true when the value was taken as a whole.
    fn shape(
        &mut self,
        shape: Option<Shape<'_>>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> bool {
        match shape {
            None | Some(Shape::Scalar(_)) => {}
            Some(Shape::List(list)) => {
                let (o, n) = (as_list(old), as_list(new));
                let hollow = o.is_none_or(<[_]>::is_empty) && n.is_none_or(<[_]>::is_empty);
                if !hollow && !matches!(list.relation, Relation::Atomic) {
                    self.list(&list, o.unwrap_or_default(), n.unwrap_or_default());
                    return false;
                }
            }
            Some(Shape::Map(map)) => {
                let (o, n) = (as_map(old), as_map(new));
                let hollow = o.is_none_or(Map::is_empty) && n.is_none_or(Map::is_empty);
                if !hollow && !map.atomic {
                    self.map(&map, o, n);
                    return false;
                }
            }
        }
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(old), Some(new)) if !equal(old, new) => {
                self.found.modified.insert(&self.path);
            }
            _ => {}
        }
        true
    }

    fn map(
        &mut self,
        map: &MapShape<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        let get = |side: Option<&'_ Map<String, Value>>, name: &str| {
            side.is_some_and(|m| m.contains_key(name))
        };
        let names = old
            .into_iter()
            .flat_map(Map::keys)
            .chain(new.into_iter().flat_map(Map::keys).filter(|n| !get(old, n)));
        for name in names {
            self.path.push(Element::Field(name.clone()));
            self.value(
                map.field_or_element(name),
                old.and_then(|m| m.get(name)),
                new.and_then(|m| m.get(name)),
            );
            self.path.pop();
        }
    }

    fn list(&mut self, list: &ListShape<'_>, old: &[Value], new: &[Value]) {
        let (old, new) = (by_element(list, old), by_element(list, new));
        let elements: std::collections::BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
        for element in elements {
            let o = old.get(element).map_or(&[][..], Vec::as_slice);
            let n = new.get(element).map_or(&[][..], Vec::as_slice);
            self.path.push(element.clone());
            match (o, n) {
                ([] | [_], [] | [_]) => {
                    self.value(list.element, o.first().copied(), n.first().copied());
                }
                // Duplicates on both sides are compared as a whole.
                ([_, _, ..], [_, _, ..]) => {
                    if o.len() != n.len() || o.iter().zip(n).any(|(o, n)| !equal(o, n)) {
                        self.found.modified.insert(&self.path);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(n) = n.first() {
                        self.value(list.element, None, Some(n));
                    }
                    self.found.removed.insert(&self.path);
                }
                (_, _) => {
                    if let Some(o) = o.first() {
                        self.value(list.element, Some(o), None);
                    }
                    self.found.added.insert(&self.path);
                }
            }
            self.path.pop();
        }
    }
}

/// Equality in which 1 and 1.0 are the same number.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, value)| b.get(name).is_some_and(|b| equal(value, b)))
        }
        _ => a == b,
    }
}

/// The value without the items of the set; what loses all it had becomes null.
pub(super) fn remove(ty: TypeRef<'_>, value: &Value, set: &Set) -> Value {
    match (ty.shape(Some(value)), value) {
        (Some(Shape::List(list)), Value::Array(items)) => {
            if matches!(list.relation, Relation::Atomic) {
                return Value::Null;
            }
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| {
                    let Ok(element) = item_element(&list, item) else {
                        return Some(item.clone());
                    };
                    if set.has_member(&element) {
                        return None;
                    }
                    Some(match set.below(&element) {
                        Some(below) => remove(list.element, item, below),
                        None => item.clone(),
                    })
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                kept.into()
            }
        }
        (Some(Shape::Map(map)), Value::Object(fields)) => {
            if map.atomic {
                return Value::Null;
            }
            let kept: Map<String, Value> = fields
                .iter()
                .filter_map(|(name, value)| {
                    let element = Element::Field(name.clone());
                    if set.has_member(&element) {
                        return None;
                    }
                    let value = match set.below(&element) {
                        Some(below) => remove(map.field_or_element(name), value, below),
                        None => value.clone(),
                    };
                    Some((name.clone(), value))
                })
                .collect();
            if kept.is_empty() {
                Value::Null
            } else {
                kept.into()
            }
        }
        (Some(Shape::Scalar(_)), scalar) => scalar.clone(),
        _ => Value::Null,
    }
}
