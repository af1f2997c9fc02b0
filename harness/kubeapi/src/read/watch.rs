//! Watches: a list of what is there (if asked for), then every change, as lines of JSON.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::Response;
use jiff::Timestamp;
use rand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{check_fields, metadata, scope};
use crate::body::Body;
use crate::convert;
use crate::object;
use crate::registry::Served;
use crate::request::accept::STREAMED;
use crate::request::{Accept, Form, Include, ListOptions};
use crate::server::core::Core;
use crate::server::respond;
use crate::status::Status;
use crate::storage::{Change, ChangeKind, Entry};
use crate::table;

/// How long a watch without `timeoutSeconds` lasts at least.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often a watch that asked for bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Starts a watch.
pub fn watch(
    core: &Arc<Core>,
    served: &Served,
    namespace: Option<&str>,
    options: ListOptions,
    accept: Accept,
    include: Include,
) -> Result<Response<Body>, Status> {
    check_fields(served, &options)?;
    if accept.yaml {
        return Err(Status::not_acceptable(STREAMED));
    }
    let mut watcher = Watcher {
        core: core.clone(),
        served: served.clone(),
        namespace: scope(served, namespace).map(str::to_owned),
        accept,
        include,
        revision: 0,
        latest: core.store.subscribe(&served.resource.storage),
        pending: VecDeque::new(),
        ends: Instant::now() + lifetime(options.timeout_seconds),
        bookmark: Instant::now() + BOOKMARK_INTERVAL,
        headed: false,
        over: false,
        options,
    };
    watcher.start();
    let lines = stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, std::io::Error>(line), watcher))
    });
    Ok(respond::stream("application/json", Body::stream(lines)))
}

fn lifetime(asked: Option<u64>) -> Duration {
    match asked {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
        _ => MIN_TIMEOUT.mul_f64(1.0 + rand::rng().random::<f64>()),
    }
}

struct Watcher {
    core: Arc<Core>,
    served: Served,
    namespace: Option<String>,
    options: ListOptions,
    accept: Accept,
    include: Include,
    /// Everything up to here was sent or queued.
    revision: u64,
    latest: tokio::sync::watch::Receiver<u64>,
    pending: VecDeque<Bytes>,
    ends: Instant,
    bookmark: Instant,
    /// Whether a table's columns were sent.
    headed: bool,
    over: bool,
}

impl Watcher {
    /// Decides where the watch starts, and queues what is there already if the client wants that.
    fn start(&mut self) {
        let initial = match self.options.initial_events {
            Some(wanted) => wanted,
            // Without a resourceVersion (or with 0) a watch begins with synthetic ADDED events.
            None => self.options.resource_version.unwrap_or(0) == 0,
        };
        if !initial {
            self.revision = match self.options.resource_version {
                None | Some(0) => self.core.store.revision(),
                Some(asked) => asked,
            };
            return;
        }
        let snapshot = self
            .core
            .store
            .list(&self.served.resource.storage, self.namespace.as_deref());
        self.revision = snapshot.revision;
        for entry in &snapshot.entries {
            let shown = convert::from_stored(&self.served, &entry.object);
            if self.options.matches(&shown) {
                self.queue("ADDED", entry);
            }
        }
        if self.options.initial_events == Some(true) && self.options.bookmarks {
            self.queue_bookmark(true);
        }
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            // Marked before reading, so that no change between reading and waiting is missed.
            self.latest.borrow_and_update();
            self.collect();
            if !self.pending.is_empty() || self.over {
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => {
                    // The resource is no longer served.
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(self.ends) => return None,
                () = tokio::time::sleep_until(self.bookmark), if self.options.bookmarks => {
                    self.queue_bookmark(false);
                }
            }
        }
    }

    /// Queues everything that happened since the last time.
    fn collect(&mut self) {
        match self
            .core
            .store
            .since(&self.served.resource.storage, self.revision)
        {
            Ok(since) => {
                for change in &since.changes {
                    self.queue_change(change);
                }
                self.revision = self.revision.max(since.revision);
            }
            Err(too_old) => {
                let status = Status::expired(format!(
                    "too old resource version: {} ({})",
                    self.revision, too_old.oldest
                ));
                self.pending
                    .push_back(line("ERROR", status.to_value().to_string().as_bytes()));
                self.over = true;
            }
        }
    }

    /// A change as this watch sees it: an object may come into or go out of what is selected.
    fn queue_change(&mut self, change: &Change) {
        let changed = &change.entry.object;
        if self
            .namespace
            .as_deref()
            .is_some_and(|namespace| namespace != object::namespace(changed))
        {
            return;
        }
        let selected = |entry: &Entry| {
            self.options.selects_all()
                || self
                    .options
                    .matches(&convert::from_stored(&self.served, &entry.object))
        };
        let before = change.previous.as_deref().is_some_and(selected);
        let after = change.kind != ChangeKind::Deleted && selected(&change.entry);
        match (before, after) {
            (false, true) => self.queue("ADDED", &change.entry),
            (true, true) => self.queue("MODIFIED", &change.entry),
            // What is no longer selected is shown as it was when it was.
            (true, false) => match &change.previous {
                Some(previous) if change.kind != ChangeKind::Deleted => {
                    let mut last = previous.object.clone();
                    object::set(
                        &mut last,
                        &["metadata", "resourceVersion"],
                        object::resource_version(&change.entry.object),
                    );
                    self.queue_object("DELETED", &last);
                }
                _ => self.queue("DELETED", &change.entry),
            },
            (false, false) => {}
        }
    }

    fn queue(&mut self, kind: &str, entry: &Entry) {
        let whole = matches!(self.accept.form, Form::Whole | Form::Discovery);
        if whole && self.served.is_storage_version() {
            self.pending.push_back(line(kind, entry.json()));
        } else {
            self.queue_object(kind, &entry.object);
        }
    }

    fn queue_object(&mut self, kind: &str, object: &Value) {
        let shown = convert::from_stored(&self.served, object);
        let value = match self.accept.form {
            Form::Whole | Form::Discovery => shown.into_owned(),
            Form::Metadata(partial) => metadata::in_version(&shown, partial.version),
            Form::Table(version) => self.table(&shown, version),
        };
        self.pending
            .push_back(line(kind, value.to_string().as_bytes()));
    }

    /// One row; only the first event of a watch has the columns.
    fn table(&mut self, object: &Value, version: &str) -> Value {
        let mut table = table::of_object(
            &self.served,
            object,
            version,
            self.include,
            Timestamp::now(),
        );
        if std::mem::replace(&mut self.headed, true) {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    fn queue_bookmark(&mut self, initial_events_end: bool) {
        self.bookmark = Instant::now() + BOOKMARK_INTERVAL;
        let mut object = json!({
            "kind": self.served.resource.kind, "apiVersion": self.served.api_version(),
            "metadata": {"resourceVersion": self.revision.to_string()},
        });
        if initial_events_end {
            object["metadata"]["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.accept.form {
            Form::Whole | Form::Discovery => object,
            Form::Metadata(partial) => metadata::in_version(&object, partial.version),
            Form::Table(version) => self.table(&object, version),
        };
        self.pending
            .push_back(line("BOOKMARK", object.to_string().as_bytes()));
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + kind.len() + 24);
    line.put_slice(b"{\"type\":\"");
    line.put_slice(kind.as_bytes());
    line.put_slice(b"\",\"object\":");
    line.put_slice(object);
    line.put_slice(b"}\n");
    line.freeze()
}
