//! What a run is about to create, told to somebody who remembers it longer than the run may live.

use std::fmt;

use async_trait::async_trait;
use kube::core::ApiResource;
use serde::{Deserialize, Serialize};

/// Everything it takes to find an object again, in a later process that knows nothing else about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    pub api_version: String,
    pub kind: String,
    pub plural: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
}

impl Identity {
    pub fn new(kind: &ApiResource, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: kind.api_version.clone(),
            kind: kind.kind.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// What an API client needs to know of its kind.
    pub fn api_resource(&self) -> ApiResource {
        let (group, version) = self
            .api_version
            .split_once('/')
            .unwrap_or(("", &self.api_version));
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// `pod/blue/server`, `namespace/blue`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.to_ascii_lowercase();
        match &self.namespace {
            Some(namespace) => write!(f, "{kind}/{namespace}/{}", self.name),
            None => write!(f, "{kind}/{}", self.name),
        }
    }
}

/// Remembers what a run creates, so that a later process can remove what the run could not.
#[async_trait]
pub trait Journal: Send + Sync + fmt::Debug {
    /// The object does not exist and is created once this has returned: from then on it must not be forgotten.
    async fn about_to_create(&self, object: &Identity) -> Result<(), JournalError>;

    /// The API has taken the object; no other one will ever have this uid.
    async fn created(&self, object: &Identity, uid: &str) -> Result<(), JournalError>;

    /// The object is gone, or never came to be; with a namespace goes everything in it.
    async fn gone(&self, object: &Identity) -> Result<(), JournalError>;
}

/// The journal cannot be kept. Nothing may be created then.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct JournalError {
    what: String,
    #[source]
    source: std::io::Error,
}

impl JournalError {
    pub fn new(what: impl Into<String>, source: std::io::Error) -> Self {
        Self {
            what: what.into(),
            source,
        }
    }
}
