//! The schema of a database as the server publishes it (RFC 7047 §3.2).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::value::{Atom, Datum, Real};

#[derive(Debug, Clone)]
pub struct DatabaseSchema {
    pub name: String,
    pub version: String,
    pub tables: BTreeMap<String, TableSchema>,
}

#[derive(Debug, Clone)]
pub struct TableSchema {
    pub name: String,
    pub columns: BTreeMap<String, ColumnSchema>,
    /// Rows of a root table live without being referenced.
    pub is_root: bool,
    /// Sets of columns whose values are unique in the table.
    pub indexes: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
pub struct ColumnSchema {
    pub kind: ColumnType,
    pub ephemeral: bool,
    pub mutable: bool,
}

/// How many elements of which types a column holds.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnType {
    pub key: BaseType,
    /// Present for maps.
    pub value: Option<BaseType>,
    pub min: usize,
    /// `None` is unlimited.
    pub max: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct BaseType {
    pub atomic: AtomicType,
    /// The allowed values, when the schema lists them.
    pub choices: Option<Vec<Atom>>,
    /// The table that a uuid refers to.
    pub references: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicType {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

impl AtomicType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            AtomicType::Integer => "an integer",
            AtomicType::Real => "a real number",
            AtomicType::Boolean => "a boolean",
            AtomicType::String => "a string",
            AtomicType::Uuid => "a uuid",
        }
    }
}

impl ColumnType {
    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }

    /// One value or none, as opposed to a real set or map.
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.max == Some(1)
    }

    /// What a column holds when an insert does not mention it.
    pub fn default_datum(&self) -> Datum {
        if self.is_map() {
            return Datum::Map(BTreeMap::new());
        }
        if self.min == 0 {
            return Datum::empty();
        }
        Datum::from(match self.key.atomic {
            AtomicType::Integer => Atom::Integer(0),
            AtomicType::Real => Atom::Real(Real(0.0)),
            AtomicType::Boolean => Atom::Boolean(false),
            AtomicType::String => Atom::String(String::new()),
            AtomicType::Uuid => Atom::Uuid(uuid::Uuid::nil()),
        })
    }
}

impl DatabaseSchema {
    /// Parses the answer of `get_schema` (or a `.ovsschema` file).
    pub fn parse(json: &Value) -> Result<DatabaseSchema> {
        let name = json["name"].as_str().unwrap_or_default().to_owned();
        let fail = |reason: String| Error::Schema {
            database: name.clone(),
            reason,
        };
        let tables = json["tables"]
            .as_object()
            .ok_or_else(|| fail("no tables".to_owned()))?
            .iter()
            .map(|(table, json)| {
                TableSchema::parse(table, json)
                    .map(|schema| (table.clone(), schema))
                    .map_err(|reason| fail(format!("table {table}: {reason}")))
            })
            .collect::<Result<_>>()?;
        Ok(DatabaseSchema {
            version: json["version"].as_str().unwrap_or_default().to_owned(),
            name,
            tables,
        })
    }

    pub fn table(&self, table: &str) -> Result<&TableSchema> {
        self.tables.get(table).ok_or_else(|| Error::UnknownTable {
            database: self.name.clone(),
            table: table.to_owned(),
        })
    }
}

impl TableSchema {
    fn parse(name: &str, json: &Value) -> Result<TableSchema, String> {
        let columns = json["columns"]
            .as_object()
            .ok_or("no columns")?
            .iter()
            .map(|(column, json)| {
                ColumnSchema::parse(json)
                    .map(|schema| (column.clone(), schema))
                    .map_err(|reason| format!("column {column}: {reason}"))
            })
            .collect::<Result<_, _>>()?;
        let strings = |v: &Value| -> Vec<String> {
            let items = v.as_array().into_iter().flatten();
            items
                .filter_map(|s| s.as_str().map(str::to_owned))
                .collect()
        };
        Ok(TableSchema {
            name: name.to_owned(),
            columns,
            is_root: json["isRoot"].as_bool().unwrap_or(false),
            indexes: json["indexes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(strings)
                .collect(),
        })
    }

    pub fn column(&self, column: &str) -> Result<&ColumnSchema> {
        self.columns
            .get(column)
            .ok_or_else(|| Error::UnknownColumn {
                table: self.name.clone(),
                column: column.to_owned(),
            })
    }
}

impl ColumnSchema {
    fn parse(json: &Value) -> Result<ColumnSchema, String> {
        Ok(ColumnSchema {
            kind: ColumnType::parse(&json["type"])?,
            ephemeral: json["ephemeral"].as_bool().unwrap_or(false),
            mutable: json["mutable"].as_bool().unwrap_or(true),
        })
    }
}

impl ColumnType {
    fn parse(json: &Value) -> Result<ColumnType, String> {
        if json.is_string() {
            return Ok(ColumnType {
                key: BaseType::parse(json)?,
                value: None,
                min: 1,
                max: Some(1),
            });
        }
        let count = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        Ok(ColumnType {
            key: BaseType::parse(&json["key"])?,
            value: match &json["value"] {
                Value::Null => None,
                value => Some(BaseType::parse(value)?),
            },
            min: count(&json["min"]).unwrap_or(1),
            max: match &json["max"] {
                Value::Null => Some(1),
                max => count(max),
            },
        })
    }
}

impl BaseType {
    fn parse(json: &Value) -> Result<BaseType, String> {
        let name = json.as_str().or_else(|| json["type"].as_str());
        let atomic = match name {
            Some("integer") => AtomicType::Integer,
            Some("real") => AtomicType::Real,
            Some("boolean") => AtomicType::Boolean,
            Some("string") => AtomicType::String,
            Some("uuid") => AtomicType::Uuid,
            _ => return Err(format!("unknown type {json}")),
        };
        let mut base = BaseType {
            atomic,
            choices: None,
            references: json["refTable"].as_str().map(str::to_owned),
        };
        let listed = &json["enum"];
        if !listed.is_null() {
            // An enum is written like a set column of this very type.
            let set = ColumnType {
                key: base.clone(),
                value: None,
                min: 0,
                max: None,
            };
            let choices = crate::codec::decode(&set, listed)?;
            base.choices = Some(choices.atoms().cloned().collect());
        }
        Ok(base)
    }
}
