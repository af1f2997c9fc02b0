//! Deletes objects whose owners are gone, and does what the `orphan` and `foregroundDeletion` finalizers promise.

use std::sync::Arc;

use serde_json::Value;

use super::graph::{Graph, Place, owners};
use super::{change, delete};
use crate::object;
use crate::request::{DeleteOptions, Propagation};
use crate::server::core::Core;
use crate::storage::{Change, ChangeKind, Entry};
use crate::validation::metadata::{FOREGROUND, ORPHAN};
use crate::write::Part;

/// The garbage collector.
#[derive(Debug, Default)]
pub struct Collector {
    graph: Graph,
}

impl Collector {
    pub fn changed(&mut self, core: &Core, change: &Change) {
        self.graph.update(change);
        let object = &change.entry.object;
        if change.kind == ChangeKind::Deleted {
            self.owner_gone(core, object);
            return;
        }
        // Only changes of ownership or a beginning deletion make work; other updates are frequent and pass by.
        let previous = change.previous.as_deref().map(|entry| &entry.object);
        let references =
            |object: &Value| object::at(object, &["metadata", "ownerReferences"]).clone();
        let new_owners =
            previous.map(references) != Some(references(object)) && owners(object).next().is_some();
        if new_owners {
            self.check(core, &Graph::place(change));
        }
        if object::is_deleting(object) {
            self.deleting(core, &change.entry);
        }
    }

    /// The dependents of an owner that is gone, and the owners that waited for this object.
    fn owner_gone(&self, core: &Core, object: &Value) {
        for dependent in self.graph.dependents(object::uid(object)) {
            self.check(core, &dependent);
        }
        for owner in owners(object) {
            if let Some(entry) = self.graph.find(owner).and_then(|place| get(core, place))
                && object::is_deleting(&entry.object)
            {
                self.deleting(core, &entry);
            }
        }
    }

    /// Deletes an object when none of its owners exists; drops references to missing owners when some exist.
    fn check(&self, core: &Core, place: &Place) {
        let Some(entry) = get(core, place) else {
            return;
        };
        let object = &entry.object;
        let (mut solid, mut waiting, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for owner in owners(object) {
            match self.graph.find(owner).and_then(|place| get(core, place)) {
                None => missing.push(owner.to_owned()),
                Some(owner_entry)
                    if object::is_deleting(&owner_entry.object)
                        && object::has_finalizer(&owner_entry.object, FOREGROUND) =>
                {
                    waiting.push(owner.to_owned());
                }
                Some(_) => solid.push(owner.to_owned()),
            }
        }
        if missing.is_empty() && waiting.is_empty() {
            return;
        }
        let Some(served) = core.registry().by_storage(&place.storage) else {
            return;
        };
        if !solid.is_empty() {
            missing.extend(waiting);
            Self::drop_references(core, &entry, place, &missing);
            return;
        }
        if object::is_deleting(object) {
            return;
        }
        let propagation = if !waiting.is_empty() {
            Propagation::Foreground
        } else if object::has_finalizer(object, ORPHAN) {
            Propagation::Orphan
        } else if object::has_finalizer(object, FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        delete(
            core,
            &served,
            &entry,
            DeleteOptions {
                propagation: Some(propagation),
                ..DeleteOptions::default()
            },
        );
    }

    fn drop_references(core: &Core, entry: &Entry, place: &Place, gone: &[String]) {
        let Some(served) = core.registry().by_storage(&place.storage) else {
            return;
        };
        let result = change(core, &served, entry, Part::Main, |current| {
            let mut new = current.clone();
            let kept: Vec<Value> = object::list(current, &["metadata", "ownerReferences"])
                .iter()
                .filter(|owner| !gone.iter().any(|uid| uid == object::text(owner, &["uid"])))
                .cloned()
                .collect();
            if kept.is_empty() {
                object::remove(&mut new, &["metadata", "ownerReferences"]);
            } else {
                object::set(&mut new, &["metadata", "ownerReferences"], kept);
            }
            new
        });
        if let Err(status) = result {
            tracing::warn!(%status, name = object::name(&entry.object), "owner references cannot be dropped");
        }
    }

    /// An object waits for its dependents to be orphaned or deleted.
    fn deleting(&self, core: &Core, entry: &Arc<Entry>) {
        let object = &entry.object;
        let uid = object::uid(object).to_owned();
        let Some(place) = self.graph.find(&uid).cloned() else {
            return;
        };
        if object::has_finalizer(object, ORPHAN) {
            for dependent in self.graph.dependents(&uid) {
                if let Some(entry) = get(core, &dependent) {
                    Self::drop_references(core, &entry, &dependent, std::slice::from_ref(&uid));
                }
            }
            remove_finalizer(core, &place, entry, ORPHAN);
        } else if object::has_finalizer(object, FOREGROUND) {
            let mut blocked = false;
            for dependent in self.graph.dependents(&uid) {
                let Some(entry) = get(core, &dependent) else {
                    continue;
                };
                blocked |= blocks(&entry.object, &uid);
                self.check(core, &dependent);
            }
            // Looked at again: some may be gone at once.
            blocked = blocked
                && self
                    .graph
                    .dependents(&uid)
                    .iter()
                    .filter_map(|place| get(core, place))
                    .any(|entry| blocks(&entry.object, &uid));
            if !blocked {
                remove_finalizer(core, &place, entry, FOREGROUND);
            }
        }
    }
}

/// Whether a dependent keeps its owner from going first.
fn blocks(dependent: &Value, owner: &str) -> bool {
    object::list(dependent, &["metadata", "ownerReferences"])
        .iter()
        .any(|reference| {
            object::text(reference, &["uid"]) == owner
                && object::at(reference, &["blockOwnerDeletion"]) == &Value::Bool(true)
        })
}

fn get(core: &Core, place: &Place) -> Option<Arc<Entry>> {
    core.store.get(&place.storage, &place.key)
}

fn remove_finalizer(core: &Core, place: &Place, entry: &Entry, finalizer: &str) {
    let Some(served) = core.registry().by_storage(&place.storage) else {
        return;
    };
    let result = change(core, &served, entry, Part::Main, |current| {
        let mut new = current.clone();
        let kept = object::finalizers(current)
            .into_iter()
            .filter(|f| *f != finalizer)
            .map(str::to_owned)
            .collect();
        object::set_finalizers(&mut new, kept);
        new
    });
    if let Err(status) = result {
        tracing::warn!(%status, name = object::name(&entry.object), finalizer, "finalizer cannot be removed");
    }
}
