//! OpenAPI v3: the index and the documents, made when asked for and kept until what is served changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use crate::openapi::{self, Resource, Shape, Subresource};
use crate::registry::{Registry, Served};

/// A document and its hash.
#[derive(Debug, Clone)]
pub struct Document {
    pub json: Bytes,
    pub hash: String,
}

/// Documents of one registry.
#[derive(Debug, Default)]
pub struct Documents {
    inner: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    registry: Option<Arc<Registry>>,
    documents: HashMap<(String, String), Document>,
}

impl Documents {
    /// None when the group version is not served.
    pub fn get(&self, registry: &Arc<Registry>, group: &str, version: &str) -> Option<Document> {
        let mut made = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let current = made
            .registry
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, registry));
        if !current {
            made.registry = Some(registry.clone());
            made.documents.clear();
        }
        let key = (group.to_owned(), version.to_owned());
        if let Some(document) = made.documents.get(&key) {
            return Some(document.clone());
        }
        let resources: Vec<Resource> = registry
            .in_group_version(group, version)
            .iter()
            .map(resource)
            .collect();
        if resources.is_empty() {
            return None;
        }
        let value = openapi::document(group, version, &resources);
        let document = Document {
            hash: openapi::hash(&value),
            json: Bytes::from(value.to_string()),
        };
        made.documents.insert(key, document.clone());
        Some(document)
    }

    /// The index of all documents.
    pub fn index(&self, registry: &Arc<Registry>) -> Value {
        let groups = registry.groups();
        let documents: Vec<(&str, &str, String)> = groups
            .iter()
            .flat_map(|(group, versions)| versions.iter().map(move |v| (*group, *v)))
            .filter_map(|(group, version)| {
                Some((group, version, self.get(registry, group, version)?.hash))
            })
            .collect();
        openapi::index(documents.iter().map(|(g, v, h)| (*g, *v, h.as_str())))
    }
}

fn resource(served: &Served) -> Resource {
    let owned = |verbs: &[&str]| verbs.iter().map(|v| (*v).to_owned()).collect();
    let group = &served.resource.group;
    let version = &served.version().name;
    Resource {
        plural: served.resource.plural.clone(),
        kind: served.resource.kind.clone(),
        namespaced: served.resource.namespaced,
        verbs: owned(served.resource.verbs),
        subresources: served
            .version()
            .subresources
            .iter()
            .map(|sub| Subresource {
                name: sub.name.clone(),
                kind: sub.kind.kind.clone(),
                group: (&sub.kind.group != group).then(|| sub.kind.group.clone()),
                version: (&sub.kind.version != version).then(|| sub.kind.version.clone()),
                verbs: owned(sub.verbs),
            })
            .collect(),
        shape: match &served.version().open_api {
            Some(schema) => Shape::Custom(schema.clone()),
            None => Shape::Builtin,
        },
        // Namespaces answer with themselves, but the documents have never said so.
        returns_deleted: served.strategy().returns_deleted()
            && served.resource.plural != "namespaces",
    }
}
