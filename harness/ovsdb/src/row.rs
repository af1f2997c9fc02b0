//! A row: column names and their values.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::value::{Atom, Datum};

/// Columns of one row. Used for what is written (only the columns that shall be written) as well
/// as for what is read (all monitored or selected columns, defaults filled in).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    columns: BTreeMap<String, Datum>,
}

impl Row {
    pub fn new() -> Row {
        Row::default()
    }

    /// Adds a column, for chaining.
    #[must_use]
    pub fn with(mut self, column: impl Into<String>, value: impl Into<Datum>) -> Row {
        self.set(column, value);
        self
    }

    pub fn set(&mut self, column: impl Into<String>, value: impl Into<Datum>) {
        self.columns.insert(column.into(), value.into());
    }

    pub fn get(&self, column: &str) -> Option<&Datum> {
        self.columns.get(column)
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub fn columns(&self) -> impl Iterator<Item = (&str, &Datum)> {
        self.columns.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// The one string in the column.
    pub fn str(&self, column: &str) -> Option<&str> {
        self.get(column)?.scalar()?.as_str()
    }

    /// The one integer in the column.
    pub fn integer(&self, column: &str) -> Option<i64> {
        self.get(column)?.scalar()?.as_integer()
    }

    /// The one truth value in the column.
    pub fn bool(&self, column: &str) -> Option<bool> {
        self.get(column)?.scalar()?.as_bool()
    }

    /// The one reference in the column.
    pub fn uuid(&self, column: &str) -> Option<Uuid> {
        self.get(column)?.scalar()?.as_uuid()
    }

    /// All references in the column.
    pub fn uuids(&self, column: &str) -> impl Iterator<Item = Uuid> {
        self.atoms(column).filter_map(Atom::as_uuid)
    }

    /// All strings in the column.
    pub fn strs(&self, column: &str) -> impl Iterator<Item = &str> {
        self.atoms(column).filter_map(Atom::as_str)
    }

    /// The value behind a key of a column that maps strings to strings.
    pub fn key(&self, column: &str, key: &str) -> Option<&str> {
        self.get(column)?.key(key)
    }

    fn atoms(&self, column: &str) -> impl Iterator<Item = &Atom> {
        self.get(column).into_iter().flat_map(Datum::atoms)
    }
}

impl FromIterator<(String, Datum)> for Row {
    fn from_iter<I: IntoIterator<Item = (String, Datum)>>(iter: I) -> Row {
        Row {
            columns: iter.into_iter().collect(),
        }
    }
}

impl IntoIterator for Row {
    type Item = (String, Datum);
    type IntoIter = std::collections::btree_map::IntoIter<String, Datum>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns.into_iter()
    }
}
