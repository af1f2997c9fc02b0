//! Who owns a row: the external ids by which OVN-Kubernetes finds its rows again.

use std::collections::BTreeMap;

use crate::hash::hashed_name;

/// An owner's description; its parts joined by colons are the row's id.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    controller: String,
    kind: &'static str,
    name: String,
    /// Further keys, in the order in which they enter the id.
    extra: Vec<(&'static str, String)>,
    /// Priorities come before the name in the id of rows of egress features.
    priority: Option<u16>,
}

impl Owner {
    pub(crate) fn new(controller: &str, kind: &'static str, name: impl Into<String>) -> Owner {
        Owner {
            controller: controller.to_owned(),
            kind,
            name: name.into(),
            extra: Vec::new(),
            priority: None,
        }
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Owner {
        self.extra.push((key, value.into()));
        self
    }

    pub(crate) fn priority(mut self, priority: u16) -> Owner {
        self.priority = Some(priority);
        self
    }

    pub(crate) fn id(&self) -> String {
        let priority = self.priority.map(|p| p.to_string());
        let head = [self.controller.as_str(), self.kind];
        let extra = self.extra.iter().map(|(_, value)| value.as_str());
        head.into_iter()
            .chain(priority.as_deref())
            .chain([self.name.as_str()])
            .chain(extra)
            .collect::<Vec<_>>()
            .join(":")
    }

    pub(crate) fn hashed(&self) -> String {
        hashed_name(&self.id())
    }

    pub(crate) fn external_ids(&self) -> BTreeMap<String, String> {
        let fixed = [
            ("k8s.ovn.org/id", self.id()),
            ("k8s.ovn.org/name", self.name.clone()),
            ("k8s.ovn.org/owner-controller", self.controller.clone()),
            ("k8s.ovn.org/owner-type", self.kind.to_owned()),
        ];
        let priority = self.priority.map(|p| ("priority", p.to_string()));
        fixed
            .into_iter()
            .chain(priority)
            .chain(self.extra.iter().cloned())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}
