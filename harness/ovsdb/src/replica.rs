//! A copy of chosen tables that follows the database.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::connection::Command;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::value::Datum;

pub(crate) type Rows = BTreeMap<Uuid, Arc<Row>>;

/// The monitored rows after some transaction. Cheap to clone, never changes.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(crate) version: u64,
    pub(crate) tables: BTreeMap<String, Arc<Rows>>,
}

impl Snapshot {
    /// Counts the updates that this copy has seen; only good for "newer than".
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub fn rows(&self, table: &str) -> impl Iterator<Item = (Uuid, &Arc<Row>)> {
        let rows = self.tables.get(table);
        rows.into_iter()
            .flat_map(|rows| rows.iter())
            .map(|(uuid, row)| (*uuid, row))
    }

    pub fn row(&self, table: &str, uuid: Uuid) -> Option<&Arc<Row>> {
        self.tables.get(table)?.get(&uuid)
    }

    /// The first row whose column has exactly this value.
    pub fn find(
        &self,
        table: &str,
        column: &str,
        value: impl Into<Datum>,
    ) -> Option<(Uuid, &Arc<Row>)> {
        let value = value.into();
        self.rows(table)
            .find(|(_, row)| row.get(column) == Some(&value))
    }
}

/// One row that came, changed or went.
#[derive(Debug, Clone)]
pub struct Change {
    pub table: String,
    pub uuid: Uuid,
    pub old: Option<Arc<Row>>,
    pub new: Option<Arc<Row>>,
}

/// All changes since the call of [`Replica::changes`], in order, none left out.
#[derive(Debug)]
pub struct Changes(mpsc::UnboundedReceiver<Change>);

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Change>> {
        self.0.poll_recv(cx)
    }
}

/// The end of the copy that the connection writes to.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) listeners: Listeners,
}

type Listeners = Arc<Mutex<Vec<mpsc::UnboundedSender<Change>>>>;

impl Feed {
    pub(crate) fn new() -> Feed {
        Feed {
            snapshots: watch::Sender::new(Arc::default()),
            listeners: Arc::default(),
        }
    }

    /// Readers see the new snapshot before any listener hears of its changes.
    pub(crate) fn publish(&self, snapshot: Snapshot, changes: &[Change]) {
        // Locked around both, so that a new listener hears of a change or finds it in the
        // snapshot that it takes after subscribing.
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.snapshots.send_replace(Arc::new(snapshot));
        listeners.retain(|listener| {
            let mut changes = changes.iter();
            changes.all(|change| listener.send(change.clone()).is_ok()) && !listener.is_closed()
        });
    }
}

/// A copy of chosen tables and columns. Clones share it; the last one to go ends the monitor.
#[derive(Debug, Clone)]
pub struct Replica {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    listeners: Listeners,
    _guard: Arc<Guard>,
}

#[derive(Debug)]
struct Guard {
    monitor: u64,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Fails only when the connection task has gone, and the monitor with it.
        let _ = self.commands.send(Command::Forget(self.monitor));
    }
}

impl Replica {
    pub(crate) fn new(
        feed: &Feed,
        monitor: u64,
        commands: mpsc::UnboundedSender<Command>,
    ) -> Replica {
        Replica {
            snapshots: feed.snapshots.subscribe(),
            listeners: feed.listeners.clone(),
            _guard: Arc::new(Guard { monitor, commands }),
        }
    }

    /// The rows as of now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone()
    }

    /// Waits until the closure finds in the copy what it looks for; looks at once, then after
    /// every update. Add a deadline with `tokio::time::timeout`.
    pub async fn wait_for<T>(&self, mut found: impl FnMut(&Snapshot) -> Option<T>) -> Result<T> {
        let mut snapshots = self.snapshots.clone();
        loop {
            let snapshot = snapshots.borrow_and_update().clone();
            if let Some(value) = found(&snapshot) {
                return Ok(value);
            }
            snapshots.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// A receiver that is marked changed whenever an update has come; updates that come together
    /// are seen together.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Every change from now on, row by row.
    pub fn changes(&self) -> Changes {
        let (tx, rx) = mpsc::unbounded_channel();
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(tx);
        Changes(rx)
    }
}
