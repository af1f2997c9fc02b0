//! What a case has done to objects so far: what it created, and how it last left each of them.

use std::{collections::HashMap, sync::Arc};

use kube::api::DynamicObject;

use super::{catalogue::Resource, names};
use crate::events::{Location, ObjectRef};

/// An object the case applied.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// As of the API's answer to the last apply.
    pub resource_version: Option<String>,
    pub manifest: Option<Location>,
    /// Number of the acting step that applied it last.
    pub acted: usize,
}

/// An object the case created and will remove.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub resource: Arc<Resource>,
    pub object: ObjectRef,
    /// Once the API has answered.
    pub uid: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    marks: HashMap<ObjectRef, Mark>,
    created: Vec<Created>,
    /// Counts the steps that changed something.
    acted: usize,
}

impl Ledger {
    /// A step is about to change something.
    pub fn act(&mut self) {
        self.acted += 1;
    }

    /// An object is about to be created. Known before it exists, so that nothing is left behind when the run is
    /// interrupted between the request and its answer.
    pub fn will_create(&mut self, resource: &Arc<Resource>, object: ObjectRef) {
        self.created.push(Created {
            resource: Arc::clone(resource),
            object,
            uid: None,
        });
    }

    /// The API has created it, and this is how it differs from every other object of that name.
    pub fn created(&mut self, object: &ObjectRef, uid: &str) {
        for created in self
            .created
            .iter_mut()
            .filter(|created| created.object == *object)
        {
            created.uid = Some(uid.to_owned());
        }
    }

    /// The API has taken an object.
    pub fn applied(&mut self, object: &DynamicObject, manifest: Option<Location>) {
        let reference = names::reference(object);
        let resource_version = object.metadata.resource_version.clone();
        self.marks.insert(
            reference,
            Mark {
                resource_version,
                manifest,
                acted: self.acted,
            },
        );
    }

    /// Older views of an object than this one tell of what was before the last act.
    pub fn renewed(&mut self, object: &DynamicObject) {
        let acted = self.acted;
        let mark = self
            .marks
            .entry(names::reference(object))
            .or_insert_with(|| Mark {
                resource_version: None,
                manifest: None,
                acted,
            });
        mark.resource_version
            .clone_from(&object.metadata.resource_version);
        mark.acted = acted;
    }

    pub fn deleted(&mut self, object: &ObjectRef) {
        self.marks.remove(object);
        self.created.retain(|created| created.object != *object);
    }

    /// Where the manifest of an object begins, when the case applied it.
    pub fn manifest(&self, object: &ObjectRef) -> Option<Location> {
        self.marks
            .get(object)
            .and_then(|mark| mark.manifest.clone())
    }

    /// Whether this view of an object is older than what the case last did to it.
    pub fn is_stale(&self, object: &DynamicObject) -> bool {
        let applied = self
            .marks
            .get(&names::reference(object))
            .and_then(|mark| mark.resource_version.as_deref());
        match (
            number(applied),
            number(object.metadata.resource_version.as_deref()),
        ) {
            (Some(applied), Some(seen)) => seen < applied,
            // A server whose versions are not numbers gives no order; then the newest view is believed.
            _ => false,
        }
    }

    /// Whether the case applied any object of a kind, by the name scenarios use for it.
    pub fn has_applied_kind(&self, kind: &str) -> bool {
        self.marks.keys().any(|object| object.kind == kind)
    }

    /// Whether nothing that could have helped the object was done after it was applied.
    pub fn is_latest_act(&self, object: &ObjectRef) -> bool {
        self.marks
            .get(object)
            .is_some_and(|mark| mark.acted == self.acted)
    }

    /// What is to be removed, last created first.
    pub fn take_created(&mut self) -> Vec<Created> {
        let mut created = std::mem::take(&mut self.created);
        created.reverse();
        created
    }
}

fn number(version: Option<&str>) -> Option<u64> {
    version.and_then(|version| version.parse().ok())
}
