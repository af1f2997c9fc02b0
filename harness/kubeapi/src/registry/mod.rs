//! Which resources the server serves, and how each behaves.

pub mod builtin;
pub mod columns;
pub mod custom;

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::gvk::{Gvr, api_version};
use crate::kinds::Strategy;
use crate::schema::{Gvk, Schema};
use crate::validation::name::NameRule;
use crate::virtual_resource::VirtualHandler;
use columns::Column;

/// The verbs of a stored resource, in discovery's order.
pub const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// Verbs of a subresource that is a view of its parent.
pub const VIEW_VERBS: &[&str] = &["get", "patch", "update"];

/// A resource in all its served versions.
pub struct Resource {
    pub group: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub list_kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    pub name_rule: NameRule,
    pub verbs: &'static [&'static str],
    /// Served versions, the preferred one first.
    pub versions: Vec<Version>,
    /// The shelf of the store this resource's objects lie on.
    pub storage: Arc<str>,
    /// The `apiVersion` objects are stored with.
    pub stored_api_version: String,
    /// What discovery's hash says they are stored with.
    pub hashed_api_version: String,
    pub behaviour: Behaviour,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({}.{})", self.plural, self.group)
    }
}

/// What a resource's objects are to the server.
pub enum Behaviour {
    /// Stored, with rules of its kind.
    Stored(&'static dyn Strategy),
    /// Stored; instances of a CustomResourceDefinition.
    Custom,
    /// Answered by a handler.
    Virtual(Arc<dyn VirtualHandler>),
    /// Answered by the server itself: access reviews and the like.
    Review,
}

/// One served version of a resource.
pub struct Version {
    pub name: String,
    pub schema: Option<Arc<Schema>>,
    /// For OpenAPI: the custom resource's `openAPIV3Schema`.
    pub open_api: Option<Value>,
    pub subresources: Vec<Subresource>,
    pub columns: Vec<Column>,
    /// Said in a Warning header on every request.
    pub deprecation: Option<String>,
    /// Field selectors beyond the metadata ones.
    pub selectable: Vec<String>,
}

impl Version {
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

#[derive(Debug, Clone)]
pub struct Subresource {
    pub name: String,
    pub kind: Gvk,
    pub verbs: &'static [&'static str],
    pub role: Role,
}

/// What a subresource does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Status,
    /// The whole object with a part of it being writable: `finalize`, `ephemeralcontainers`, `resize`.
    View,
    Scale(ScalePaths),
    Log,
    Exec,
    Attach,
    PortForward,
    Binding,
    Eviction,
    Proxy,
    Token,
}

/// Where a scale subresource finds its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: Vec<String>,
    pub status_replicas: Vec<String>,
    pub selector: Option<Vec<String>>,
}

/// A resource in the version a request uses.
#[derive(Debug, Clone)]
pub struct Served {
    pub resource: Arc<Resource>,
    version: usize,
}

impl Served {
    pub fn version(&self) -> &Version {
        &self.resource.versions[self.version]
    }

    pub fn api_version(&self) -> String {
        api_version(&self.resource.group, &self.version().name)
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::new(
            &self.resource.group,
            &self.version().name,
            &self.resource.kind,
        )
    }

    pub fn strategy(&self) -> &'static dyn Strategy {
        self.resource.strategy()
    }

    /// Whether objects are stored exactly as this version shows them.
    pub fn is_storage_version(&self) -> bool {
        self.resource.stored_api_version == self.api_version()
    }
}

impl Resource {
    pub fn strategy(&self) -> &'static dyn Strategy {
        match self.behaviour {
            Behaviour::Stored(strategy) => strategy,
            _ => &crate::kinds::Custom,
        }
    }

    pub fn is_custom(&self) -> bool {
        matches!(self.behaviour, Behaviour::Custom)
    }

    pub fn is_stored(&self) -> bool {
        matches!(self.behaviour, Behaviour::Stored(_) | Behaviour::Custom)
    }

    pub fn gvr(&self, version: &str) -> Gvr {
        Gvr::new(&self.group, version, &self.plural)
    }
}

/// Everything served. Immutable: a change makes a new registry.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    resources: Vec<Arc<Resource>>,
    index: IndexMap<Gvr, (usize, usize)>,
}

impl Registry {
    pub fn new(resources: Vec<Arc<Resource>>) -> Self {
        let mut index = IndexMap::new();
        for (r, resource) in resources.iter().enumerate() {
            for (v, version) in resource.versions.iter().enumerate() {
                index.insert(resource.gvr(&version.name), (r, v));
            }
        }
        Self { resources, index }
    }

    /// The same registry with a resource added or replaced.
    #[must_use]
    pub fn with(&self, resource: Resource) -> Self {
        let resource = Arc::new(resource);
        let mut resources = self.resources.clone();
        let place = resources
            .iter()
            .position(|r| r.group == resource.group && r.plural == resource.plural);
        match place {
            Some(at) => resources[at] = resource,
            None => resources.push(resource),
        }
        Self::new(resources)
    }

    /// The same registry without a resource.
    #[must_use]
    pub fn without(&self, group: &str, plural: &str) -> Self {
        Self::new(
            self.resources
                .iter()
                .filter(|r| r.group != group || r.plural != plural)
                .cloned()
                .collect(),
        )
    }

    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Served> {
        let (r, version) = *self.index.get(&Gvr::new(group, version, plural))?;
        Some(Served {
            resource: self.resources[r].clone(),
            version,
        })
    }

    /// A resource in its preferred version.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<Served> {
        let resource = self
            .resources
            .iter()
            .find(|r| r.group == group && r.plural == plural)?;
        Some(Served {
            resource: resource.clone(),
            version: 0,
        })
    }

    /// The resource whose objects lie on a shelf, in the version they are stored in.
    pub fn by_storage(&self, storage: &str) -> Option<Served> {
        let resource = self.resources.iter().find(|r| &*r.storage == storage)?;
        let version = resource
            .versions
            .iter()
            .position(|v| api_version(&resource.group, &v.name) == resource.stored_api_version)
            .unwrap_or(0);
        Some(Served {
            resource: resource.clone(),
            version,
        })
    }

    /// Groups in the order of discovery with their versions, preferred first. The core group comes first.
    pub fn groups(&self) -> IndexMap<&str, Vec<&str>> {
        let mut groups: IndexMap<&str, Vec<&str>> = IndexMap::new();
        for resource in &self.resources {
            let versions = groups.entry(&resource.group).or_default();
            for version in &resource.versions {
                if !versions.contains(&version.name.as_str()) {
                    versions.push(&version.name);
                }
            }
        }
        for versions in groups.values_mut() {
            versions.sort_by(|a, b| custom::compare_versions(b, a));
        }
        groups
    }

    /// The resources of a group version, sorted by name.
    pub fn in_group_version(&self, group: &str, version: &str) -> Vec<Served> {
        let mut served: Vec<Served> = self
            .resources
            .iter()
            .filter(|r| r.group == group)
            .filter_map(|r| self.find(group, version, &r.plural))
            .collect();
        served.sort_by(|a, b| a.resource.plural.cmp(&b.resource.plural));
        served
    }
}
