//! What a replica shall contain.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::Result;
use crate::schema::DatabaseSchema;
use crate::transaction::Condition;

/// Tables, and of each the columns and rows to keep a copy of.
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    tables: BTreeMap<String, Selection>,
}

#[derive(Debug, Clone, Default)]
struct Selection {
    /// `None` means all.
    columns: Option<Vec<String>>,
    condition: Condition,
}

impl Monitor {
    pub fn new() -> Monitor {
        Monitor::default()
    }

    /// All columns of a table.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Monitor {
        self.tables.entry(table.into()).or_default().columns = None;
        self
    }

    /// These columns of a table.
    #[must_use]
    pub fn columns<S: Into<String>>(
        mut self,
        table: impl Into<String>,
        columns: impl IntoIterator<Item = S>,
    ) -> Monitor {
        let columns = columns.into_iter().map(Into::into).collect();
        self.tables.entry(table.into()).or_default().columns = Some(columns);
        self
    }

    /// Only the rows for which the condition holds.
    #[must_use]
    pub fn only(mut self, table: impl Into<String>, condition: Condition) -> Monitor {
        self.tables.entry(table.into()).or_default().condition = condition;
        self
    }

    /// All columns of all tables of a database.
    pub fn everything(schema: &DatabaseSchema) -> Monitor {
        schema.tables.keys().fold(Monitor::new(), Monitor::table)
    }

    /// The columns monitored, all named.
    pub(crate) fn resolve(&self, schema: &DatabaseSchema) -> Result<BTreeMap<String, Vec<String>>> {
        self.tables
            .iter()
            .map(|(table, selection)| {
                let schema = schema.table(table)?;
                let columns = match &selection.columns {
                    Some(columns) => {
                        for column in columns {
                            schema.column(column)?;
                        }
                        columns.clone()
                    }
                    None => schema.columns.keys().cloned().collect(),
                };
                Ok((table.clone(), columns))
            })
            .collect()
    }

    /// The monitor requests of `monitor_cond_since`.
    pub(crate) fn encode(&self, schema: &DatabaseSchema) -> Result<Value> {
        let columns = self.resolve(schema)?;
        let mut requests = serde_json::Map::new();
        for (table, selection) in &self.tables {
            let mut request = json!({ "columns": columns[table] });
            if selection.condition != Condition::all() {
                request["where"] = selection.condition.encode(schema.table(table)?)?;
            }
            requests.insert(table.clone(), json!([request]));
        }
        Ok(Value::Object(requests))
    }
}
