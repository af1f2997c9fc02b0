//! Probes: one agent per source, shared by every step of a case, and the questions put to it.

mod deliver;
pub(crate) mod request;
mod session;
pub(crate) mod source;

use std::{collections::HashMap, fmt, sync::Arc};

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, api::Api};
use tokio::sync::Mutex;
use trunkline_guest::protocol::{Probe, Response};

use self::{deliver::Channel, session::Gone};
use crate::{console::Guest, site::AgentDelivery};

/// Where a probe starts, once it is known to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Container(Place),
    Guest(Guest),
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(Place { namespace, pod, .. }) => write!(f, "pod/{namespace}/{pod}"),
            Self::Guest(guest) => guest.fmt(f),
        }
    }
}

/// A container that probes start from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub namespace: String,
    pub pod: String,
    /// The pod's default container when absent.
    pub container: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod/{}/{}", self.namespace, self.pod)?;
        self.container
            .as_ref()
            .map_or(Ok(()), |container| write!(f, " container {container}"))
    }
}

/// The agent could not be had, or died twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the agent in {place} {what}")]
pub(crate) struct AgentError {
    place: String,
    what: String,
}

/// Every agent of a case, started on first use.
pub(crate) struct Agents {
    client: Client,
    delivery: AgentDelivery,
    sessions: Mutex<HashMap<Place, Slot>>,
    /// From places as scenarios name them to the container that is meant.
    places: Mutex<HashMap<Place, Place>>,
}

/// At most one agent, and a lock for whoever starts it.
type Slot = Arc<Mutex<Option<Arc<Channel>>>>;

impl Agents {
    pub fn new(client: Client, delivery: AgentDelivery) -> Self {
        Self {
            client,
            delivery,
            sessions: Mutex::default(),
            places: Mutex::default(),
        }
    }

    /// The container meant by a place that was used before, as long as its agent runs.
    pub async fn known(&self, wanted: &Place) -> Option<Place> {
        let place = self.places.lock().await.get(wanted).cloned()?;
        let slot = self.sessions.lock().await.get(&place).cloned()?;
        let alive = slot
            .lock()
            .await
            .as_ref()
            .is_some_and(|session| !session.is_gone());
        alive.then_some(place)
    }

    pub async fn remember(&self, wanted: Place, place: Place) {
        self.places.lock().await.insert(wanted, place);
    }

    /// Runs one probe. An agent that dies is started once more, because the container may just have been restarted.
    pub async fn ask(&self, place: &Place, probe: Probe) -> Result<Response, AgentError> {
        let error = |what: String| AgentError {
            place: place.to_string(),
            what,
        };
        let mut died = None;
        for _ in 0..2 {
            let session = self
                .session(place)
                .await
                .map_err(|why| error(format!("cannot be started: {why}")))?;
            match session.ask(probe.clone()).await {
                Ok(response) => return Ok(response),
                Err(Gone(why)) => died = Some(why),
            }
        }
        Err(error(format!("died twice: {}", died.unwrap_or_default())))
    }

    async fn session(&self, place: &Place) -> Result<Arc<Channel>, String> {
        let slot = Arc::clone(self.sessions.lock().await.entry(place.clone()).or_default());
        // Held while the agent starts: others who want the same one wait for it, and only they.
        let mut slot = slot.lock().await;
        if let Some(session) = slot.as_ref().filter(|session| !session.is_gone()) {
            return Ok(Arc::clone(session));
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &place.namespace);
        let fresh = deliver::start(&pods, place, &self.delivery).await?;
        Ok(Arc::clone(slot.insert(Arc::new(fresh))))
    }
}
