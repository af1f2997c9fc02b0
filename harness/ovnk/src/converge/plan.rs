//! The one transaction that makes a Northbound database what it shall be.

use std::collections::BTreeMap;

use ovsdb::{Condition, DatabaseSchema, Datum, NamedUuid, TableSchema, Transaction, Uuid};

use crate::northbound::{Northbound, Observed, Row, RowRef, Scalar, Value};

/// Operations, and the rows that will come and go with them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) transaction: Transaction,
    pub(crate) inserted: Vec<(RowRef, NamedUuid)>,
    /// Rows that nothing refers to any more go by themselves; these are told to.
    pub(crate) deleted: Vec<(RowRef, Uuid)>,
}

/// `None` when nothing is to be done. Only columns that are written at all are looked at.
pub(crate) fn plan(
    schema: &DatabaseSchema,
    desired: &Northbound,
    observed: &Observed,
) -> Option<Plan> {
    let mut plan = Plan {
        transaction: Transaction::new(),
        inserted: Vec::new(),
        deleted: Vec::new(),
    };
    let mut names: BTreeMap<&RowRef, NamedUuid> = BTreeMap::new();
    for (reference, _) in desired.rows() {
        if !observed.uuids.contains_key(reference) {
            names.insert(reference, plan.transaction.reserve());
        }
    }
    let cx = Context {
        schema,
        observed,
        names: &names,
    };
    for (reference, row) in desired.rows() {
        let Ok(table) = schema.table(reference.table.as_str()) else {
            continue;
        };
        let Some(name) = names.get(reference) else {
            cx.update(&mut plan.transaction, table, reference, row);
            continue;
        };
        let row = cx.insertion(table, row);
        let tx = &mut plan.transaction;
        tx.insert_as(name.clone(), reference.table.as_str(), row);
        plan.inserted.push((reference.clone(), name.clone()));
    }
    for (reference, uuid) in &observed.uuids {
        let table = reference.table.as_str();
        let is_root = schema.table(table).is_ok_and(|table| table.is_root);
        if is_root && desired.get(reference).is_none() {
            plan.transaction.delete(table, Condition::uuid(*uuid));
            plan.deleted.push((reference.clone(), *uuid));
        }
    }
    (!plan.transaction.is_empty()).then_some(plan)
}

struct Context<'a> {
    schema: &'a DatabaseSchema,
    observed: &'a Observed,
    names: &'a BTreeMap<&'a RowRef, NamedUuid>,
}

impl Context<'_> {
    fn insertion(&self, table: &TableSchema, row: &Row) -> ovsdb::Row {
        row.columns()
            .filter(|(column, _)| table.columns.contains_key(*column))
            .map(|(column, value)| (column.to_owned(), self.datum(value)))
            .collect()
    }

    fn update(&self, tx: &mut Transaction, table: &TableSchema, reference: &RowRef, row: &Row) {
        let Some(actual) = self.observed.rows.get(reference) else {
            return;
        };
        let mut changes = ovsdb::Row::new();
        for column in reference.table.columns() {
            let Some(kind) = table.columns.get(column.name) else {
                continue;
            };
            let (value, is) = (row.get(column.name), actual.get(column.name));
            let default = kind.kind.default_datum();
            let datum = value.map_or_else(|| default.clone(), |value| self.datum(value));
            // A default that is left unsaid on one side only is no difference.
            let is_datum = is.map_or(default, |is| self.datum(is));
            if value != is && datum != is_datum {
                changes.set(column.name, datum);
            }
        }
        if let (false, Some(uuid)) = (changes.is_empty(), self.observed.uuids.get(reference)) {
            tx.update(&table.name, Condition::uuid(*uuid), changes);
        }
    }

    fn datum(&self, value: &Value) -> Datum {
        match value {
            Value::Set(set) => Datum::set(set.iter().filter_map(|scalar| self.atom(scalar))),
            Value::Map(map) => Datum::map(
                map.iter()
                    .filter_map(|(key, value)| Some((key.as_str(), self.atom(value)?))),
            ),
        }
    }

    fn atom(&self, scalar: &Scalar) -> Option<ovsdb::Atom> {
        Some(match scalar {
            Scalar::Integer(i) => (*i).into(),
            Scalar::Boolean(b) => (*b).into(),
            Scalar::String(s) => s.into(),
            Scalar::Row(reference) => {
                if let Some(uuid) = self.observed.uuids.get(reference) {
                    return Some((*uuid).into());
                }
                // A table that this version of OVN lacks has no rows to refer to.
                self.schema.table(reference.table.as_str()).ok()?;
                self.names.get(reference)?.into()
            }
        })
    }
}
