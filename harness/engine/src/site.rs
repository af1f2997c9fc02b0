//! What Kubernetes has no words for: the one trait a site implements.

use std::{fmt, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use trunkline_scenario::model::Scenario;

use crate::events::{Convergence, Evidence, ObjectRef};

/// A place scenarios run on. Everything else the engine needs, it gets through the Kubernetes client.
#[async_trait]
pub trait Site: Send + Sync + fmt::Debug {
    /// The name people select it by: `lab`, `kind`, a context's name.
    fn name(&self) -> &str;

    fn client(&self) -> kube::Client;

    fn capabilities(&self) -> &Capabilities;

    /// How the probe agent gets into a container.
    fn agent(&self) -> AgentDelivery;

    /// Whether this scenario can be run here by whoever we are, asked before anything is created; the error says
    /// everything that is in the way. What only makes a run poorer comes back as warnings.
    async fn admit(&self, _scenario: &Scenario) -> Result<Vec<String>, SiteError> {
        Ok(Vec::new())
    }

    /// Waits until the network has taken in every change made so far. `None` where the site has no such barrier.
    async fn barrier(&self) -> Result<Option<Convergence>, SiteError>;

    /// What the network says about a probe that got no answer. `None` where the site can say nothing.
    async fn evidence(&self, question: &EvidenceRequest) -> Result<Option<Evidence>, SiteError>;

    /// Returns when the site is gone, and why: nothing on it can be judged any more. Most sites cannot know.
    async fn gone(&self) -> SiteError {
        std::future::pending().await
    }
}

/// What a site offers, held against a scenario's `requires`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a list of features, each there or not"
)]
pub struct Capabilities {
    /// The network plugin the site runs or imitates: `ovn-kubernetes`, `kube-ovn`, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdn: Option<String>,
    /// Virtual machines can be run.
    #[serde(default)]
    pub vms: bool,
    /// NodeNetworkConfigurationPolicies are acted on.
    #[serde(default)]
    pub nmstate: bool,
    /// There is a default storage class.
    #[serde(default)]
    pub storage: bool,
    /// Primary user defined networks.
    #[serde(default)]
    pub network_segmentation: bool,
    #[serde(default)]
    pub multi_network_policy: bool,
    /// Nodes that take ordinary pods.
    #[serde(default)]
    pub workers: u32,
}

/// How the probe agent gets into a container.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentDelivery {
    /// It is in every container already, at this path.
    Present(PathBuf),
    /// The engine brings it.
    Upload(Upload),
}

/// How the engine brings the agent into a container that has none.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// A static executable, written into the container through exec.
    pub program: Bytes,
    /// Where a container has nothing to write it with, an ephemeral container of this image stands beside it.
    pub helper: Option<HelperImage>,
}

/// An image for ephemeral containers. They share the pod's network, so what a probe sees from there is what the pod
/// sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperImage {
    pub reference: String,
    /// Where the agent lies in it. Without, it has `sh`, `head` and `chmod`, and the agent is written into it.
    pub agent: Option<PathBuf>,
}

impl fmt::Debug for AgentDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present(path) => f.debug_tuple("Present").field(path).finish(),
            Self::Upload(upload) => upload.fmt(f),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("program", &format_args!("{} bytes", self.program.len()))
            .field("helper", &self.helper)
            .finish()
    }
}

/// A probe that got no answer, put to the site as a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRequest {
    /// Number of the probe in its case.
    pub probe: u64,
    /// What the probe was sent from.
    pub from: ObjectRef,
    pub protocol: Protocol,
    /// The address as the scenario has it: an IP address or a name.
    pub host: String,
    pub port: Option<u16>,
}

/// The transport of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// The site itself failed, which says nothing about the scenario.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SiteError {
    what: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SiteError {
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
        }
    }

    pub fn with_source(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}
