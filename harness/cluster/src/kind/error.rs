use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::ToolError;
use crate::{
    component::{ComponentName, NodeImageError, PlanError, Profile, SourceError},
    docker::{DockerError, Finding},
    images::ImageError,
};

#[derive(Debug, thiserror::Error)]
pub enum KindError {
    #[error(
        "`{0}` cannot be a cluster's name; use up to 40 lower-case letters, digits, `-` and `.`"
    )]
    BadName(String),
    #[error("no place to remember clusters in: set HOME, XDG_STATE_HOME or TRUNKLINE_STATE")]
    NoHome,
    #[error("cannot {what} {}", .path.display())]
    State {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("another `up` or `down` is at work on the cluster {name}; wait for it, or end it")]
    Busy { name: String },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    NodeImage(#[from] NodeImageError),
    /// Found before anything was started.
    #[error("this machine lacks what the cluster needs:{}", lines(.0))]
    Lacking(Vec<Finding>),
    #[error(
        "the name {name} is taken by a kind cluster that {by}; choose another --name. Nothing of it was touched"
    )]
    NameTaken { name: String, by: Taker },
    #[error(
        "the cluster {name} has the profile {has}, not {wanted}; give another --name, or remove it first: trunkline down kind --name {name}"
    )]
    OtherProfile {
        name: String,
        has: Profile,
        wanted: Profile,
    },
    #[error(
        "the cluster {name} has {has} workers and {wanted} are wanted; kind cannot add nodes, so remove it first: trunkline down kind --name {name}"
    )]
    TooFewWorkers { name: String, has: u8, wanted: u8 },
    #[error(
        "the cluster {name} was made from the node image {has}, not {wanted}; remove it first: trunkline down kind --name {name}"
    )]
    OtherNodeImage {
        name: String,
        has: String,
        wanted: String,
    },
    #[error(
        "the cluster {name} has lost {} of its nodes; remove what is left of it: trunkline down kind --name {name}", .lost
    )]
    NodesLost { name: String, lost: usize },
    #[error(
        "nodes of the cluster {name} were started and say nothing ({nodes}); `docker logs` of one may tell why, and trunkline down kind --name {name} removes them all"
    )]
    Asleep { name: String, nodes: String },
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("a component's files cannot be had")]
    Source(#[from] SourceError),
    #[error("the nodes could not be made")]
    Create(#[source] ToolError),
    #[error(
        "the nodes could not be removed; `docker ps --filter label=io.x-k8s.kind.cluster={name}` lists them"
    )]
    Remove {
        name: String,
        #[source]
        source: ToolError,
    },
    #[error("cannot reach the cluster {name} with {}", .kubeconfig.display())]
    Unreachable {
        name: String,
        kubeconfig: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error(transparent)]
    Component(#[from] Box<ComponentFailure>),
}

impl KindError {
    pub(super) fn state(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::State { what, path, source }
    }

    /// The machine lacks something; no cluster can be made on it as it is.
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::Lacking(_))
            || matches!(
                self,
                Self::Docker(DockerError::Absent { .. } | DockerError::Denied { .. })
            )
    }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().fold(String::new(), |mut text, finding| {
        text.push_str("\n- ");
        text.push_str(&finding.to_string());
        text
    })
}

/// Whose cluster has the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taker {
    /// Nobody we know: it bears no mark of ours.
    Stranger,
    /// A trunkline that remembers its clusters elsewhere.
    OtherState(PathBuf),
}

impl fmt::Display for Taker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("trunkline did not make"),
            Self::OtherState(path) => write!(
                f,
                "a trunkline with other state made ({})",
                path.parent().unwrap_or(path).display()
            ),
        }
    }
}

/// A component that did not come up: which, why, what it said, and what to do.
#[derive(Debug)]
pub struct ComponentFailure {
    pub component: ComponentName,
    pub title: String,
    pub cluster: String,
    pub why: String,
    /// Its pods, events and logs, in lines for people.
    pub findings: Vec<String>,
    pub kubeconfig: PathBuf,
}

impl fmt::Display for ComponentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.component, self.title, self.why)?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        write!(
            f,
            "\nlook around with KUBECONFIG={}; the same `trunkline up kind` goes on from here, \
             `trunkline down kind --name {}` removes everything",
            self.kubeconfig.display(),
            self.cluster
        )
    }
}

impl std::error::Error for ComponentFailure {}
