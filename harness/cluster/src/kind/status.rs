//! What there is of a cluster, and in which state.

use serde::Serialize;

use super::{
    Home, KindError, Phase, Record, create, error::Taker, installed::Installed, ready,
    situation::foreign,
};
use crate::{
    component::{self, Component, ComponentName, Profile},
    docker::{Docker, NodeContainer},
};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Status {
    /// No cluster of this name.
    Absent,
    /// Somebody else's.
    Foreign { by: String },
    /// An `up` stopped while kind made the nodes.
    HalfMade {
        name: String,
        nodes: Vec<NodeContainer>,
    },
    Made {
        name: String,
        profile: Profile,
        nodes: Vec<NodeContainer>,
        /// Why its API does not answer.
        #[serde(skip_serializing_if = "Option::is_none")]
        unreachable: Option<String>,
        components: Vec<ComponentStatus>,
        /// The last `up` came to its end.
        finished: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentStatus {
    pub name: ComponentName,
    pub title: String,
    pub version: String,
    #[serde(flatten)]
    pub state: ComponentState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "why")]
pub enum ComponentState {
    Ready,
    NotReady(String),
    /// From other data than this trunkline has; `up` renews it.
    Outdated,
    /// Chosen, and not installed yet.
    Missing,
    /// No scenario asked for it.
    NotChosen,
}

impl Status {
    /// Up, with everything that was chosen.
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Made {
                nodes,
                unreachable,
                components,
                finished,
                ..
            } => {
                *finished
                    && unreachable.is_none()
                    && nodes.iter().all(|node| node.running)
                    && components.iter().all(|component| {
                        matches!(
                            component.state,
                            ComponentState::Ready | ComponentState::NotChosen
                        )
                    })
            }
            _ => false,
        }
    }

    /// What is half there, and how to go on or remove it.
    pub fn unfinished(&self) -> Option<String> {
        match self {
            Self::HalfMade { name, nodes } => {
                let nodes: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
                Some(format!(
                    "the nodes of the cluster {name} are half made ({}); {}",
                    if nodes.is_empty() {
                        "kind had just begun".to_owned()
                    } else {
                        nodes.join(", ")
                    },
                    advice(name, "makes them anew")
                ))
            }
            Self::Made {
                name,
                components,
                finished: false,
                ..
            } => {
                let missing: Vec<&str> = components
                    .iter()
                    .filter(|component| {
                        !matches!(
                            component.state,
                            ComponentState::Ready | ComponentState::NotChosen
                        )
                    })
                    .map(|component| component.name.as_str())
                    .collect();
                let missing = match missing.as_slice() {
                    [] => "nothing is missing but the end of `up`".to_owned(),
                    some => format!("missing or not ready: {}", some.join(", ")),
                };
                Some(format!(
                    "the cluster {name} is up, but not complete ({missing}); {}",
                    advice(name, "goes on from here")
                ))
            }
            _ => None,
        }
    }
}

fn advice(name: &str, resume: &str) -> String {
    format!(
        "the same `trunkline up kind --name {name}` {resume}, `trunkline down kind --name {name}` removes it"
    )
}

impl Home {
    pub async fn status(&self, name: &str) -> Result<Status, KindError> {
        let dir = self.cluster(name)?;
        let docker = Docker::connect().await?;
        let nodes = docker.nodes(name).await?;
        if let Err(error) = foreign(name, &nodes, &dir.owner()) {
            return Ok(Status::Foreign {
                by: match error {
                    KindError::NameTaken { by, .. } => by.to_string(),
                    _ => Taker::Stranger.to_string(),
                },
            });
        }
        let record = dir.record()?;
        let creating = record
            .as_ref()
            .is_some_and(|record| record.phase == Phase::Creating);
        // The first node may appear after whoever made it is gone.
        if nodes.is_empty() && !creating {
            return Ok(Status::Absent);
        }
        let Some(record) = record.filter(|_| !creating) else {
            return Ok(Status::HalfMade {
                name: name.to_owned(),
                nodes,
            });
        };
        let (unreachable, components) = match create::client(name, &dir.kubeconfig()).await {
            Ok(client) => components(&client, &record).await,
            Err(error) => (Some(crate::docker::chain(&error)), Vec::new()),
        };
        Ok(Status::Made {
            name: name.to_owned(),
            profile: record.profile,
            nodes,
            unreachable,
            components,
            finished: record.phase == Phase::Ready,
        })
    }
}

async fn components(
    client: &kube::Client,
    record: &Record,
) -> (Option<String>, Vec<ComponentStatus>) {
    let installed = match Installed::read(client).await {
        Ok(installed) => installed,
        Err(error) => return (Some(crate::docker::chain(&error)), Vec::new()),
    };
    let mut all = Vec::new();
    for component in component::profile(record.profile) {
        all.push(ComponentStatus {
            name: component.name.clone(),
            title: component.title.clone(),
            version: version(record, component),
            state: state(client, record, &installed, component).await,
        });
    }
    (None, all)
}

/// Nodes can be made from another image than the pinned one.
fn version(record: &Record, component: &Component) -> String {
    match &component.nodes {
        Some(pinned) if *pinned != record.nodes => record.nodes.image.clone(),
        _ => component.version.clone(),
    }
}

async fn state(
    client: &kube::Client,
    record: &Record,
    installed: &Installed,
    component: &Component,
) -> ComponentState {
    // The nodes are there, or nothing would answer.
    if component.nodes.is_some() {
        return ComponentState::Ready;
    }
    if !record.components.contains(&component.name) {
        return ComponentState::NotChosen;
    }
    if !installed.has(&component.name) {
        return ComponentState::Missing;
    }
    for one in &component.ready {
        match ready::now(client, one).await {
            Ok(None) => {}
            Ok(Some(lacks)) => return ComponentState::NotReady(format!("{one}: {lacks}")),
            Err(error) => return ComponentState::NotReady(format!("{one}: {error}")),
        }
    }
    if installed.is_current(component) {
        ComponentState::Ready
    } else {
        ComponentState::Outdated
    }
}
