//! Removes the instances of a CustomResourceDefinition that is being deleted, then lets it go.

use std::sync::Arc;

use super::{change, delete};
use crate::admission::crd::withdraw;
use crate::kinds::crds::FINALIZER;
use crate::object;
use crate::registry::builtin::CRDS;
use crate::request::DeleteOptions;
use crate::server::core::Core;
use crate::storage::{Change, ChangeKind, Entry, Key};
use crate::write::Part;

pub fn changed(core: &Core, change: &Change) {
    let object = &change.entry.object;
    if &*change.resource == CRDS {
        if change.kind == ChangeKind::Deleted {
            withdraw(core, object);
        } else if object::is_deleting(object) {
            empty(core, &change.entry);
        }
    } else if change.kind == ChangeKind::Deleted
        // An instance: its definition may have waited for it. Shelves of instances are named like definitions.
        && let Some(definition) = core.store.get(CRDS, &Key::new("", &change.resource))
        && object::is_deleting(&definition.object)
    {
        empty(core, &definition);
    }
}

fn empty(core: &Core, definition: &Arc<Entry>) {
    let registry = core.registry();
    let storage = object::name(&definition.object);
    if let Some(served) = registry.by_storage(storage) {
        for entry in core.store.list(storage, None).entries {
            if !object::is_deleting(&entry.object) {
                delete(core, &served, &entry, DeleteOptions::default());
            }
        }
    }
    if !core.store.list(storage, None).entries.is_empty() {
        return;
    }
    let Some(served) = registry.by_storage(CRDS) else {
        return;
    };
    let done = change(core, &served, definition, Part::Main, |current| {
        let mut new = current.clone();
        let kept = object::finalizers(current)
            .into_iter()
            .filter(|f| *f != FINALIZER)
            .map(str::to_owned)
            .collect();
        object::set_finalizers(&mut new, kept);
        new
    });
    if let Err(status) = done {
        tracing::warn!(%status, definition = storage, "finalizer cannot be removed");
    }
}
