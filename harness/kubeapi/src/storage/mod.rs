//! Where objects live: in memory, one revision counter for everything, one ordered map and one ring of past
//! changes per resource.
//!
//! A commit is a short critical section without I/O. Readers get shared immutable entries; watchers read the ring at
//! their own pace from the revision they stand at and are told to start over (410) when the ring no longer reaches back.

mod entry;
mod shelf;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{mpsc, watch};

pub use entry::{Change, ChangeKind, Entry, Key};
use shelf::Shelf;

/// Changes a resource's ring remembers.
pub const HISTORY: usize = 4096;

/// Why a commit did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Exists,
    /// The entry is not the one the caller based its change on.
    Stale,
}

/// The revision asked for is older than what is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooOld {
    /// The oldest revision that could be served.
    pub oldest: u64,
}

/// A consistent view of the entries of one resource.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub revision: u64,
    /// Ordered by namespace and name.
    pub entries: Vec<Arc<Entry>>,
}

/// Changes after a revision.
#[derive(Debug, Clone)]
pub struct Since {
    pub changes: Vec<Arc<Change>>,
    /// The store's revision at the time: everything up to here is in `changes`.
    pub revision: u64,
}

/// All objects of a server.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    revision: u64,
    shelves: HashMap<Arc<str>, Shelf>,
    observers: Vec<mpsc::UnboundedSender<Arc<Change>>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                revision: 1,
                shelves: HashMap::new(),
                observers: Vec::new(),
            }),
        }
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while holding the lock can only come from allocation failure; the maps stay usable.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    pub fn get(&self, resource: &str, key: &Key) -> Option<Arc<Entry>> {
        self.lock().shelves.get(resource)?.entries.get(key).cloned()
    }

    /// The entries now, of one namespace or of all.
    pub fn list(&self, resource: &str, namespace: Option<&str>) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            revision: inner.revision,
            entries: inner
                .shelves
                .get(resource)
                .map(|shelf| shelf.current(namespace))
                .unwrap_or_default(),
        }
    }

    /// The entries as they were at a past revision.
    pub fn list_at(
        &self,
        resource: &str,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Snapshot, TooOld> {
        let inner = self.lock();
        let entries = match inner.shelves.get(resource) {
            Some(known) => known.past(namespace, revision)?,
            None => Vec::new(),
        };
        Ok(Snapshot { revision, entries })
    }

    /// Adds an object; sets its resourceVersion.
    pub fn create(&self, resource: &Arc<str>, object: Value) -> Result<Arc<Entry>, Refused> {
        let key = Key::of(&object);
        let mut inner = self.lock();
        if inner.shelf(resource).entries.contains_key(&key) {
            return Err(Refused::Exists);
        }
        let revision = inner.next();
        let entry = Arc::new(Entry::new(object, revision));
        inner.put(resource, key, revision, None, entry.clone());
        Ok(entry)
    }

    /// Replaces `old` by an object; sets its resourceVersion.
    pub fn update(
        &self,
        resource: &Arc<str>,
        old: &Arc<Entry>,
        object: Value,
    ) -> Result<Arc<Entry>, Refused> {
        let key = Key::of(&old.object);
        let mut inner = self.lock();
        inner.check(resource, &key, old)?;
        let revision = inner.next();
        let entry = Arc::new(Entry::new(object, revision));
        inner.put(resource, key, revision, Some(old.clone()), entry.clone());
        Ok(entry)
    }

    /// Removes `old`. `last` is its final state as watchers see it. Returns that state with the
    /// resourceVersion of the removal.
    pub fn delete(
        &self,
        resource: &Arc<str>,
        old: &Arc<Entry>,
        last: Option<Value>,
    ) -> Result<Arc<Entry>, Refused> {
        let key = Key::of(&old.object);
        let mut inner = self.lock();
        inner.check(resource, &key, old)?;
        let revision = inner.next();
        let object = last.unwrap_or_else(|| old.object.clone());
        let gone = Arc::new(Entry::new(object, revision));
        inner.shelf(resource).entries.remove(&key);
        let change = Change {
            resource: resource.clone(),
            kind: ChangeKind::Deleted,
            revision,
            entry: gone.clone(),
            previous: Some(old.clone()),
        };
        inner.publish(resource, change);
        Ok(gone)
    }

    /// What happened to a resource after a revision.
    pub fn since(&self, resource: &str, revision: u64) -> Result<Since, TooOld> {
        let inner = self.lock();
        let changes = match inner.shelves.get(resource) {
            Some(known) => known.after(revision)?,
            None => Vec::new(),
        };
        Ok(Since {
            changes,
            revision: inner.revision,
        })
    }

    /// Wakes at every change of a resource; the value is the revision of the last one.
    pub fn subscribe(&self, resource: &Arc<str>) -> watch::Receiver<u64> {
        self.lock().shelf(resource).latest.subscribe()
    }

    /// Every change of every resource from now on, in order.
    pub fn observe(&self) -> mpsc::UnboundedReceiver<Arc<Change>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().observers.push(sender);
        receiver
    }

    /// Forgets a resource that is no longer served; its watchers end.
    pub fn forget(&self, resource: &str) {
        self.lock().shelves.remove(resource);
    }
}

impl Inner {
    fn next(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn shelf(&mut self, resource: &Arc<str>) -> &mut Shelf {
        self.shelves.entry(resource.clone()).or_default()
    }

    fn check(&mut self, resource: &Arc<str>, key: &Key, old: &Arc<Entry>) -> Result<(), Refused> {
        match self.shelf(resource).entries.get(key) {
            Some(current) if Arc::ptr_eq(current, old) => Ok(()),
            _ => Err(Refused::Stale),
        }
    }

    fn put(
        &mut self,
        resource: &Arc<str>,
        key: Key,
        revision: u64,
        previous: Option<Arc<Entry>>,
        entry: Arc<Entry>,
    ) {
        self.shelf(resource).entries.insert(key, entry.clone());
        let kind = if previous.is_some() {
            ChangeKind::Modified
        } else {
            ChangeKind::Added
        };
        let change = Change {
            resource: resource.clone(),
            kind,
            revision,
            entry,
            previous,
        };
        self.publish(resource, change);
    }

    fn publish(&mut self, resource: &Arc<str>, change: Change) {
        let change = Arc::new(change);
        self.shelf(resource).push(change.clone());
        self.observers
            .retain(|observer| observer.send(change.clone()).is_ok());
    }
}
