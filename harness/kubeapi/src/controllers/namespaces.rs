//! Empties namespaces that are being deleted, then lets them go.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{change, delete};
use crate::kinds::namespaces::FINALIZER;
use crate::object;
use crate::registry::Served;
use crate::registry::builtin::NAMESPACES;
use crate::request::{DeleteOptions, Propagation};
use crate::server::core::Core;
use crate::storage::{Change, ChangeKind, Entry, Key};
use crate::write::Part;

pub fn changed(core: &Core, change: &Change) {
    let object = &change.entry.object;
    let name = if &*change.resource == NAMESPACES {
        object::name(object)
    } else if change.kind == ChangeKind::Deleted || object::is_deleting(object) {
        object::namespace(object)
    } else {
        return;
    };
    if name.is_empty() {
        return;
    }
    let Some(namespace) = core.store.get(NAMESPACES, &Key::new("", name)) else {
        return;
    };
    if object::is_deleting(&namespace.object) {
        empty(core, &namespace, name);
    }
}

/// Deletes what is left; when nothing is, takes the finalizer off.
fn empty(core: &Core, namespace: &Arc<Entry>, name: &str) {
    let registry = core.registry();
    let mut left: Vec<(Served, Vec<Arc<Entry>>)> = Vec::new();
    for resource in registry.resources() {
        if !resource.namespaced || !resource.is_stored() {
            continue;
        }
        // Events are shown by two groups but are one thing.
        if left
            .iter()
            .any(|(served, _)| served.resource.storage == resource.storage)
        {
            continue;
        }
        let Some(served) = registry.by_storage(&resource.storage) else {
            continue;
        };
        for entry in core.store.list(&resource.storage, Some(name)).entries {
            if !object::is_deleting(&entry.object) {
                let options = DeleteOptions {
                    propagation: Some(Propagation::Background),
                    ..DeleteOptions::default()
                };
                delete(core, &served, &entry, options);
            }
        }
        let remaining = core.store.list(&resource.storage, Some(name)).entries;
        if !remaining.is_empty() {
            left.push((served, remaining));
        }
    }
    let Some(served) = registry.by_storage(NAMESPACES) else {
        return;
    };
    let conditions = conditions(namespace, &left);
    let outcome = if left.is_empty() {
        change(
            core,
            &served,
            namespace,
            Part::View("finalize"),
            |current| {
                let mut new = current.clone();
                let kept: Vec<Value> = object::list(current, &["spec", "finalizers"])
                    .iter()
                    .filter(|f| *f != FINALIZER)
                    .cloned()
                    .collect();
                object::set(&mut new, &["spec", "finalizers"], kept);
                new
            },
        )
    } else {
        change(core, &served, namespace, Part::Status, |current| {
            let mut new = current.clone();
            object::set(&mut new, &["status", "conditions"], conditions.clone());
            new
        })
    };
    if let Err(status) = outcome {
        tracing::warn!(%status, namespace = name, "namespace cannot be finalised");
    }
}

/// What the namespace waits for, as upstream says it. Unchanged conditions keep their time, so that saying the same
/// again changes nothing.
fn conditions(namespace: &Entry, left: &[(Served, Vec<Arc<Entry>>)]) -> Vec<Value> {
    let count: Vec<String> = left
        .iter()
        .map(|(served, entries)| {
            format!(
                "{} has {} resource instances",
                qualified(served),
                entries.len()
            )
        })
        .collect();
    let mut finalizers: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for entry in left.iter().flat_map(|(_, entries)| entries) {
        for finalizer in object::finalizers(&entry.object) {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let finalizers: Vec<String> = finalizers
        .into_iter()
        .map(|(name, count)| format!("{name} in {count} resource instances"))
        .collect();
    let quiet = |kind: &str, reason: &str, message: &str| {
        (
            kind.to_owned(),
            "False",
            reason.to_owned(),
            message.to_owned(),
        )
    };
    let content = if count.is_empty() {
        quiet(
            "NamespaceContentRemaining",
            "ContentRemoved",
            "All content successfully removed",
        )
    } else {
        (
            "NamespaceContentRemaining".to_owned(),
            "True",
            "SomeResourcesRemain".to_owned(),
            format!("Some resources are remaining: {}", count.join(", ")),
        )
    };
    let held = if finalizers.is_empty() {
        quiet(
            "NamespaceFinalizersRemaining",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        )
    } else {
        (
            "NamespaceFinalizersRemaining".to_owned(),
            "True",
            "SomeFinalizersRemain".to_owned(),
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                finalizers.join(", ")
            ),
        )
    };
    let all = [
        quiet(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        quiet(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        quiet(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        content,
        held,
    ];
    let now = object::time(Timestamp::now());
    let old = object::list(&namespace.object, &["status", "conditions"]);
    all.into_iter()
        .map(|(kind, status, reason, message)| {
            let since = old
                .iter()
                .find(|c| object::text(c, &["type"]) == kind && object::text(c, &["status"]) == status)
                .map_or(now.as_str(), |c| object::text(c, &["lastTransitionTime"]));
            json!({"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message})
        })
        .collect()
}

fn qualified(served: &Served) -> String {
    match served.resource.group.as_str() {
        "" => format!("{}.", served.resource.plural),
        group => format!("{}.{group}", served.resource.plural),
    }
}
