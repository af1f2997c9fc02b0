//! What every part of a running case needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use trunkline_scenario::model::{Scenario, Scope};

use crate::{
    events::{CaseEvents, RunId, StepEvents},
    objects::{catalogue::Catalogue, ledger::Ledger},
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
    pub run: RunId,
    pub events: CaseEvents,
    /// Restarts of a container after which a crash loop is believed.
    pub crashes: i64,
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
    ) -> Self {
        let client = site.client();
        Self {
            scenario,
            catalogue: Catalogue::new(client.clone()),
            agents: Agents::new(client.clone(), site.agent()),
            client,
            site,
            run,
            events,
            crashes,
            // parameters are known before anything is captured
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
