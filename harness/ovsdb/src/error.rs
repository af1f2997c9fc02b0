//! What can go wrong, in words that name the table and the column.

use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot connect to the OVSDB socket {path}: {source}")]
    Connect {
        path: PathBuf,
        source: std::io::Error,
    },

    #[error("database {database} is not served at {path}: {reason}")]
    NoDatabase {
        path: PathBuf,
        database: String,
        reason: String,
    },

    /// The connection broke while the request was under way; whether it took effect is unknown.
    #[error("the connection to {path} broke while {method} was under way")]
    Disconnected { path: PathBuf, method: String },

    /// The client task has ended, so nothing will ever answer.
    #[error("the OVSDB client has been closed")]
    Closed,

    #[error("schema of {database} is malformed: {reason}")]
    Schema { database: String, reason: String },

    #[error("no table {table} in database {database}")]
    UnknownTable { database: String, table: String },

    #[error("no column {column} in table {table}")]
    UnknownColumn { table: String, column: String },

    #[error("table {table}, column {column}: {reason}")]
    Value {
        table: String,
        column: String,
        reason: String,
    },

    /// The server refused one operation, and with it the whole transaction.
    #[error("operation {index} on table {table} was refused: {error}{}", details.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Refused {
        index: usize,
        table: String,
        error: String,
        details: Option<String>,
    },

    /// The operations were fine but the commit was not (constraint, timed out wait…).
    #[error("the transaction was not committed: {error}{}", details.as_ref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Commit {
        error: String,
        details: Option<String>,
    },

    #[error("{method} was answered with an error: {error}")]
    Method { method: String, error: String },

    #[error("unexpected message from the server: {0}")]
    Protocol(String),
}
