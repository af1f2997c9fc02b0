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
