//! What a kind cluster is made of, as data: every component with its version, sources, images and what it waits for.
//!
//! `up`, `status`, `doctor` and the GitHub matrix read the same list, `manifests/platform/components.yaml`.

mod catalogue;
mod files;
mod git_tree;
mod needs;
mod node_image;
mod plan;
mod source;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

pub use catalogue::{all, component, profile, provides};
pub use files::file;
pub use needs::{Feature, Needs};
pub use node_image::{NodeImage, NodeImageError};
pub use plan::{Plan, PlanError, plan};
pub use source::{SourceError, Sources};

/// One piece of a cluster. See the comments in `components.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Component {
    pub name: ComponentName,
    /// What it is, for people.
    pub title: String,
    pub version: String,
    pub profiles: Vec<Profile>,
    /// Part of the profile whatever the scenarios need.
    #[serde(default)]
    pub always: bool,
    #[serde(default)]
    pub provides: Vec<Feature>,
    /// Ready before this one is begun.
    #[serde(default)]
    pub requires: Vec<ComponentName>,
    /// The nodes themselves; only the node image has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeImage>,
    #[serde(default)]
    pub sources: Vec<Source>,
    /// What its pods run.
    #[serde(default)]
    pub images: Vec<ImageUse>,
    /// Done in this order.
    #[serde(default)]
    pub install: Vec<Action>,
    #[serde(default)]
    pub ready: Vec<Ready>,
    /// Room that it takes on the disk of each node, roughly.
    #[serde(default)]
    pub disk_mib: u64,
    #[serde(default)]
    pub inotify: Inotify,
    #[serde(default = "default_deadline")]
    deadline_seconds: u64,
}

fn default_deadline() -> u64 {
    60
}

impl Component {
    /// How long it may take to become ready.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(self.deadline_seconds)
    }

    /// Namespaces that it lives in, as far as its readiness names them.
    pub fn namespaces(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .ready
            .iter()
            .filter_map(|ready| ready.namespace.as_deref())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComponentName(String);

impl ComponentName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ComponentName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of cluster `up kind` makes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    #[default]
    Plain,
    OvnKubernetes,
}

impl Profile {
    pub const ALL: &[Self] = &[Self::Plain, Self::OvnKubernetes];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::OvnKubernetes => "ovn-kubernetes",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no profile `{0}`; there are `plain` and `ovn-kubernetes`")]
pub struct UnknownProfile(String);

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|profile| profile.as_str() == name)
            .ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

/// A file, or a directory of an archive, that is downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Source {
    /// Its file name, also where an air gap's directory brings it.
    pub name: String,
    pub url: String,
    pub checksum: Checksum,
    /// The part of an archive that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Other directories of it that links in the wanted one lead to, with the ids git gives them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub beside: BTreeMap<String, String>,
    /// Done to the text after it was checked.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replace: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checksum {
    /// Of the file's bytes, in hexadecimal.
    Sha256(String),
    /// The id git gives the unpacked directory: independent of how the archive was compressed.
    GitTree(String),
    /// Nobody publishes one (the reason): what came first is what must come ever after.
    FirstDownload(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageUse {
    pub reference: String,
    pub on: Nodes,
}

/// Some of a cluster's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nodes {
    All,
    ControlPlane,
    Workers,
}

/// One thing done to install a component. Doing it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Server-side apply of every document.
    Apply(Manifest),
    /// A script in every node at once, and one that says whether it is needed.
    InNodes(NodeScript),
    LabelNodes(NodeLabel),
    Helm(Helm),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manifest {
    /// One of the component's sources.
    Source(String),
    /// One of ours, by its path in `manifests/platform`.
    File(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeScript {
    pub run: String,
    pub check: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeLabel {
    pub label: String,
    /// `${node}` stands for the node's name.
    pub value: String,
    pub on: Nodes,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Helm {
    pub release: String,
    /// The source that holds the chart.
    pub chart: String,
    /// A file of values inside the chart.
    pub base: String,
    /// Ours, over those.
    pub values: String,
}

/// An object that must be ready. Without `name`, all of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ready {
    pub kind: String,
    /// Needed for kinds that are not built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The condition that must be True; kinds that are built in have their own rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_lowercase();
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, "{kind}/{namespace}/{name}"),
            (None, Some(name)) => write!(f, "{kind}/{name}"),
            (_, None) => write!(f, "every {kind}"),
        }
    }
}

/// Least limits of the machine; zero asks for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inotify {
    pub instances: u64,
    pub watches: u64,
}
