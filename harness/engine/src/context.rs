//! What every part of a running case needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use trunkline_scenario::model::{Scenario, Scope};

use crate::{
    console::Consoles,
    error::Error,
    events::{CaseEvents, ObjectRef, RunId, StepEvents},
    journal::{Identity, Journal},
    objects::{
        catalogue::{Catalogue, Resource},
        ledger::Ledger,
    },
    probes::Agents,
    site::Site,
};

/// A case that is running.
pub(crate) struct Context<'s> {
    pub scenario: &'s Scenario,
    pub site: Arc<dyn Site>,
    pub client: Client,
    pub catalogue: Catalogue,
    pub agents: Agents,
    pub consoles: Consoles,
    pub run: RunId,
    pub events: CaseEvents,
    /// Restarts of a container after which a crash loop is believed.
    pub crashes: i64,
    journal: Option<Arc<dyn Journal>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scope: Scope,
    ledger: Ledger,
}

impl<'s> Context<'s> {
    pub fn new(
        scenario: &'s Scenario,
        site: Arc<dyn Site>,
        run: RunId,
        events: CaseEvents,
        crashes: i64,
        journal: Option<Arc<dyn Journal>>,
    ) -> Self {
        let client = site.client();
        Self {
            scenario,
            catalogue: Catalogue::new(client.clone()),
            agents: Agents::new(client.clone(), site.agent()),
            consoles: Consoles::new(client.clone()),
            client,
            site,
            run,
            events,
            crashes,
            journal,
            // Parameters are known before anything is captured
            state: Mutex::new(State {
                scope: scenario.parameters.clone(),
                ledger: Ledger::default(),
            }),
        }
    }

    /// The values captured so far.
    pub fn scope(&self) -> Scope {
        self.state().scope.clone()
    }

    pub fn capture(&self, name: &str, value: serde_json::Value) {
        self.state().scope.set(name, value);
    }

    pub fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.state().ledger)
    }

    /// Notes that an object does not exist and is about to. Only then may it be created: what a run creates is known
    /// before it exists, here and beyond this process.
    pub async fn will_create(
        &self,
        resource: &Arc<Resource>,
        object: &ObjectRef,
    ) -> Result<(), Error> {
        if let Some(journal) = &self.journal {
            let identity = Identity::new(&resource.api, object.namespace.as_deref(), &object.name);
            journal.about_to_create(&identity).await?;
        }
        self.ledger(|ledger| ledger.will_create(resource, object.clone()));
        Ok(())
    }

    /// Notes that the API took an object.
    pub async fn created(
        &self,
        resource: &Resource,
        object: &ObjectRef,
        uid: &str,
    ) -> Result<(), Error> {
        self.ledger(|ledger| ledger.created(object, uid));
        if let Some(journal) = &self.journal {
            let identity = Identity::new(&resource.api, object.namespace.as_deref(), &object.name);
            journal.created(&identity, uid).await?;
        }
        Ok(())
    }

    /// Notes that an object is gone, or never came to be.
    pub async fn gone(&self, resource: &Resource, object: &ObjectRef) {
        self.ledger(|ledger| ledger.deleted(object));
        if let Some(journal) = &self.journal {
            let identity = Identity::new(&resource.api, object.namespace.as_deref(), &object.name);
            // A note too many is harmless: whoever clears up finds nothing under that name.
            if let Err(error) = journal.gone(&identity).await {
                tracing::warn!(%error, %identity, "the journal keeps an object that is gone");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A case and the step it is at.
#[derive(Clone, Copy)]
pub(crate) struct At<'c, 's> {
    pub case: &'c Context<'s>,
    pub events: &'c StepEvents,
}
