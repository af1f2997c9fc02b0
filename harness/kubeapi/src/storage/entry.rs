//! Stored objects and what happens to them.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::object;

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub fn of(object: &Value) -> Self {
        Self::new(object::namespace(object), object::name(object))
    }
}

/// One immutable state of an object.
#[derive(Debug)]
pub struct Entry {
    pub object: Value,
    json: OnceLock<Bytes>,
}

impl Entry {
    pub(super) fn new(mut object: Value, revision: u64) -> Self {
        object::set(
            &mut object,
            &["metadata", "resourceVersion"],
            revision.to_string(),
        );
        lead_with_kind(&mut object);
        Self {
            object,
            json: OnceLock::new(),
        }
    }

    /// The object as JSON, serialised once.
    pub fn json(&self) -> &Bytes {
        self.json
            .get_or_init(|| Bytes::from(self.object.to_string()))
    }
}

/// Every object begins with what it is, however the client wrote it: lists rely on it when they leave that out.
fn lead_with_kind(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    for (place, key) in ["apiVersion", "kind"].into_iter().enumerate() {
        if fields.keys().nth(place).is_some_and(|found| found != key)
            && let Some(value) = fields.shift_remove(key)
        {
            fields.shift_insert(place, key.to_owned(), value);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// A step in the history of a resource.
#[derive(Debug)]
pub struct Change {
    pub resource: Arc<str>,
    pub kind: ChangeKind,
    pub revision: u64,
    /// The new state; for a deletion the last state, with the deletion's resourceVersion.
    pub entry: Arc<Entry>,
    pub previous: Option<Arc<Entry>>,
}
