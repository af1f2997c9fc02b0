//! What goes on inside the server by itself: collecting garbage, emptying namespaces, cleaning up after definitions.
//!
//! Controllers read the store's feed of changes and write like clients do. They run as tasks that end with the server.

pub mod addresses;
pub mod api_services;
pub mod definitions;
pub mod furnishing;
pub mod garbage;
pub mod graph;
pub mod namespaces;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::registry::Served;
use crate::request::{DeleteOptions, WriteOptions};
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::{Change, Entry};
use crate::write::create::Ownership;
use crate::write::{Part, Write};

/// All controllers, watching.
#[derive(Debug)]
pub struct Controllers {
    changes: mpsc::UnboundedReceiver<Arc<Change>>,
    garbage: garbage::Collector,
}

impl Controllers {
    /// Sees every change from now on.
    pub fn new(core: &Core) -> Self {
        Self {
            changes: core.store.observe(),
            garbage: garbage::Collector::default(),
        }
    }

    /// One task for all: they see every change in the same order.
    pub async fn run(mut self, core: Arc<Core>) {
        while let Some(change) = self.changes.recv().await {
            if core.settings.controllers {
                furnishing::changed(&core, &change);
                self.garbage.changed(&core, &change);
                namespaces::changed(&core, &change);
            }
            definitions::changed(&core, &change);
            api_services::changed(&core, &change);
            addresses::changed(&core, &change);
        }
    }
}

/// The name of a controller in managedFields.
const MANAGER: &str = "kube-controller-manager";

/// Changes an object on behalf of a controller. An object that is gone needs no change.
fn change(
    core: &Core,
    served: &Served,
    entry: &Entry,
    part: Part,
    make: impl Fn(&serde_json::Value) -> serde_json::Value,
) -> Result<(), Status> {
    let options = WriteOptions {
        manager: MANAGER.to_owned(),
        ..WriteOptions::default()
    };
    let namespace = crate::object::namespace(&entry.object);
    let uid = crate::object::uid(&entry.object);
    let write = Write {
        core,
        served,
        namespace: Some(namespace).filter(|n| !n.is_empty()),
        options: &options,
        requester: None,
    };
    let name = crate::object::name(&entry.object);
    let changed = write.change_unseen(name, part, Ownership::Note, |current| {
        if crate::object::uid(current) == uid {
            Ok(make(current))
        } else {
            Ok(current.clone())
        }
    });
    match changed {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}

/// Deletes exactly this object; one that is gone is fine.
fn delete(core: &Core, served: &Served, entry: &Entry, mut options: DeleteOptions) {
    let object = &entry.object;
    options.uid = Some(crate::object::uid(object).to_owned());
    let namespace = crate::object::namespace(object);
    let deleted = crate::write::delete::delete(
        core,
        served,
        Some(namespace).filter(|n| !n.is_empty()),
        crate::object::name(object),
        &options,
    );
    if let Err(status) = deleted
        && !status.is_not_found()
        && !status.is_conflict()
    {
        tracing::warn!(
            %status, resource = served.resource.plural, name = crate::object::name(object), "cannot be deleted"
        );
    }
}
