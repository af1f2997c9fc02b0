//! What two databases disagree about.

use std::fmt;

use super::{Northbound, RowRef, Value};

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    Missing(RowRef),
    Unexpected(RowRef),
    Column {
        row: RowRef,
        column: String,
        expected: Option<Value>,
        actual: Option<Value>,
    },
}

impl Difference {
    pub fn row(&self) -> &RowRef {
        match self {
            Difference::Missing(row)
            | Difference::Unexpected(row)
            | Difference::Column { row, .. } => row,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<Value>| match value {
            Some(value) => value.to_string(),
            None => "nothing".to_owned(),
        };
        match self {
            Difference::Missing(row) => write!(f, "{row} is missing"),
            Difference::Unexpected(row) => write!(f, "{row} should not be there"),
            Difference::Column {
                row,
                column,
                expected,
                actual,
            } => {
                let (expected, actual) = (text(expected), text(actual));
                write!(
                    f,
                    "{row}, column {column}: expected {expected}, got {actual}"
                )
            }
        }
    }
}

/// What `actual` would have to change to be like `expected`, ordered by row.
pub fn diff(expected: &Northbound, actual: &Northbound) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (reference, row) in expected.rows() {
        let Some(other) = actual.get(reference) else {
            differences.push(Difference::Missing(reference.clone()));
            continue;
        };
        let mut columns: Vec<_> = row
            .columns()
            .chain(other.columns())
            .map(|(c, _)| c)
            .collect();
        columns.sort_unstable();
        columns.dedup();
        for column in columns {
            let (expected, actual) = (row.get(column), other.get(column));
            if expected != actual {
                differences.push(Difference::Column {
                    row: reference.clone(),
                    column: column.to_owned(),
                    expected: expected.cloned(),
                    actual: actual.cloned(),
                });
            }
        }
    }
    let unexpected = actual
        .rows()
        .filter(|(reference, _)| expected.get(reference).is_none());
    differences.extend(unexpected.map(|(reference, _)| Difference::Unexpected(reference.clone())));
    differences.sort_by(|a, b| a.row().cmp(b.row()));
    differences
}
