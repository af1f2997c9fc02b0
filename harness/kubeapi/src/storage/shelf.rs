//! One resource's objects and its recent history.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use tokio::sync::watch;

use super::entry::{Change, Entry, Key};
use super::{HISTORY, TooOld};

#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) entries: BTreeMap<Key, Arc<Entry>>,
    /// Ordered by revision.
    ring: VecDeque<Arc<Change>>,
    /// Changes up to this revision may be missing from the ring.
    forgotten: u64,
    pub(super) latest: watch::Sender<u64>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            ring: VecDeque::new(),
            forgotten: 0,
            latest: watch::Sender::new(0),
        }
    }
}

impl Shelf {
    pub(super) fn push(&mut self, change: Arc<Change>) {
        if self.ring.len() == HISTORY
            && let Some(oldest) = self.ring.pop_front()
        {
            self.forgotten = oldest.revision;
        }
        self.latest.send_replace(change.revision);
        self.ring.push_back(change);
    }

    pub(super) fn current(&self, namespace: Option<&str>) -> Vec<Arc<Entry>> {
        match namespace {
            None => self.entries.values().cloned().collect(),
            Some(namespace) => self
                .entries
                .range((Bound::Included(Key::new(namespace, "")), Bound::Unbounded))
                .take_while(|(key, _)| key.namespace == namespace)
                .map(|(_, entry)| entry.clone())
                .collect(),
        }
    }

    /// Undoes the changes after `revision`, newest first.
    pub(super) fn past(
        &self,
        namespace: Option<&str>,
        revision: u64,
    ) -> Result<Vec<Arc<Entry>>, TooOld> {
        self.reaches(revision)?;
        let mut entries: BTreeMap<Key, Arc<Entry>> = self
            .current(namespace)
            .into_iter()
            .map(|entry| (Key::of(&entry.object), entry))
            .collect();
        for change in self
            .ring
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            let key = Key::of(&change.entry.object);
            if namespace.is_some_and(|namespace| namespace != key.namespace) {
                continue;
            }
            match &change.previous {
                Some(previous) => entries.insert(key, previous.clone()),
                None => entries.remove(&key),
            };
        }
        Ok(entries.into_values().collect())
    }

    pub(super) fn after(&self, revision: u64) -> Result<Vec<Arc<Change>>, TooOld> {
        self.reaches(revision)?;
        let first = self
            .ring
            .partition_point(|change| change.revision <= revision);
        Ok(self.ring.range(first..).cloned().collect())
    }

    fn reaches(&self, revision: u64) -> Result<(), TooOld> {
        if revision < self.forgotten {
            return Err(TooOld {
                oldest: self.forgotten,
            });
        }
        Ok(())
    }
}
