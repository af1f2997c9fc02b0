//! Removing what dead runs left on a cluster, and nothing else.
//!
//! An object goes only when three things agree: a dead run's journal names it, it carries that run's label, and it is
//! the very one that was created, where the journal knows that.

use std::time::Duration;

use futures::future::join_all;
use kube::{
    Client, ResourceExt as _,
    api::{Api, DeleteParams, DynamicObject},
    core::params::Preconditions,
    runtime::wait::{await_condition, conditions},
};
use trunkline_engine::{Identity, RUN_LABEL, api_message, events::RunId};

use crate::{
    context::ContextError,
    journal::{ClusterId, DeadRun, Header, Journals, JournalsError, Left},
};

/// Finalizers and volumes take their time.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error(transparent)]
    Journals(#[from] JournalsError),
    #[error(transparent)]
    Context(#[from] ContextError),
}

/// What became of the leftovers of one dead run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleared {
    pub header: Header,
    pub objects: Vec<(Identity, Fate)>,
    /// The journal is gone too: nothing is left.
    pub forgotten: bool,
}

/// What became of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Removed,
    /// It would be, had this not been a dry run.
    Removable,
    /// It was not there any more.
    Absent,
    /// Something of this name is there, and it is not what the run created.
    Foreign(String),
    /// It is still there.
    Stays(String),
    /// It is on another cluster.
    Elsewhere,
}

impl Fate {
    /// Whether nothing of the run is left where the object was.
    fn is_settled(&self) -> bool {
        matches!(self, Self::Removed | Self::Absent | Self::Foreign(_))
    }
}

/// Whether to remove or only to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Remove,
    DryRun,
}

/// Clears up after every dead run on this cluster; those of other clusters are told and left.
pub async fn gc(
    client: &Client,
    cluster: &ClusterId,
    journals: &Journals,
    mode: Mode,
) -> Result<Vec<Cleared>, GcError> {
    let mut cleared = Vec::new();
    for run in journals.dead()? {
        cleared.push(clear(client, cluster, run, mode).await?);
    }
    Ok(cleared)
}

async fn clear(
    client: &Client,
    cluster: &ClusterId,
    dead: DeadRun,
    mode: Mode,
) -> Result<Cleared, GcError> {
    let header = dead.header.clone();
    if !header.cluster.is(cluster) {
        let objects = dead
            .left
            .iter()
            .map(|left| (left.object.clone(), Fate::Elsewhere));
        return Ok(Cleared {
            objects: objects.collect(),
            header,
            forgotten: false,
        });
    }
    // Together, because a definition and its objects, or a claim and its pod, hold each other until both are deleted.
    let fates = join_all(dead.left.iter().map(|left| async {
        let fate = settle(client, &header.run, left, mode).await;
        (left.object.clone(), fate)
    }));
    let objects = fates.await;
    let forgotten = mode == Mode::Remove && objects.iter().all(|(_, fate)| fate.is_settled());
    if forgotten {
        dead.forget()?;
    }
    Ok(Cleared {
        header,
        objects,
        forgotten,
    })
}

async fn settle(client: &Client, run: &RunId, left: &Left, mode: Mode) -> Fate {
    let kind = left.object.api_resource();
    let api: Api<DynamicObject> = match &left.object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let found = match api.get_opt(&left.object.name).await {
        Ok(Some(found)) => found,
        // A kind that is not served any more has no objects.
        Ok(None) => return Fate::Absent,
        Err(error) => return Fate::Stays(api_message(&error)),
    };
    if let Some(why) = foreign(&found, run, left) {
        return Fate::Foreign(why);
    }
    if mode == Mode::DryRun {
        return Fate::Removable;
    }
    let Some(uid) = found.uid() else {
        return Fate::Stays("the API does not tell its uid".into());
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&left.object.name, &params).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Fate::Removed,
        Err(kube::Error::Api(status)) if status.code == 409 => {
            return Fate::Foreign("another one took its place just now".into());
        }
        Err(error) => return Fate::Stays(api_message(&error)),
    }
    let gone = await_condition(api, &left.object.name, conditions::is_deleted(&uid));
    match tokio::time::timeout(PATIENCE, gone).await {
        Ok(Ok(_)) => Fate::Removed,
        Ok(Err(error)) => Fate::Stays(format!(
            "it was deleted, and cannot be watched going: {error}"
        )),
        Err(_) => Fate::Stays(format!(
            "it was deleted, and is still there after {PATIENCE:?}"
        )),
    }
}

/// Why an object is not the one the run created.
fn foreign(found: &DynamicObject, run: &RunId, left: &Left) -> Option<String> {
    match found.labels().get(RUN_LABEL) {
        Some(label) if label == run.as_str() => {}
        Some(label) => return Some(format!("it belongs to the run {label}")),
        None => return Some(format!("it has no label {RUN_LABEL}")),
    }
    match &left.uid {
        Some(uid) if found.uid().as_ref() != Some(uid) => {
            Some("it was created after the one of this run was gone".into())
        }
        _ => None,
    }
}
