//! Objects as they change. A watch is started before the action whose effect it is to see.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use kube::{
    api::{Api, DynamicObject, TypeMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::catalogue::Resource;
use crate::error::{Error, api_message};

/// Which objects to watch within an `Api`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub name: Option<String>,
    pub labels: Option<String>,
}

impl Selection {
    pub fn name(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            labels: None,
        }
    }
}

/// Objects by namespace and name.
pub(crate) type Objects = BTreeMap<(String, String), DynamicObject>;

/// A running watch and the objects it has seen so far.
#[derive(Debug)]
pub(crate) struct Watch {
    events: mpsc::UnboundedReceiver<Result<watcher::Event<DynamicObject>, watcher::Error>>,
    objects: Objects,
    /// Collects a list that is being (re)sent, until it is complete.
    incoming: Option<Objects>,
    synced: bool,
    types: TypeMeta,
    _task: AbortOnDropHandle<()>,
}

/// Why a watch can tell nothing any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WatchLost(pub String);

impl WatchLost {
    pub fn about(self, what: &str) -> Error {
        Error::Watch {
            what: what.to_owned(),
            message: self.0,
        }
    }
}

impl Watch {
    /// Starts watching in the background. [`Self::synced`] tells when the first list is there.
    pub fn start(resource: &Resource, api: Api<DynamicObject>, selection: &Selection) -> Self {
        let mut config = watcher::Config::default();
        if let Some(name) = &selection.name {
            config = config.fields(&format!("metadata.name={name}"));
        }
        if let Some(labels) = &selection.labels {
            config = config.labels(labels);
        }
        // Unbounded, so that a burst of changes is never merged: a state that was true for a moment was true.
        let (sender, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut stream = watcher(api, config).default_backoff().boxed();
            while let Some(event) = stream.next().await {
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self {
            events,
            objects: Objects::new(),
            incoming: None,
            synced: false,
            types: TypeMeta {
                api_version: resource.api.api_version.clone(),
                kind: resource.api.kind.clone(),
            },
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Waits until the watch stands, so that nothing that happens from now on is missed.
    pub async fn synced(&mut self) -> Result<&Objects, WatchLost> {
        while !self.synced {
            self.advance().await?;
        }
        Ok(&self.objects)
    }

    /// The objects as last seen.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Waits for the next change and returns the objects after it.
    pub async fn changed(&mut self) -> Result<&Objects, WatchLost> {
        while !self.advance().await? {}
        Ok(&self.objects)
    }

    /// Takes in changes that have already arrived, without waiting.
    pub fn catch_up(&mut self) -> Result<&Objects, WatchLost> {
        while let Ok(event) = self.events.try_recv() {
            self.take_in(event)?;
        }
        Ok(&self.objects)
    }

    /// Handles one message; true when the objects may have changed.
    async fn advance(&mut self) -> Result<bool, WatchLost> {
        match self.events.recv().await {
            Some(event) => self.take_in(event),
            None => Err(WatchLost("the watch ended".into())),
        }
    }

    /// Items of a list come without their kind.
    fn typed(&self, mut object: DynamicObject) -> DynamicObject {
        object.types.get_or_insert_with(|| self.types.clone());
        object
    }

    fn take_in(
        &mut self,
        event: Result<watcher::Event<DynamicObject>, watcher::Error>,
    ) -> Result<bool, WatchLost> {
        match event {
            Ok(watcher::Event::Apply(object)) => {
                let object = self.typed(object);
                self.objects.insert(key(&object), object);
                Ok(true)
            }
            Ok(watcher::Event::Delete(object)) => {
                self.objects.remove(&key(&object));
                Ok(true)
            }
            Ok(watcher::Event::Init) => {
                self.incoming = Some(Objects::new());
                Ok(false)
            }
            Ok(watcher::Event::InitApply(object)) => {
                let object = self.typed(object);
                self.incoming
                    .get_or_insert_default()
                    .insert(key(&object), object);
                Ok(false)
            }
            Ok(watcher::Event::InitDone) => {
                self.objects = self.incoming.take().unwrap_or_default();
                self.synced = true;
                Ok(true)
            }
            Err(error) => {
                if let Some(message) = final_word(&error) {
                    return Err(WatchLost(message));
                }
                // The watcher tries again by itself, with growing pauses; the step's deadline bounds it.
                tracing::debug!(%error, "watch interrupted");
                Ok(false)
            }
        }
    }
}

/// What the API said when it said that watching is not allowed or not possible at all.
fn final_word(error: &watcher::Error) -> Option<String> {
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) if matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 405)) => {
            Some(api_message(error))
        }
        watcher::Error::NoResourceVersion => Some("the list has no resourceVersion".into()),
        _ => None,
    }
}

fn key(object: &DynamicObject) -> (String, String) {
    (
        object.metadata.namespace.clone().unwrap_or_default(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}

/// Longest time a fresh watch may take to stand before the API is considered broken.
pub(crate) const SYNC_TIMEOUT: Duration = Duration::from_secs(15);
