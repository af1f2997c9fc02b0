//! Transactions: typed operations, checked and written down against the schema.

use std::fmt;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::codec;
use crate::error::Result;
use crate::row::Row;
use crate::schema::{ColumnType, DatabaseSchema, TableSchema};
use crate::value::Datum;

/// The name of a row that a transaction inserts, to refer to it in the same transaction and to
/// ask [`crate::Outcome::uuid`] for what it became.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedUuid(String);

impl NamedUuid {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamedUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a condition compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The column contains all of the value.
    Includes,
    /// The column contains not all of the value.
    Excludes,
}

impl Function {
    fn symbol(self) -> &'static str {
        match self {
            Function::Equal => "==",
            Function::NotEqual => "!=",
            Function::Less => "<",
            Function::LessOrEqual => "<=",
            Function::Greater => ">",
            Function::GreaterOrEqual => ">=",
            Function::Includes => "includes",
            Function::Excludes => "excludes",
        }
    }
}

/// Which rows an operation is about: all clauses hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Condition {
    clauses: Vec<(String, Function, Datum)>,
}

impl Condition {
    /// Every row of the table.
    pub fn all() -> Condition {
        Condition::default()
    }

    pub fn uuid(uuid: Uuid) -> Condition {
        Condition::eq("_uuid", uuid)
    }

    pub fn eq(column: impl Into<String>, value: impl Into<Datum>) -> Condition {
        Condition::new(column, Function::Equal, value)
    }

    pub fn includes(column: impl Into<String>, value: impl Into<Datum>) -> Condition {
        Condition::new(column, Function::Includes, value)
    }

    pub fn new(
        column: impl Into<String>,
        function: Function,
        value: impl Into<Datum>,
    ) -> Condition {
        Condition {
            clauses: vec![(column.into(), function, value.into())],
        }
    }

    #[must_use]
    pub fn and(mut self, other: Condition) -> Condition {
        self.clauses.extend(other.clauses);
        self
    }

    pub(crate) fn encode(&self, table: &TableSchema) -> Result<Value> {
        self.clauses
            .iter()
            .map(|(column, function, value)| {
                let value = if column == "_uuid" {
                    codec::encode_operand(&uuid_type(), value)
                } else {
                    codec::encode_operand(&table.column(column)?.kind, value)
                };
                let value = value.map_err(|reason| codec::value_error(table, column, reason))?;
                Ok(json!([column, function.symbol(), value]))
            })
            .collect()
    }
}

fn uuid_type() -> ColumnType {
    ColumnType {
        key: crate::schema::BaseType {
            atomic: crate::schema::AtomicType::Uuid,
            choices: None,
            references: None,
        },
        value: None,
        min: 1,
        max: Some(1),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Insert,
    Delete,
}

impl Mutator {
    fn symbol(self) -> &'static str {
        match self {
            Mutator::Add => "+=",
            Mutator::Subtract => "-=",
            Mutator::Multiply => "*=",
            Mutator::Divide => "/=",
            Mutator::Modulo => "%=",
            Mutator::Insert => "insert",
            Mutator::Delete => "delete",
        }
    }
}

/// A change relative to what a column holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    column: String,
    mutator: Mutator,
    value: Datum,
}

impl Mutation {
    pub fn new(column: impl Into<String>, mutator: Mutator, value: impl Into<Datum>) -> Mutation {
        Mutation {
            column: column.into(),
            mutator,
            value: value.into(),
        }
    }

    /// Adds elements to a set, or pairs to a map. Keys that a map already has keep their value.
    pub fn insert(column: impl Into<String>, value: impl Into<Datum>) -> Mutation {
        Mutation::new(column, Mutator::Insert, value)
    }

    /// Removes elements of a set, or pairs (given a map) or keys (given a set) of a map.
    pub fn delete(column: impl Into<String>, value: impl Into<Datum>) -> Mutation {
        Mutation::new(column, Mutator::Delete, value)
    }

    pub fn add(column: impl Into<String>, value: impl Into<Datum>) -> Mutation {
        Mutation::new(column, Mutator::Add, value)
    }

    fn encode(&self, table: &TableSchema) -> Result<Value> {
        let kind = &table.column(&self.column)?.kind;
        let keys_of_map = self.mutator == Mutator::Delete && matches!(self.value, Datum::Set(_));
        let value = if keys_of_map {
            let keys = ColumnType {
                value: None,
                ..kind.clone()
            };
            codec::encode_operand(&keys, &self.value)
        } else {
            codec::encode_operand(kind, &self.value)
        };
        let value = value.map_err(|reason| codec::value_error(table, &self.column, reason))?;
        Ok(json!([self.column, self.mutator.symbol(), value]))
    }
}

impl From<Mutation> for Vec<Mutation> {
    fn from(value: Mutation) -> Self {
        vec![value]
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Operation {
    Insert {
        table: String,
        row: Row,
        name: NamedUuid,
    },
    Update {
        table: String,
        condition: Condition,
        row: Row,
    },
    Mutate {
        table: String,
        condition: Condition,
        mutations: Vec<Mutation>,
    },
    Delete {
        table: String,
        condition: Condition,
    },
    Select {
        table: String,
        condition: Condition,
        columns: Option<Vec<String>>,
    },
    /// Fails the transaction unless, within the time, the rows are (not) as given.
    Wait {
        table: String,
        condition: Condition,
        rows: Vec<Row>,
        columns: Vec<String>,
        equal: bool,
        timeout_ms: u64,
    },
    Comment(String),
}

/// Operations that take effect together or not at all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Transaction {
    operations: Vec<Operation>,
}

impl Transaction {
    pub fn new() -> Transaction {
        Transaction::default()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The number of operations, and so the index of the next one.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Inserts a row; columns that it does not mention get their defaults.
    pub fn insert(&mut self, table: impl Into<String>, row: Row) -> NamedUuid {
        let name = self.reserve();
        self.insert_as(name.clone(), table, row);
        name
    }

    /// A name for a row that will be inserted later in this transaction, so that rows can refer
    /// to each other in a circle.
    pub fn reserve(&mut self) -> NamedUuid {
        // Unique within this transaction, which is all that the protocol asks for; random so
        // that names of transactions which are merged by a caller do not collide either.
        NamedUuid(format!("r{}", Uuid::new_v4().simple()))
    }

    pub fn insert_as(&mut self, name: NamedUuid, table: impl Into<String>, row: Row) {
        self.operations.push(Operation::Insert {
            table: table.into(),
            row,
            name,
        });
    }

    /// Sets the given columns of all rows that the condition selects.
    pub fn update(&mut self, table: impl Into<String>, condition: Condition, row: Row) {
        self.operations.push(Operation::Update {
            table: table.into(),
            condition,
            row,
        });
    }

    pub fn mutate(
        &mut self,
        table: impl Into<String>,
        condition: Condition,
        mutations: impl Into<Vec<Mutation>>,
    ) {
        self.operations.push(Operation::Mutate {
            table: table.into(),
            condition,
            mutations: mutations.into(),
        });
    }

    pub fn delete(&mut self, table: impl Into<String>, condition: Condition) {
        self.operations.push(Operation::Delete {
            table: table.into(),
            condition,
        });
    }

    /// Reads rows; returns the index under which [`crate::Outcome::rows`] has them.
    pub fn select<S: Into<String>>(
        &mut self,
        table: impl Into<String>,
        condition: Condition,
        columns: impl IntoIterator<Item = S>,
    ) -> usize {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        self.operations.push(Operation::Select {
            table: table.into(),
            condition,
            columns: (!columns.is_empty()).then_some(columns),
        });
        self.operations.len() - 1
    }

    /// The rest of the transaction only happens if the selected rows have exactly these values
    /// now (a guard against acting on stale knowledge).
    pub fn require(&mut self, table: impl Into<String>, condition: Condition, rows: Vec<Row>) {
        let columns = rows
            .first()
            .map(|row| row.columns().map(|(c, _)| c.to_owned()).collect())
            .unwrap_or_default();
        self.operations.push(Operation::Wait {
            table: table.into(),
            condition,
            rows,
            columns,
            equal: true,
            timeout_ms: 0,
        });
    }

    /// Waits inside the server, at most so long, until the selected rows have (`equal`) or no
    /// longer have these values; then the rest of the transaction happens.
    pub fn wait(
        &mut self,
        table: impl Into<String>,
        condition: Condition,
        columns: Vec<String>,
        rows: Vec<Row>,
        equal: bool,
        timeout_ms: u64,
    ) {
        self.operations.push(Operation::Wait {
            table: table.into(),
            condition,
            rows,
            columns,
            equal,
            timeout_ms,
        });
    }

    /// A word for the server's log.
    pub fn comment(&mut self, text: impl Into<String>) {
        self.operations.push(Operation::Comment(text.into()));
    }

    /// The parameters of the `transact` method, every value checked.
    pub(crate) fn encode(&self, schema: &DatabaseSchema) -> Result<Value> {
        let mut params = vec![json!(schema.name)];
        for operation in &self.operations {
            params.push(operation.encode(schema)?);
        }
        Ok(Value::Array(params))
    }

    /// What an answer needs to be understood: the table and the name of each operation.
    pub(crate) fn expectations(&self) -> Vec<(Option<String>, Option<NamedUuid>)> {
        self.operations
            .iter()
            .map(|operation| match operation {
                Operation::Insert { table, name, .. } => (Some(table.clone()), Some(name.clone())),
                Operation::Update { table, .. }
                | Operation::Mutate { table, .. }
                | Operation::Delete { table, .. }
                | Operation::Select { table, .. }
                | Operation::Wait { table, .. } => (Some(table.clone()), None),
                Operation::Comment(_) => (None, None),
            })
            .collect()
    }
}

impl Operation {
    fn encode(&self, schema: &DatabaseSchema) -> Result<Value> {
        Ok(match self {
            Operation::Insert { table, row, name } => json!({
                "op": "insert",
                "table": table,
                "row": codec::encode_row(schema.table(table)?, row)?,
                "uuid-name": name.as_str(),
            }),
            Operation::Update {
                table,
                condition,
                row,
            } => {
                let schema = schema.table(table)?;
                json!({
                    "op": "update",
                    "table": table,
                    "where": condition.encode(schema)?,
                    "row": codec::encode_row(schema, row)?,
                })
            }
            Operation::Mutate {
                table,
                condition,
                mutations,
            } => {
                let schema = schema.table(table)?;
                let mutations: Vec<_> = mutations
                    .iter()
                    .map(|m| m.encode(schema))
                    .collect::<Result<_>>()?;
                json!({
                    "op": "mutate",
                    "table": table,
                    "where": condition.encode(schema)?,
                    "mutations": mutations,
                })
            }
            Operation::Delete { table, condition } => json!({
                "op": "delete",
                "table": table,
                "where": condition.encode(schema.table(table)?)?,
            }),
            Operation::Select {
                table,
                condition,
                columns,
            } => {
                let schema = schema.table(table)?;
                let mut operation = json!({
                    "op": "select",
                    "table": table,
                    "where": condition.encode(schema)?,
                });
                if let Some(columns) = columns {
                    for column in columns.iter().filter(|c| !c.starts_with('_')) {
                        schema.column(column)?;
                    }
                    operation["columns"] = json!(columns);
                }
                operation
            }
            Operation::Wait {
                table,
                condition,
                rows,
                columns,
                equal,
                timeout_ms,
            } => {
                let schema = schema.table(table)?;
                let rows: Vec<_> = rows
                    .iter()
                    .map(|row| codec::encode_row(schema, row))
                    .collect::<Result<_>>()?;
                json!({
                    "op": "wait",
                    "table": table,
                    "timeout": timeout_ms,
                    "where": condition.encode(schema)?,
                    "columns": columns,
                    "until": if *equal { "==" } else { "!=" },
                    "rows": rows,
                })
            }
            Operation::Comment(text) => json!({"op": "comment", "comment": text}),
        })
    }
}
