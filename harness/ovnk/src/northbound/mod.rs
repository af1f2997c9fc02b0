//! The contents of a zone's Northbound database as plain, ordered, comparable data. Rows have
//! readable names, and refer to each other by them.

mod canonical;
mod diff;
mod normalise;
mod recorded;
mod replica;
mod table;
mod value;

use std::collections::BTreeMap;

pub use diff::{Difference, diff};
pub use normalise::Placeholders;
pub use recorded::{RecordError, Step};
pub use replica::{Observed, from_replica, monitor};
pub use table::{Column, Kind, Table};
pub use value::{Row, RowRef, Scalar, Value};

pub(crate) use canonical::name;

/// Rows by table and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Northbound {
    rows: BTreeMap<RowRef, Row>,
}

impl Northbound {
    pub fn new() -> Northbound {
        Northbound::default()
    }

    pub fn insert(&mut self, table: Table, name: impl Into<String>, row: Row) -> RowRef {
        let reference = RowRef::new(table, name);
        self.rows.insert(reference.clone(), row);
        reference
    }

    pub fn remove(&mut self, reference: &RowRef) -> Option<Row> {
        self.rows.remove(reference)
    }

    pub fn get(&self, reference: &RowRef) -> Option<&Row> {
        self.rows.get(reference)
    }

    pub fn get_mut(&mut self, reference: &RowRef) -> Option<&mut Row> {
        self.rows.get_mut(reference)
    }

    pub fn rows(&self) -> impl Iterator<Item = (&RowRef, &Row)> {
        self.rows.iter()
    }

    pub fn table(&self, table: Table) -> impl Iterator<Item = (&str, &Row)> {
        self.rows
            .iter()
            .filter(move |(reference, _)| reference.table == table)
            .map(|(reference, row)| (reference.name.as_str(), row))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Only the rows for which the closure says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&RowRef, &mut Row) -> bool) {
        self.rows.retain(|reference, row| keep(reference, row));
    }
}

impl FromIterator<(RowRef, Row)> for Northbound {
    fn from_iter<I: IntoIterator<Item = (RowRef, Row)>>(rows: I) -> Northbound {
        Northbound {
            rows: rows.into_iter().collect(),
        }
    }
}

impl IntoIterator for Northbound {
    type Item = (RowRef, Row);
    type IntoIter = std::collections::btree_map::IntoIter<RowRef, Row>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}
