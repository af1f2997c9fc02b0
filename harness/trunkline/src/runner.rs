//! Runs cases, one after the other or several at a time, each on the site it is given.

use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use trunkline_engine::{
    ExitClass, RunOptions,
    events::{CaseOutcome, EventSender},
};
use trunkline_scenario::Scenario;

use crate::{
    exit::Failure,
    sites::{Claims, Sites},
};

/// How to go through the cases.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Cases side by side.
    pub jobs: usize,
    /// Stop after the first case that does not pass.
    pub fail_fast: bool,
    /// Cancelled when the user wants an end.
    pub stop: CancellationToken,
}

/// Runs cases on the sites of one run.
pub struct Runner<'a> {
    sites: &'a Sites,
    pace: Pace,
    events: EventSender,
    claims: Claims,
    /// What no case can have.
    lacking: OnceLock<Failure>,
}

impl<'a> Runner<'a> {
    pub fn new(sites: &'a Sites, pace: Pace, events: EventSender) -> Self {
        Self {
            sites,
            pace,
            events,
            claims: Claims::default(),
            lacking: OnceLock::new(),
        }
    }

    /// Runs all of them and tells about each in the events. An error is one that every case shares.
    pub async fn all(self, selected: &[Arc<Scenario>]) -> Result<(), Failure> {
        let enough = self.pace.stop.child_token();
        let places = Semaphore::new(self.pace.jobs.max(1));
        // Everybody is asked to wait: for a free place, and before that for what another case holds. A case that waits
        // for a name takes nobody's place.
        futures::stream::iter(selected)
            .for_each_concurrent(None, |scenario| async {
                let held = self.claims.hold(self.sites.claims(scenario)).await;
                let Ok(_place) = places.acquire().await else {
                    return;
                };
                if enough.is_cancelled() {
                    return;
                }
                let outcome = self.case(scenario).await;
                drop(held);
                let failed = outcome.exit_class() > ExitClass::Success;
                if (failed && self.pace.fail_fast) || self.lacking.get().is_some() {
                    enough.cancel();
                }
            })
            .await;
        self.lacking.into_inner().map_or(Ok(()), Err)
    }

    async fn case(&self, scenario: &Scenario) -> CaseOutcome {
        if let Some(reason) = self.sites.lacks(scenario) {
            return trunkline_engine::skip(scenario, reason, &self.events);
        }
        let lease = tokio::select! {
            lease = self.sites.lease(scenario, self.events.run()) => lease,
            () = self.pace.stop.cancelled() => return CaseOutcome::Cancelled,
        };
        let lease = match lease {
            Ok(lease) => lease,
            Err(none) => {
                if let Some(failure) = none.for_all {
                    // Whoever comes second says nothing new.
                    let _ = self.lacking.set(failure);
                }
                return trunkline_engine::broken(scenario, none.reason, &self.events);
            }
        };
        let options = RunOptions {
            cancel: self.pace.stop.child_token(),
            cleanup: lease.cleanup,
            journal: lease.journal.clone(),
            ..RunOptions::default()
        };
        let site = Arc::clone(&lease.site);
        let outcome = trunkline_engine::run(scenario, site, options, &self.events).await;
        lease
            .end(matches!(outcome, CaseOutcome::Broken { .. }))
            .await;
        outcome
    }
}
