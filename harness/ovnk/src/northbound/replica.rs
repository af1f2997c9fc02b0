//! Reading a live Northbound database.

use std::collections::BTreeMap;

use ovsdb::{Atom, DatabaseSchema, Datum, Monitor, Snapshot, Uuid};

use super::canonical::canonicalise;
use super::{Column, Kind, Northbound, Row, RowRef, Scalar, Table, Value};

/// Exactly the tables and columns that are written, as far as this version of OVN has them;
/// changes of others are no news.
pub fn monitor(schema: &DatabaseSchema) -> Monitor {
    let mut monitor = Monitor::new();
    for table in Table::ALL {
        let Ok(known) = schema.table(table.as_str()) else {
            continue;
        };
        let columns = table.columns().into_iter().map(|column| column.name);
        let columns = columns.filter(|column| known.columns.contains_key(*column));
        monitor = monitor.columns(table.as_str(), columns);
    }
    monitor
}

/// Rows of a live database, and which row of the database each one is.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub rows: Northbound,
    pub uuids: BTreeMap<RowRef, Uuid>,
}

/// Reads what a replica made with [`monitor`] holds.
pub fn from_replica(snapshot: &Snapshot) -> Observed {
    let mut raw = Northbound::new();
    let mut ids = BTreeMap::new();
    for table in Table::ALL {
        let columns = table.columns();
        for (uuid, row) in snapshot.rows(table.as_str()) {
            let reference = raw.insert(table, uuid.to_string(), read(&columns, row));
            ids.insert(reference, uuid);
        }
    }
    let (rows, renamed) = canonicalise(raw);
    let uuids = renamed
        .into_iter()
        .filter_map(|(old, new)| Some((new, *ids.get(&old)?)))
        .collect();
    Observed { rows, uuids }
}

fn read(columns: &[Column], row: &ovsdb::Row) -> Row {
    let mut read = Row::new();
    for column in columns {
        if let Some(datum) = row.get(column.name) {
            read.set(column.name, value(column.kind, datum));
        }
    }
    read
}

fn value(kind: Kind, datum: &Datum) -> Value {
    match datum {
        Datum::Set(set) => Value::Set(set.iter().map(|atom| scalar(kind, atom)).collect()),
        Datum::Map(map) => Value::Map(
            map.iter()
                .map(|(k, v)| (k.to_string(), scalar(kind, v)))
                .collect(),
        ),
    }
}

fn scalar(kind: Kind, atom: &Atom) -> Scalar {
    match (kind, atom) {
        (Kind::References(table), atom) => Scalar::Row(RowRef::new(table, atom.to_string())),
        (Kind::Plain, Atom::Integer(i)) => Scalar::Integer(*i),
        (Kind::Plain, Atom::Boolean(b)) => Scalar::Boolean(*b),
        (Kind::Plain, atom) => Scalar::String(atom.to_string()),
    }
}
