//! What exists at each step, as far as the files say.

use indexmap::IndexMap;

use crate::manifest::ManifestObject;
use crate::model::{ObjectRef, Scenario, canonical_kind, is_namespaced};
use crate::span::Span;

/// Kind, namespace, name; the kind in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl From<&ObjectRef> for Key {
    fn from(reference: &ObjectRef) -> Self {
        Self {
            kind: reference.canonical_kind().to_owned(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        }
    }
}

/// Whether an object is there.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    Here,
    /// Deleted by what is written there.
    Deleted(Span),
}

/// Objects that steps created so far.
#[derive(Debug, Default)]
pub(crate) struct World<'a> {
    pub(crate) objects: IndexMap<Key, (Option<&'a ManifestObject>, Presence)>,
}

impl<'a> World<'a> {
    /// With the namespaces that the scenario declares.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut world = Self::default();
        for namespace in &scenario.spec.namespaces {
            let key = Key {
                kind: "namespace".to_owned(),
                namespace: None,
                name: namespace.name.to_string(),
            };
            world.objects.insert(key, (None, Presence::Here));
        }
        world
    }

    pub(crate) fn create(&mut self, object: &'a ManifestObject, namespace: &str) -> Key {
        let key = key_of(object, namespace);
        self.objects
            .insert(key.clone(), (Some(object), Presence::Here));
        key
    }

    /// Removes it, and with a namespace everything in it.
    pub(crate) fn delete(&mut self, key: &Key, at: &Span) {
        for (other, (_, presence)) in &mut self.objects {
            let inside = key.kind == "namespace" && other.namespace.as_deref() == Some(&key.name);
            if other == key || inside {
                *presence = Presence::Deleted(at.clone());
            }
        }
    }

    pub(crate) fn presence(&self, key: &Key) -> Option<&Presence> {
        self.objects.get(key).map(|(_, presence)| presence)
    }

    pub(crate) fn object(&self, key: &Key) -> Option<&'a ManifestObject> {
        self.objects.get(key).and_then(|(object, _)| *object)
    }

    /// Present objects of a kind, in a namespace if given.
    pub(crate) fn of_kind<'w>(
        &'w self,
        kind: &'w str,
        namespace: Option<&'w str>,
    ) -> impl Iterator<Item = (&'w Key, Option<&'a ManifestObject>)> {
        self.objects
            .iter()
            .filter_map(move |(key, (object, presence))| {
                let right = key.kind == kind
                    && (namespace.is_none() || key.namespace.as_deref() == namespace);
                (right && matches!(presence, Presence::Here)).then_some((key, *object))
            })
    }

    /// Whether a namespace is declared, created, or part of every cluster.
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        let key = Key {
            kind: "namespace".to_owned(),
            namespace: None,
            name: name.to_owned(),
        };
        matches!(self.presence(&key), Some(Presence::Here)) || is_platform(name)
    }
}

/// Namespaces that are not a scenario's business.
pub(crate) fn is_platform(namespace: &str) -> bool {
    let known = [
        "default",
        "kubevirt",
        "nmstate",
        "cdi",
        "ovn-kubernetes",
        "cert-manager",
    ];
    known.contains(&namespace)
        || namespace.starts_with("kube-")
        || namespace.starts_with("openshift-")
}

/// The identity of a manifest's object; `namespace` is where it goes when it does not say.
pub(crate) fn key_of(object: &ManifestObject, namespace: &str) -> Key {
    let kind = object.kind().to_ascii_lowercase();
    let namespaced = is_namespaced(&kind).unwrap_or(object.namespace().is_some());
    Key {
        kind: canonical_kind(&kind).to_owned(),
        namespace: namespaced.then(|| object.namespace().unwrap_or(namespace).to_owned()),
        name: object.name().to_owned(),
    }
}
