//! Reading the recorder's files: rows of a real cluster with references replaced by names.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::canonical::canonicalise;
use super::{Kind, Northbound, Row, RowRef, Scalar, Table, Value};

#[derive(Debug, thiserror::Error)]
#[error("recorded rows are malformed: {0}")]
pub struct RecordError(String);

/// What a step of a case changed in a zone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// New rows.
    pub added: Northbound,
    /// The columns that changed, with their new values. An empty value is not there, so it
    /// is listed in `emptied`.
    pub changed: Northbound,
    pub emptied: Vec<(RowRef, String)>,
}

impl Northbound {
    /// Rows of a file that holds a whole database: `{"Table": {"name": [{columns}]}}`.
    pub fn from_recorded(json: &Json) -> Result<Northbound, RecordError> {
        let mut raw = Northbound::new();
        for (table, rows) in tables(json)? {
            for (name, rows) in object(rows)? {
                let one = std::slice::from_ref(rows);
                for row in rows.as_array().map_or(one, Vec::as_slice) {
                    raw.insert(table, name, columns(table, row)?);
                }
            }
        }
        Ok(canonicalise(raw).0)
    }
}

impl Step {
    /// Rows of a file that holds what a step did: `{"Table": {"name": {columns}}, "Table
    /// (changed)": {"name": {"column": {"before": …, "now": …}}}}`.
    pub fn from_recorded(json: &Json) -> Result<Step, RecordError> {
        let mut step = Step {
            added: Northbound::from_recorded(json)?,
            ..Step::default()
        };
        for (key, rows) in object(json)? {
            let Some(table) = key.strip_suffix(" (changed)").and_then(Table::parse) else {
                continue;
            };
            for (name, changes) in object(rows)? {
                let reference = RowRef::new(table, name);
                let mut row = Row::new();
                for (column, change) in object(changes)? {
                    let Some(kind) = table.column(column).map(|c| c.kind) else {
                        continue;
                    };
                    match &change["now"] {
                        Json::Null => step.emptied.push((reference.clone(), column.clone())),
                        now => row.set(column, value(kind, now)?),
                    }
                }
                step.changed.insert(table, name, row);
            }
        }
        Ok(step)
    }
}

/// The tables that we know; others (load balancers, global state) are not compared.
fn tables(json: &Json) -> Result<BTreeMap<Table, &Json>, RecordError> {
    let tables = object(json)?.iter();
    Ok(tables
        .filter_map(|(name, rows)| Some((Table::parse(name)?, rows)))
        .collect())
}

fn columns(table: Table, json: &Json) -> Result<Row, RecordError> {
    let mut row = Row::new();
    for (name, json) in object(json)? {
        if let Some(column) = table.column(name) {
            row.set(name, value(column.kind, json)?);
        }
    }
    Ok(row)
}

fn value(kind: Kind, json: &Json) -> Result<Value, RecordError> {
    Ok(match json {
        Json::Array(items) => Value::Set(
            items
                .iter()
                .map(|item| scalar(kind, item))
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(pairs) => Value::Map(
            pairs
                .iter()
                .map(|(key, value)| Ok((key.clone(), scalar(kind, value)?)))
                .collect::<Result<_, RecordError>>()?,
        ),
        single => Value::set([scalar(kind, single)?]),
    })
}

fn scalar(kind: Kind, json: &Json) -> Result<Scalar, RecordError> {
    match (kind, json) {
        (Kind::References(table), Json::String(text)) => {
            let name = text.split_once(':').map_or(text.as_str(), |(_, name)| name);
            Ok(Scalar::Row(RowRef::new(table, name)))
        }
        (_, Json::String(text)) => Ok(Scalar::String(text.clone())),
        (_, Json::Bool(b)) => Ok(Scalar::Boolean(*b)),
        (_, Json::Number(n)) => n
            .as_i64()
            .map(Scalar::Integer)
            .ok_or_else(|| RecordError(format!("{n} is not an integer"))),
        _ => Err(RecordError(format!("{json} is not a scalar"))),
    }
}

fn object(json: &Json) -> Result<&serde_json::Map<String, Json>, RecordError> {
    json.as_object()
        .ok_or_else(|| RecordError(format!("{json} is not an object")))
}
