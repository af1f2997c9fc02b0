//! A client for OVSDB, the database protocol of Open vSwitch and OVN (RFC 7047 and the
//! extensions described in ovsdb-server(7)).
//!
//! Nothing here knows a particular database. Rows are dynamic, but every value that goes out or
//! comes in is checked against the schema that the server itself publishes, so a typo in a column
//! name is an error that names the table and the column and never reaches the wire.
//!
//! * [`Client`] is one connection over a unix socket. It reconnects by itself and may be cloned.
//! * [`Transaction`] collects operations; [`Client::transact`] runs them as one.
//! * [`Replica`] is a copy of chosen tables and columns, kept up to date by `monitor_cond_since`.
//!   After a reconnect it resumes at the last transaction it has seen.
//!
//! ```no_run
//! # async fn example() -> ovsdb::Result<()> {
//! use ovsdb::{Client, Condition, Monitor, Mutation, Row, Transaction};
//!
//! let client = Client::connect("/run/openvswitch/db.sock", "Open_vSwitch").await?;
//! let replica = client.monitor(Monitor::new().columns("Interface", ["name", "external_ids"])).await?;
//!
//! let mut tx = Transaction::new();
//! let interface = tx.insert("Interface", Row::new().with("name", "veth0"));
//! let port = tx.insert("Port", Row::new().with("name", "veth0").with("interfaces", interface));
//! tx.mutate("Bridge", Condition::eq("name", "br-int"), Mutation::insert("ports", port));
//! client.transact(tx).await?;
//!
//! replica
//!     .wait_for(|db| {
//!         let (_, row) = db.find("Interface", "name", "veth0")?;
//!         (row.key("external_ids", "ovn-installed")? == "true").then_some(())
//!     })
//!     .await?;
//! # Ok(()) }
//! ```

mod client;
mod codec;
mod connection;
mod delta;
mod error;
mod monitor;
mod outcome;
mod replica;
mod row;
mod rpc;
mod schema;
mod transaction;
mod value;

pub use client::Client;
pub use error::{Error, Result};
pub use monitor::Monitor;
pub use outcome::Outcome;
pub use replica::{Change, Changes, Replica, Snapshot};
pub use row::Row;
pub use schema::{AtomicType, BaseType, ColumnSchema, ColumnType, DatabaseSchema, TableSchema};
pub use transaction::{Condition, Function, Mutation, Mutator, NamedUuid, Transaction};
pub use uuid::Uuid;
pub use value::{Atom, Datum, Real};
