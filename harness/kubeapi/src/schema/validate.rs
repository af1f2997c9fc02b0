//! Validation of values against the OpenAPI part of a schema, with the texts of the API server.
//!
//! What did not change is not held against an update: an error below a value that equals its old one is dropped
//! ("ratcheting"), as long as old and new can be matched (not by position in a list).

use serde_json::{Map, Number, Value};

use super::checks::{Bound, Checks};
use super::correlate;
use super::error::FieldError;
use super::node::{Additional, Arena, Node, NodeId, Type};
use super::{formats, go, path};

pub(super) fn validate(
    arena: &Arena,
    root: NodeId,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    Validator { arena }.value(&arena[root], new, old, "").errors
}

struct Validator<'a> {
    arena: &'a Arena,
}

/// Errors found, and how much was looked at: of several failing branches the one that got furthest is reported.
#[derive(Default)]
struct Findings {
    errors: Vec<FieldError>,
    looked_at: usize,
}

impl Findings {
    fn merge(&mut self, other: Self) {
        self.looked_at += other.looked_at;
        self.add(other.errors);
    }

    fn add(&mut self, errors: impl IntoIterator<Item = FieldError>) {
        for error in errors {
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }
}

impl Validator<'_> {
    fn value(&self, node: &Node, value: &Value, old: Option<&Value>, at: &str) -> Findings {
        let mut found = Findings::default();
        found.looked_at += 1;
        found.add(type_error(node, value, at));
        let checks = node.checks.as_deref();
        if value.is_null() {
            found.add(checks.and_then(|c| enumeration(c, value, at)));
            return ratchet(found, value, old);
        }
        if let Some(checks) = checks {
            self.junctors(checks, value, old, at, &mut found);
        }
        match value {
            Value::String(text) => {
                found.looked_at += 1;
                found.add(checks.and_then(|c| string(c, text, at)));
                found.add(format(node, text, at));
            }
            Value::Number(number) => {
                found.looked_at += 1;
                found.add(checks.into_iter().flat_map(|c| numeric(c, number, at)));
            }
            Value::Array(items) => {
                found.looked_at += 1;
                self.items(node, items, old, at, &mut found);
                found.add(checks.into_iter().flat_map(|c| list(c, items, at)));
            }
            _ => {}
        }
        found.add(checks.and_then(|c| enumeration(c, value, at)));
        if let Value::Object(map) = value {
            found.looked_at += 1;
            found.add(checks.into_iter().flat_map(|c| sizes(c, map, at)));
            self.fields(node, map, old, at, &mut found);
        }
        ratchet(found, value, old)
    }

    fn items(
        &self,
        node: &Node,
        items: &[Value],
        old: Option<&Value>,
        at: &str,
        found: &mut Findings,
    ) {
        let Some(element) = node.items else { return };
        for (i, item) in items.iter().enumerate() {
            let old = correlate::item(self.arena, node, item, old);
            found.merge(self.value(&self.arena[element], item, old, &path::index(at, i)));
        }
    }

    fn fields(
        &self,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&Value>,
        at: &str,
        found: &mut Findings,
    ) {
        for (name, value) in map {
            let id = match (node.properties.get(name), node.additional) {
                // A resource's metadata is checked elsewhere; its own schema may only restrict it.
                (Some(_), _) if node.embedded && name == "metadata" => node.metadata_checks,
                (Some(id), _) => Some(*id),
                (None, Additional::Schema(id)) => Some(id),
                (None, _) => None,
            };
            if let Some(id) = id {
                let old = correlate::field(name, old);
                found.merge(self.value(&self.arena[id], value, old, &path::child(at, name)));
            }
        }
        let missing = node.required.iter().filter(|name| !map.contains_key(*name));
        found.add(missing.map(|name| FieldError::required(path::child(at, name), "")));
    }

    fn junctors(
        &self,
        checks: &Checks,
        value: &Value,
        old: Option<&Value>,
        at: &str,
        found: &mut Findings,
    ) {
        let branch = |id: &NodeId| self.value(&self.arena[*id], value, old, at);
        let whole = |text: String| FieldError::invalid("", &"".into(), &text);
        if !checks.any_of.is_empty() {
            let results: Vec<Findings> = checks.any_of.iter().map(branch).collect();
            if !results.iter().any(|r| r.errors.is_empty()) {
                found.add([whole(format!(
                    "{} must validate at least one schema (anyOf)",
                    go::quoted(at)
                ))]);
                found.merge(furthest(results));
            }
        }
        if !checks.one_of.is_empty() {
            let results: Vec<Findings> = checks.one_of.iter().map(branch).collect();
            let valid = results.iter().filter(|r| r.errors.is_empty()).count();
            if valid != 1 {
                let found_text = match valid {
                    0 => "Found none valid".to_owned(),
                    n => format!("Found {n} valid alternatives"),
                };
                found.add([whole(format!(
                    "{} must validate one and only one schema (oneOf). {found_text}",
                    go::quoted(at)
                ))]);
                if valid == 0 {
                    found.merge(furthest(results));
                }
            }
        }
        if !checks.all_of.is_empty() {
            let results: Vec<Findings> = checks.all_of.iter().map(branch).collect();
            let valid = results.iter().filter(|r| r.errors.is_empty()).count();
            let all = results.len();
            for result in results {
                found.merge(result);
            }
            if valid != all {
                let none = if valid == 0 { ". None validated" } else { "" };
                found.add([whole(format!(
                    "{} must validate all the schemas (allOf){none}",
                    go::quoted(at)
                ))]);
            }
        }
        if let Some(not) = &checks.not
            && branch(not).errors.is_empty()
        {
            found.add([whole(format!(
                "{} must not validate the schema (not)",
                go::quoted(at)
            ))]);
        }
    }
}

fn ratchet(mut found: Findings, value: &Value, old: Option<&Value>) -> Findings {
    if old == Some(value) {
        found.errors.clear();
    }
    found
}

fn furthest(results: Vec<Findings>) -> Findings {
    results
        .into_iter()
        .reduce(|best, next| {
            if next.looked_at > best.looked_at {
                next
            } else {
                best
            }
        })
        .unwrap_or_default()
}

/// The JSON type of a value, and the format that goes with it.
fn type_of(value: &Value) -> (&'static str, &'static str) {
    match value {
        Value::Null => ("null", ""),
        Value::Bool(_) => ("boolean", ""),
        Value::Number(n) if n.is_f64() => ("number", "float64"),
        Value::Number(_) => ("integer", "int64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    }
}

fn wrong_type(at: &str, wanted: &str, got: &str) -> FieldError {
    FieldError::type_invalid(
        at,
        &got.into(),
        &format!("{at} in body must be of type {wanted}: {}", go::quoted(got)),
    )
}

fn type_error(node: &Node, value: &Value, at: &str) -> Option<FieldError> {
    let (got, got_format) = type_of(value);
    if value.is_null() {
        let fits = node.ty == Type::Any || node.nullable;
        return (!fits).then(|| wrong_type(at, node.ty.name(), got));
    }
    let wanted_format = node
        .format
        .as_deref()
        .filter(|f| formats::known(f).is_some());
    let fits = match node.ty {
        Type::Any => true,
        Type::IntOrString => got == "integer" || got == "string" || integral(value),
        Type::Integer => got == "integer" || integral(value),
        Type::Number => got == "number" || got == "integer",
        other => got == other.name(),
    };
    let string_or_list = matches!(value, Value::String(_) | Value::Array(_));
    let numeric = matches!(node.ty, Type::Integer | Type::Number | Type::IntOrString);
    match wanted_format {
        Some(format) if !string_or_list && (!fits || node.ty == Type::Any) => {
            Some(wrong_type(at, format, got_format))
        }
        Some(_) if string_or_list && !numeric => None,
        _ => (!fits).then(|| wrong_type(at, node.ty.name(), got)),
    }
}

fn integral(value: &Value) -> bool {
    value.as_f64().is_some_and(|n| n.fract() == 0.0)
}

fn enumeration(checks: &Checks, value: &Value, at: &str) -> Option<FieldError> {
    // 1 and 1.0 are the same number, as everywhere in JSON.
    let same = |candidate: &Value| {
        candidate == value
            || (value.is_number() && candidate.is_number() && candidate.as_f64() == value.as_f64())
    };
    if checks.enumeration.is_empty() || checks.enumeration.iter().any(same) {
        return None;
    }
    let values: Vec<String> = checks
        .enumeration
        .iter()
        .map(|v| v.as_str().map_or_else(|| go::json(v), str::to_owned))
        .collect();
    Some(FieldError::not_supported(at, value, &values))
}

fn string(checks: &Checks, text: &str, at: &str) -> Option<FieldError> {
    let length = text.chars().count() as u64;
    let value = Value::from(text);
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        return Some(FieldError::too_long(at, max));
    }
    if let Some(min) = checks.min_length.filter(|min| length < *min) {
        let detail = format!("{at} in body should be at least {min} chars long");
        return Some(FieldError::invalid(at, &value, &detail));
    }
    let pattern = checks.pattern.as_ref()?;
    let matches = pattern.regex.as_ref().is_some_and(|r| r.is_match(text));
    (!matches).then(|| {
        let detail = format!("{at} in body should match '{}'", pattern.text);
        FieldError::invalid(at, &value, &detail)
    })
}

fn format(node: &Node, text: &str, at: &str) -> Option<FieldError> {
    let format = node.format.as_deref()?;
    let accepts = formats::known(format)?;
    (!accepts(text)).then(|| wrong_type(at, format, text))
}

fn numeric<'c>(
    checks: &'c Checks,
    number: &'c Number,
    at: &'c str,
) -> impl Iterator<Item = FieldError> + 'c {
    let value = number.as_f64().unwrap_or_default();
    // A bound is shown as an integer beside an integer.
    let shown = move |bound: f64| {
        if number.is_f64() {
            go::float(bound)
        } else {
            go::float(bound.trunc())
        }
    };
    let error = move |text: String| {
        FieldError::invalid(
            at,
            &Value::Number(number.clone()),
            &format!("{at} in body should be {text}"),
        )
    };
    let multiple = checks
        .multiple_of
        .filter(|factor| (value / factor).fract() != 0.0)
        .map(move |factor| error(format!("a multiple of {}", shown(factor))));
    let minimum = checks.minimum.and_then(
        move |Bound {
                  value: min,
                  exclusive,
              }| {
            let text = match exclusive {
                true if value <= min => "greater than",
                false if value < min => "greater than or equal to",
                _ => return None,
            };
            Some(error(format!("{text} {}", shown(min))))
        },
    );
    let maximum = checks.maximum.and_then(
        move |Bound {
                  value: max,
                  exclusive,
              }| {
            let text = match exclusive {
                true if value >= max => "less than",
                false if value > max => "less than or equal to",
                _ => return None,
            };
            Some(error(format!("{text} {}", shown(max))))
        },
    );
    multiple.into_iter().chain(minimum).chain(maximum)
}

fn list<'c>(
    checks: &'c Checks,
    items: &'c [Value],
    at: &'c str,
) -> impl Iterator<Item = FieldError> + 'c {
    let size = items.len() as u64;
    let few = checks.min_items.filter(|min| size < *min).map(move |min| {
        let detail = format!("{at} in body should have at least {min} items");
        FieldError::invalid(at, &size.into(), &detail)
    });
    let many = checks
        .max_items
        .filter(|max| size > *max)
        .map(move |max| FieldError::too_many(at, size, max));
    let repeated = checks.unique_items
        && items
            .iter()
            .enumerate()
            .any(|(i, item)| items[..i].contains(item));
    let repeated = repeated.then(|| {
        let detail = format!("{at} in body shouldn't contain duplicates");
        FieldError::invalid(at, &"".into(), &detail)
    });
    few.into_iter().chain(many).chain(repeated)
}

fn sizes<'c>(
    checks: &'c Checks,
    map: &'c Map<String, Value>,
    at: &'c str,
) -> impl Iterator<Item = FieldError> + 'c {
    let size = map.len() as u64;
    let few = checks
        .min_properties
        .filter(|min| size < *min)
        .map(move |min| {
            let detail = format!("{at} in body should have at least {min} properties");
            FieldError::invalid(at, &size.into(), &detail)
        });
    let many = checks
        .max_properties
        .filter(|max| size > *max)
        .map(move |max| FieldError::too_many(at, size, max));
    few.into_iter().chain(many)
}
