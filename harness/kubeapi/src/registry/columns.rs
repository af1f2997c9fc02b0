//! Columns that a CustomResourceDefinition adds to its tables.

use serde_json::Value;

use crate::object;

/// An `additionalPrinterColumn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub json_path: String,
}

impl Column {
    pub fn from_crd(column: &Value) -> Self {
        let text = |key: &str| object::text(column, &[key]).to_owned();
        Self {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: text("description"),
            priority: object::integer(column, &["priority"]).unwrap_or(0),
            json_path: text("jsonPath"),
        }
    }

    /// What tables of custom resources show when nothing else is said.
    pub fn age() -> Self {
        Self {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: "CreationTimestamp is a timestamp representing the server time when this object was created."
                .to_owned(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".to_owned(),
        }
    }
}
