//! Deleting objects: at once, after a grace period, or when finalizers are done.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::update::removable;
use crate::admission;
use crate::object;
use crate::registry::Served;
use crate::registry::builtin::{CRDS, NAMESPACES};
use crate::request::{DeleteOptions, Propagation};
use crate::server::core::Core;
use crate::status::Status;
use crate::storage::Entry;
use crate::validation::metadata::{FOREGROUND, ORPHAN};

/// What a deletion did.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Value),
    /// The object waits for its grace period or finalizers.
    Waiting(Arc<Entry>),
    /// A dry run.
    Dry(Value),
}

impl Deleted {
    pub fn object(&self) -> &Value {
        match self {
            Self::Waiting(entry) => &entry.object,
            Self::Gone(object) | Self::Dry(object) => object,
        }
    }
}

/// Deletes an object by name.
pub fn delete(
    core: &Core,
    served: &Served,
    namespace: Option<&str>,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, Status> {
    admission::namespace::check_delete(served, name)?;
    loop {
        let entry = core.entry(served, namespace, name)?;
        options.check(&served.resource.group, &served.resource.kind, &entry.object)?;
        if let Some(deleted) = delete_entry(core, served, &entry, options) {
            return Ok(deleted);
        }
    }
}

/// None when the entry is not current any more.
fn delete_entry(
    core: &Core,
    served: &Served,
    entry: &Arc<Entry>,
    options: &DeleteOptions,
) -> Option<Deleted> {
    let storage = &served.resource.storage;
    let object = marked(served, &entry.object, options, Timestamp::now());
    if options.dry_run {
        return Some(Deleted::Dry(object));
    }
    if removable(&object, storage) {
        // Watchers see the last stored state, as upstream: the deletion mark of an immediate removal is never stored.
        let last = object::is_deleting(&entry.object).then(|| object.clone());
        let gone = core.store.delete(storage, entry, last).ok()?;
        // Who deletes what has a grace period sees the mark, though.
        let graceful = served
            .strategy()
            .grace_period(&entry.object, None)
            .is_some();
        let mut answer = if graceful {
            object
        } else {
            gone.object.clone()
        };
        object::set(
            &mut answer,
            &["metadata", "resourceVersion"],
            object::resource_version(&gone.object),
        );
        return Some(Deleted::Gone(answer));
    }
    if object == entry.object {
        return Some(Deleted::Waiting(entry.clone()));
    }
    let waiting = core.store.update(storage, entry, object).ok()?;
    Some(Deleted::Waiting(waiting))
}

/// The object with the marks of its deletion.
fn marked(served: &Served, object: &Value, options: &DeleteOptions, now: Timestamp) -> Value {
    let mut marked = object.clone();
    let storage: &str = &served.resource.storage;
    propagation_finalizers(
        &mut marked,
        options.propagation.or(default_propagation(storage)),
    );
    if storage == CRDS {
        let mut finalizers: Vec<String> = object::finalizers(&marked)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let ours = crate::kinds::crds::FINALIZER;
        if !object::is_deleting(object) {
            crate::kinds::crds::terminating(&mut marked, now);
            if !finalizers.iter().any(|f| f == ours) {
                finalizers.push(ours.to_owned());
            }
        }
        object::set_finalizers(&mut marked, finalizers);
    }
    let grace = served
        .strategy()
        .grace_period(object, options.grace_period_seconds);
    let already = object::is_deleting(object);
    let current = object::integer(object, &["metadata", "deletionGracePeriodSeconds"]);
    let grace = match (grace, current) {
        // A deletion under way can only be hurried.
        (Some(asked), Some(current)) if already => Some(asked.min(current)),
        (grace, _) => grace,
    };
    if !already {
        let until = now + SignedDuration::from_secs(grace.unwrap_or(0));
        object::set(
            &mut marked,
            &["metadata", "deletionTimestamp"],
            object::time(until),
        );
        bump_generation(&mut marked);
    } else if let (Some(asked), Some(current)) = (grace, current)
        && asked < current
    {
        let until = object::parse_time(object::meta(object, "deletionTimestamp"))
            .map_or(now, |t| t - SignedDuration::from_secs(current - asked));
        object::set(
            &mut marked,
            &["metadata", "deletionTimestamp"],
            object::time(until),
        );
    }
    object::set(
        &mut marked,
        &["metadata", "deletionGracePeriodSeconds"],
        grace.unwrap_or(0),
    );
    if storage == NAMESPACES {
        object::remove(&mut marked, &["metadata", "deletionGracePeriodSeconds"]);
        object::set(&mut marked, &["status", "phase"], "Terminating");
    }
    marked
}

/// The mark of deletion is a change of what is desired.
fn bump_generation(object: &mut Value) {
    if let Some(generation) = object::integer(object, &["metadata", "generation"]) {
        object::set(object, &["metadata", "generation"], generation + 1);
    }
}

/// Jobs are older than garbage collection: without a word their pods stay.
pub fn default_propagation(storage: &str) -> Option<Propagation> {
    (storage == "jobs.batch").then_some(Propagation::Orphan)
}

fn propagation_finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else {
        return;
    };
    let mut finalizers: Vec<String> = object::finalizers(object)
        .into_iter()
        .filter(|f| *f != ORPHAN && *f != FOREGROUND)
        .map(str::to_owned)
        .collect();
    match propagation {
        Propagation::Background => {}
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
    }
    object::set_finalizers(object, finalizers);
}
