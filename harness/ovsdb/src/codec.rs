//! JSON notation of values (RFC 7047 §5.1), driven by the type of the column.
//!
//! Reasons of failure are fragments; the callers put table and column in front.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::row::Row;
use crate::schema::{AtomicType, BaseType, ColumnType, TableSchema};
use crate::value::{Atom, Datum, Real};

/// Checks a value against its column and writes it down.
pub(crate) fn encode(kind: &ColumnType, datum: &Datum) -> Result<Value, String> {
    check(kind, datum, true)?;
    Ok(write(datum))
}

/// Like [`encode`], for operands of mutations and conditions: any number of elements is fine.
pub(crate) fn encode_operand(kind: &ColumnType, datum: &Datum) -> Result<Value, String> {
    check(kind, datum, false)?;
    Ok(write(datum))
}

fn write(datum: &Datum) -> Value {
    match datum {
        Datum::Set(set) => match set.first() {
            Some(only) if set.len() == 1 => write_atom(only),
            _ => json!(["set", set.iter().map(write_atom).collect::<Vec<_>>()]),
        },
        Datum::Map(map) => {
            let pairs: Vec<_> = map
                .iter()
                .map(|(k, v)| json!([write_atom(k), write_atom(v)]))
                .collect();
            json!(["map", pairs])
        }
    }
}

fn write_atom(atom: &Atom) -> Value {
    match atom {
        Atom::Integer(i) => json!(i),
        Atom::Real(r) => json!(r.0),
        Atom::Boolean(b) => json!(b),
        Atom::String(s) => json!(s),
        Atom::Uuid(u) => json!(["uuid", u.to_string()]),
        Atom::Named(n) => json!(["named-uuid", n.as_str()]),
    }
}

fn check(kind: &ColumnType, datum: &Datum, counted: bool) -> Result<(), String> {
    match (datum, &kind.value) {
        (Datum::Set(set), None) => {
            for atom in set {
                check_atom(&kind.key, atom)?;
            }
        }
        (Datum::Map(map), Some(value)) => {
            for (k, v) in map {
                check_atom(&kind.key, k)?;
                check_atom(value, v)?;
            }
        }
        // An empty set and an empty map look the same to whoever clears a column.
        (Datum::Set(set), Some(_)) if set.is_empty() => {}
        (Datum::Map(map), None) if map.is_empty() => {}
        (Datum::Set(_), Some(_)) => return Err("the column is a map, not a set".to_owned()),
        (Datum::Map(_), None) => return Err("the column is not a map".to_owned()),
    }
    if !counted {
        return Ok(());
    }
    let n = datum.len();
    if n < kind.min {
        return Err(format!("{n} values where at least {} is needed", kind.min));
    }
    match kind.max {
        Some(max) if n > max => Err(format!("{n} values where at most {max} is allowed")),
        _ => Ok(()),
    }
}

fn check_atom(base: &BaseType, atom: &Atom) -> Result<(), String> {
    let fits = matches!(
        (base.atomic, atom),
        (AtomicType::Integer, Atom::Integer(_))
            | (AtomicType::Real, Atom::Real(_))
            | (AtomicType::Boolean, Atom::Boolean(_))
            | (AtomicType::String, Atom::String(_))
            | (AtomicType::Uuid, Atom::Uuid(_) | Atom::Named(_))
    );
    if !fits {
        return Err(format!("{atom} is not {}", base.atomic.name()));
    }
    match &base.choices {
        Some(choices) if !choices.contains(atom) => {
            let choices: Vec<_> = choices.iter().map(Atom::to_string).collect();
            Err(format!("{atom} is not one of {}", choices.join(", ")))
        }
        _ => Ok(()),
    }
}

/// Reads a value of the given type. Counts are not checked: monitors send partial sets.
pub(crate) fn decode(kind: &ColumnType, json: &Value) -> Result<Datum, String> {
    let tagged = json.as_array().and_then(|a| match a.as_slice() {
        [Value::String(tag), Value::Array(items)] => Some((tag.as_str(), items)),
        _ => None,
    });
    match (tagged, &kind.value) {
        (Some(("map", items)), Some(value)) => {
            let mut map = BTreeMap::new();
            for item in items {
                let [k, v] = item.as_array().map_or(&[][..], Vec::as_slice) else {
                    return Err(format!("{item} is not a pair"));
                };
                map.insert(decode_atom(&kind.key, k)?, decode_atom(value, v)?);
            }
            Ok(Datum::Map(map))
        }
        (Some(("set", items)), None) => {
            let set: BTreeSet<_> = items
                .iter()
                .map(|item| decode_atom(&kind.key, item))
                .collect::<Result<_, _>>()?;
            Ok(Datum::Set(set))
        }
        (Some(("set", items)), Some(_)) if items.is_empty() => Ok(Datum::Map(BTreeMap::new())),
        (_, Some(_)) => Err(format!("{json} is not a map")),
        (_, None) => Ok(Datum::from(decode_atom(&kind.key, json)?)),
    }
}

fn decode_atom(base: &BaseType, json: &Value) -> Result<Atom, String> {
    let atom = match base.atomic {
        AtomicType::Integer => json.as_i64().map(Atom::Integer),
        AtomicType::Real => json.as_f64().map(|f| Atom::Real(Real(f))),
        AtomicType::Boolean => json.as_bool().map(Atom::Boolean),
        AtomicType::String => json.as_str().map(Atom::from),
        AtomicType::Uuid => match json.as_array().map(Vec::as_slice) {
            Some([Value::String(tag), Value::String(uuid)]) if tag == "uuid" => {
                uuid.parse().ok().map(Atom::Uuid)
            }
            _ => None,
        },
    };
    atom.ok_or_else(|| format!("{json} is not {}", base.atomic.name()))
}

/// Checks and writes the columns of a row.
pub(crate) fn encode_row(table: &TableSchema, row: &Row) -> Result<Value> {
    let mut object = serde_json::Map::new();
    for (column, datum) in row.columns() {
        let value = encode(&table.column(column)?.kind, datum)
            .map_err(|reason| value_error(table, column, reason))?;
        object.insert(column.to_owned(), value);
    }
    Ok(Value::Object(object))
}

/// Reads the columns of a row. `_uuid` and `_version`, which no schema lists, are left out.
pub(crate) fn decode_row(table: &TableSchema, json: &Value) -> Result<Row> {
    let object = json
        .as_object()
        .ok_or_else(|| Error::Protocol(format!("row of table {} is not an object", table.name)))?;
    object
        .iter()
        .filter(|(column, _)| !matches!(column.as_str(), "_uuid" | "_version"))
        .map(|(column, value)| {
            let datum = decode(&table.column(column)?.kind, value)
                .map_err(|reason| value_error(table, column, reason))?;
            Ok((column.clone(), datum))
        })
        .collect()
}

pub(crate) fn value_error(table: &TableSchema, column: &str, reason: String) -> Error {
    Error::Value {
        table: table.name.clone(),
        column: column.to_owned(),
        reason,
    }
}
