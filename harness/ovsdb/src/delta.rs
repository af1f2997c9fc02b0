//! Applying what `update3` says (ovsdb-server(7), "update2 notification").

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::codec;
use crate::error::{Error, Result};
use crate::replica::{Change, Rows, Snapshot};
use crate::row::Row;
use crate::schema::{ColumnType, DatabaseSchema, TableSchema};
use crate::value::Datum;

/// The columns of each monitored table.
pub(crate) type Selected = BTreeMap<String, Vec<String>>;

/// The snapshot after an update, and what changed.
pub(crate) fn apply(
    schema: &DatabaseSchema,
    selected: &Selected,
    before: &Snapshot,
    updates: &Value,
) -> Result<(Snapshot, Vec<Change>)> {
    let mut after = before.clone();
    let mut changes = Vec::new();
    for (table, rows) in updates.as_object().into_iter().flatten() {
        let table_schema = schema.table(table)?;
        let columns = selected.get(table).map_or(&[][..], Vec::as_slice);
        let content = Arc::make_mut(after.tables.entry(table.clone()).or_default());
        for (uuid, update) in rows.as_object().into_iter().flatten() {
            let uuid: Uuid = uuid
                .parse()
                .map_err(|_| Error::Protocol(format!("{uuid} is not a uuid")))?;
            let old = content.get(&uuid).cloned();
            let new = row_after(table_schema, columns, old.as_deref(), update)?.map(Arc::new);
            match &new {
                Some(row) => content.insert(uuid, row.clone()),
                None => content.remove(&uuid),
            };
            changes.push(Change {
                table: table.clone(),
                uuid,
                old,
                new,
            });
        }
    }
    after.version += 1;
    Ok((after, changes))
}

/// The snapshot when the server could not resume and sent everything again; only what really
/// differs counts as a change.
pub(crate) fn replace(
    schema: &DatabaseSchema,
    selected: &Selected,
    before: &Snapshot,
    updates: &Value,
) -> Result<(Snapshot, Vec<Change>)> {
    let empty = Snapshot {
        version: before.version,
        tables: selected
            .keys()
            .map(|table| (table.clone(), Arc::default()))
            .collect(),
    };
    let (after, _) = apply(schema, selected, &empty, updates)?;
    let mut changes = Vec::new();
    let none = Rows::new();
    for table in selected.keys() {
        let old = before.tables.get(table).map_or(&none, |rows| rows);
        let new = after.tables.get(table).map_or(&none, |rows| rows);
        for uuid in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (old, new) = (old.get(uuid).cloned(), new.get(uuid).cloned());
            if old != new {
                changes.push(Change {
                    table: table.clone(),
                    uuid: *uuid,
                    old,
                    new,
                });
            }
        }
    }
    Ok((after, changes))
}

fn row_after(
    table: &TableSchema,
    columns: &[String],
    old: Option<&Row>,
    update: &Value,
) -> Result<Option<Row>> {
    let Some((kind, content)) = update.as_object().and_then(|update| update.iter().next()) else {
        return Err(Error::Protocol(format!("{update} is not a row update")));
    };
    match kind.as_str() {
        // Columns that hold their default are not sent.
        "initial" | "insert" => {
            let mut row = columns
                .iter()
                .map(|column| Ok((column.clone(), table.column(column)?.kind.default_datum())))
                .collect::<Result<Row>>()?;
            for (column, datum) in codec::decode_row(table, content)? {
                row.set(column, datum);
            }
            Ok(Some(row))
        }
        "modify" => {
            let mut row = old.cloned().unwrap_or_default();
            for (column, diff) in codec::decode_row(table, content)? {
                let kind = &table.column(&column)?.kind;
                let datum = modified(kind, row.get(&column), diff);
                row.set(column, datum);
            }
            Ok(Some(row))
        }
        "delete" => Ok(None),
        other => Err(Error::Protocol(format!("unknown row update {other}"))),
    }
}

/// A scalar is sent as its new value, a set as the elements that came or went, a map as the pairs
/// that are new or differ, or that went (key and old value).
fn modified(kind: &ColumnType, old: Option<&Datum>, diff: Datum) -> Datum {
    if kind.max == Some(1) {
        return diff;
    }
    match (old, diff) {
        (Some(Datum::Set(old)), Datum::Set(diff)) => {
            Datum::Set(old.symmetric_difference(&diff).cloned().collect())
        }
        (Some(Datum::Map(old)), Datum::Map(diff)) => {
            let mut map = old.clone();
            for (key, value) in diff {
                if map.get(&key) == Some(&value) {
                    map.remove(&key);
                } else {
                    map.insert(key, value);
                }
            }
            Datum::Map(map)
        }
        (_, diff) => diff,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> DatabaseSchema {
        DatabaseSchema::parse(&json!({
            "name": "Test", "version": "1.0.0",
            "tables": {"T": {"columns": {
                "name": {"type": "string"},
                "tag": {"type": {"key": "integer", "min": 0, "max": 1}},
                "items": {"type": {"key": "string", "min": 0, "max": "unlimited"}},
                "ids": {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}},
            }}},
        }))
        .unwrap()
    }

    fn selected() -> Selected {
        let columns = ["name", "tag", "items", "ids"];
        BTreeMap::from([("T".to_owned(), columns.map(str::to_owned).to_vec())])
    }

    const A: &str = "00000000-0000-0000-0000-00000000000a";
    const B: &str = "00000000-0000-0000-0000-00000000000b";

    fn start() -> Snapshot {
        let update = json!({"T": {
            A: {"initial": {"name": "a", "items": ["set", ["x", "y"]], "ids": ["map", [["k", "1"], ["l", "2"]]]}},
        }});
        apply(&schema(), &selected(), &Snapshot::default(), &update)
            .unwrap()
            .0
    }

    #[test]
    fn an_insert_fills_in_defaults() {
        let db = start();
        let row = db.row("T", A.parse().unwrap()).unwrap();
        assert_eq!(row.str("name"), Some("a"));
        assert_eq!(row.get("tag"), Some(&Datum::empty()));
    }

    #[test]
    fn a_modification_is_a_difference() {
        let update = json!({"T": {A: {"modify": {
            "tag": 7,
            "items": ["set", ["y", "z"]],
            "ids": ["map", [["k", "1"], ["l", "3"], ["m", "4"]]],
        }}}});
        let (db, changes) = apply(&schema(), &selected(), &start(), &update).unwrap();
        let row = db.row("T", A.parse().unwrap()).unwrap();
        assert_eq!(row.integer("tag"), Some(7));
        assert_eq!(row.strs("items").collect::<Vec<_>>(), ["x", "z"]);
        assert_eq!(row.get("ids"), Some(&Datum::map([("l", "3"), ("m", "4")])));
        assert_eq!(changes.len(), 1);
        assert!(changes[0].old.is_some());
    }

    #[test]
    fn replacing_reports_only_differences() {
        let same = json!({"T": {A: {"initial": {"name": "a", "items": ["set", ["x", "y"]], "ids": ["map", [["k", "1"], ["l", "2"]]]}}}});
        let (_, changes) = replace(&schema(), &selected(), &start(), &same).unwrap();
        assert!(changes.is_empty());
        let other = json!({"T": {B: {"initial": {"name": "b"}}}});
        let (db, changes) = replace(&schema(), &selected(), &start(), &other).unwrap();
        assert_eq!(changes.len(), 2);
        assert_eq!(db.rows("T").count(), 1);
    }
}
