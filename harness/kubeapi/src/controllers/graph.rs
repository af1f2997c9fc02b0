//! Who owns whom.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;

use crate::object;
use crate::storage::{Change, ChangeKind, Key};

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub storage: Arc<str>,
    pub key: Key,
}

/// Dependents by the uid of their owner, and which uids exist.
#[derive(Debug, Default)]
pub struct Graph {
    dependents: HashMap<String, HashSet<Place>>,
    existing: HashMap<String, Place>,
}

/// The uids of an object's owners.
pub fn owners(object: &Value) -> impl Iterator<Item = &str> {
    object::list(object, &["metadata", "ownerReferences"])
        .iter()
        .map(|owner| object::text(owner, &["uid"]))
        .filter(|uid| !uid.is_empty())
}

impl Graph {
    pub fn place(change: &Change) -> Place {
        Place {
            storage: change.resource.clone(),
            key: Key::of(&change.entry.object),
        }
    }

    pub fn update(&mut self, change: &Change) {
        let place = Self::place(change);
        let object = &change.entry.object;
        if let Some(previous) = &change.previous {
            for owner in owners(&previous.object) {
                self.unlink(owner, &place);
            }
        }
        let uid = object::uid(object).to_owned();
        if change.kind == ChangeKind::Deleted {
            self.existing.remove(&uid);
            return;
        }
        for owner in owners(object) {
            self.dependents
                .entry(owner.to_owned())
                .or_default()
                .insert(place.clone());
        }
        self.existing.insert(uid, place);
    }

    fn unlink(&mut self, owner: &str, dependent: &Place) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }

    /// The dependents of an owner.
    pub fn dependents(&self, owner: &str) -> Vec<Place> {
        self.dependents
            .get(owner)
            .map(|places| places.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Where the object with a uid is.
    pub fn find(&self, uid: &str) -> Option<&Place> {
        self.existing.get(uid)
    }
}
