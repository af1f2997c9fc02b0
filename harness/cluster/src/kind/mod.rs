//! Clusters that we provision with kind: `up`, `down`, `status`.
//!
//! ```text
//! <state>/clusters/NAME/cluster.json   what it is and how far it got
//!                       kubeconfig     the only place its credentials are written to
//!                       kind.yaml      what its nodes were made from
//!                       owner          mounted into every node: whose cluster this is
//!                       lock           held by the `up` or `down` at work
//! ```

mod apply;
mod bring;
mod config;
mod create;
mod down;
mod error;
mod explain;
mod installed;
mod make;
mod node_facts;
mod order;
mod ready;
mod situation;
mod state;
mod status;
mod tool;
mod up;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

pub use config::{POD_NETWORK, SERVICE_NETWORK};
pub use error::{ComponentFailure, KindError};
pub use state::{Home, Phase, Record};
pub use status::{ComponentState, ComponentStatus, Status};
pub use tool::ToolError;

use crate::{
    component::{ComponentName, Needs, Profile},
    images::Loaded,
};

/// Workers of a cluster when nobody says otherwise.
pub const DEFAULT_WORKERS: u8 = 2;

/// Where a node of ours has its owner's mark; nodes of other kind clusters have nothing there.
pub const OWNER_MOUNT: &str = "/kind/trunkline";

/// What `up` is asked for.
#[derive(Clone, Debug)]
pub struct UpOptions {
    pub name: String,
    pub profile: Profile,
    pub workers: u8,
    /// Archives to take images (and the components' files) from; with it nothing is pulled or downloaded.
    pub images: Option<PathBuf>,
    pub needs: Needs,
    /// The description of a node image to use in place of the pinned one.
    pub node_image: Option<PathBuf>,
    /// Where downloads are kept.
    pub cache: PathBuf,
}

/// A cluster that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    pub profile: Profile,
    pub kubeconfig: PathBuf,
    pub workers: u8,
}

/// What `up` tells while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something to know, in a sentence.
    Note(String),
    Begun {
        component: ComponentName,
    },
    Done {
        component: ComponentName,
        /// It was so before.
        already: bool,
        took: Duration,
    },
    Image(Loaded),
    /// These images of the directory go to the nodes for the scenarios' pods.
    Images(BTreeSet<String>),
}

/// Makes the cluster, or completes it. Dropping the future stops the work; [`unfinished`] then says what is half there.
pub async fn up(
    options: UpOptions,
    progress: impl Fn(Progress) + Sync,
) -> Result<Cluster, KindError> {
    Home::locate()?.up(options, progress).await
}

/// Removes the cluster with everything that belongs to it. `false` when there was none.
pub async fn down(name: &str) -> Result<bool, KindError> {
    Home::locate()?.down(name).await
}

pub async fn status(name: &str) -> Result<Status, KindError> {
    Home::locate()?.status(name).await
}

/// What an `up` that was stopped left behind, and how to go on or remove it. `None` when nothing is half there.
pub async fn unfinished(name: &str) -> Result<Option<String>, KindError> {
    Ok(Home::locate()?.status(name).await?.unfinished())
}

/// The cluster of this name as its `up` left it, if there is one; says nothing about whether it runs.
pub fn find(name: &str) -> Result<Option<Cluster>, KindError> {
    let dir = Home::locate()?.cluster(name)?;
    Ok(dir
        .record()?
        .filter(|record| record.phase == Phase::Ready)
        .map(|record| dir.cluster(&record)))
}
