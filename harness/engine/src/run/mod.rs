//! A case from its first event to its last.

mod cleanup;
mod guest;
mod lifecycle;
mod namespaces;
mod probe;
pub(crate) mod requires;
mod step;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use trunkline_scenario::{duration, model::Scenario};

use crate::{
    context::{At, Context},
    convert,
    events::{
        CaseEvents, CaseId, CaseOutcome, EventKind, EventSender, Failure, FailureKind, StepInfo,
        StepOutcome,
    },
    journal::Journal,
    plan::{Plan, PlannedStep},
    site::{Site, SiteError},
};

/// How to run a case.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Cancelling this interrupts the step that runs; `finally` and cleanup still happen, within their time.
    pub cancel: CancellationToken,
    pub cleanup: Cleanup,
    /// Restarts of a container after which a crash loop is believed to go on for ever.
    pub crashes: u32,
    /// Is told of every object before it is created. Not needed where everything vanishes with the site.
    pub journal: Option<Arc<dyn Journal>>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            cancel: CancellationToken::new(),
            cleanup: Cleanup::Remove,
            crashes: 3,
            journal: None,
        }
    }
}

/// What to do with what a case created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Delete it and wait until it is gone.
    Remove,
    /// Leave it: the site vanishes with it, or somebody wants to look at it.
    Leave,
}

/// Runs one case of a scenario on a site. Everything worth telling goes into `events`; the outcome is also their last
/// word. Dropping the future stops at once and cleans up nothing; cancel instead where that matters.
pub async fn run(
    scenario: &Scenario,
    site: Arc<dyn Site>,
    options: RunOptions,
    events: &EventSender,
) -> CaseOutcome {
    let lacking = requires::missing(&scenario.spec.requires, site.name(), site.capabilities());
    if let Some(reason) = lacking {
        return skip(scenario, reason, events);
    }
    let started = Instant::now();
    let plan = Plan::new(scenario);
    let case_events = begin(scenario, &plan, events);
    let crashes = i64::from(options.crashes);
    let case = Context::new(
        scenario,
        site,
        events.run().clone(),
        case_events.clone(),
        crashes,
        options.journal.clone(),
    );
    let case = Case {
        plan: &plan,
        context: &case,
        options: &options,
    };
    let outcome = judge(scenario, case.execute().await);
    case_events.send(EventKind::CaseFinished {
        outcome: outcome.clone(),
        took: started.elapsed(),
    });
    outcome
}

/// Tells of a case that is not run, for instance because a site would lack what it requires: nobody has to start the
/// site to learn that. See [`missing`](crate::missing).
pub fn skip(scenario: &Scenario, reason: String, events: &EventSender) -> CaseOutcome {
    not_run(scenario, CaseOutcome::Skipped { reason }, events)
}

/// Tells of a case that got no site to run on.
pub fn broken(scenario: &Scenario, reason: String, events: &EventSender) -> CaseOutcome {
    not_run(scenario, CaseOutcome::Broken { reason }, events)
}

fn not_run(scenario: &Scenario, outcome: CaseOutcome, events: &EventSender) -> CaseOutcome {
    let plan = Plan::new(scenario);
    let events = begin(scenario, &plan, events);
    if let CaseOutcome::Skipped { reason } | CaseOutcome::Broken { reason } = &outcome {
        skip_steps(&events, &plan.steps, reason);
    }
    events.send(EventKind::CaseFinished {
        outcome: outcome.clone(),
        took: Duration::ZERO,
    });
    outcome
}

/// The first word about a case.
fn begin(scenario: &Scenario, plan: &Plan<'_>, events: &EventSender) -> CaseEvents {
    let events = events.case(CaseId(scenario.full_name()));
    let all = plan.steps.iter().chain(&plan.catch).chain(&plan.finally);
    events.send(EventKind::CaseStarted {
        scenario: scenario.name.value.clone(),
        title: scenario.spec.title.value.clone(),
        at_line: convert::location(&scenario.name.at),
        parameters: scenario.case.0.iter().cloned().collect(),
        steps: all.map(info).collect(),
    });
    events
}

/// Steps that are not run still have an end, so that no report loses them.
fn skip_steps(events: &CaseEvents, steps: &[PlannedStep<'_>], reason: &str) {
    for planned in steps {
        let outcome = StepOutcome::Skipped {
            reason: reason.to_owned(),
        };
        events.step(planned.id).send(EventKind::StepFinished {
            outcome,
            took: Duration::ZERO,
        });
    }
}

fn info(planned: &PlannedStep<'_>) -> StepInfo {
    StepInfo {
        id: planned.id,
        title: planned.step.title.value.clone(),
        verb: planned.step.action.verb().to_owned(),
        at_line: planned.location(),
    }
}

/// A scenario that is known to fail as a whole.
fn judge(scenario: &Scenario, outcome: CaseOutcome) -> CaseOutcome {
    match (&scenario.spec.known, outcome) {
        (Some(known), CaseOutcome::Failed { .. }) => CaseOutcome::Known {
            reason: known.because.value.clone(),
        },
        (Some(known), CaseOutcome::Passed) => CaseOutcome::Failed {
            failure: Some(Box::new(step::known_passed(known))),
        },
        (_, outcome) => outcome,
    }
}

/// A site that dies breaks what is under way a moment before it is known to be dead; that is the reason then.
const LAST_BREATH: Duration = Duration::from_millis(500);

struct Case<'c, 's> {
    plan: &'c Plan<'s>,
    context: &'c Context<'s>,
    options: &'c RunOptions,
}

impl Case<'_, '_> {
    async fn execute(&self) -> CaseOutcome {
        let deadline = Instant::now() + self.plan.deadline;
        let around = self.context.events.around();
        let at = At {
            case: self.context,
            events: &around,
        };
        let setup = tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Ok(CaseOutcome::Cancelled),
            why = self.context.site.gone() => Err(gone(&why)),
            result = self.set_up(at) => result.map(|()| CaseOutcome::Passed),
        };
        // Before that nothing is ours: `finally` could only touch what is somebody else's.
        let began = matches!(setup, Ok(CaseOutcome::Passed));
        let mut outcome = match setup {
            Ok(CaseOutcome::Passed) => self.steps(deadline).await,
            Ok(cancelled) => {
                self.skip(&self.plan.steps, "the run was interrupted");
                cancelled
            }
            Err(failure) => {
                let reason = format!("{}: {}", failure.summary, failure.got);
                self.skip(&self.plan.steps, &reason);
                CaseOutcome::Broken { reason }
            }
        };
        // The deadline of the scenario may have passed; clearing up has its own.
        let cleanup = Instant::now() + self.plan.cleanup;
        if matches!(outcome, CaseOutcome::Failed { .. }) {
            self.afterwards(&self.plan.catch, cleanup).await;
        }
        if began {
            let finally = self.afterwards(&self.plan.finally, cleanup).await;
            if outcome == CaseOutcome::Passed {
                outcome = finally;
            }
        }
        if self.options.cleanup == Cleanup::Leave {
            self.context.consoles.close().await;
        }
        if self.options.cleanup == Cleanup::Remove
            && timeout_at(cleanup, cleanup::remove_created(at, cleanup))
                .await
                .is_err()
        {
            around.send(EventKind::Warning {
                message: format!(
                    "not everything could be removed within {}",
                    duration::show(self.plan.cleanup)
                ),
                at_line: None,
            });
        }
        outcome
    }

    /// Everything before the first step. Nothing is created when the site turns the scenario away.
    async fn set_up(&self, at: At<'_, '_>) -> Result<(), Failure> {
        let site = &self.context.site;
        let warnings = site
            .admit(self.context.scenario)
            .await
            .map_err(|why| turned_away(site.name(), &why))?;
        for message in warnings {
            let at_line = None;
            at.events.send(EventKind::Warning { message, at_line });
        }
        namespaces::create(at).await
    }

    /// The steps of the story, up to the first that does not pass.
    async fn steps(&self, deadline: Instant) -> CaseOutcome {
        for (index, planned) in self.plan.steps.iter().enumerate() {
            let outcome = self.step(planned, Some(deadline)).await;
            let (reason, outcome) = match outcome {
                StepOutcome::Passed | StepOutcome::Known { .. } | StepOutcome::Skipped { .. } => {
                    continue;
                }
                StepOutcome::Failed { .. } => (
                    format!("step {} failed", planned.id),
                    CaseOutcome::Failed { failure: None },
                ),
                StepOutcome::Broken { failure } => {
                    let reason = format!("step {}: {}", planned.id, failure.summary);
                    (reason.clone(), CaseOutcome::Broken { reason })
                }
                StepOutcome::Cancelled => {
                    ("the run was interrupted".into(), CaseOutcome::Cancelled)
                }
            };
            self.skip(&self.plan.steps[index + 1..], &reason);
            return outcome;
        }
        CaseOutcome::Passed
    }

    /// The steps of `catch` or `finally`: all of them, whatever becomes of each.
    async fn afterwards(&self, steps: &[PlannedStep<'_>], deadline: Instant) -> CaseOutcome {
        let mut worst = CaseOutcome::Passed;
        for planned in steps {
            let outcome = match timeout_at(deadline, self.step(planned, None)).await {
                Ok(outcome) => outcome,
                Err(_) => self.out_of_time(planned, &self.plan.cleanup, "cleanup"),
            };
            worst = match (worst, outcome) {
                (CaseOutcome::Passed, StepOutcome::Failed { .. }) => {
                    CaseOutcome::Failed { failure: None }
                }
                (CaseOutcome::Passed, StepOutcome::Broken { failure }) => CaseOutcome::Broken {
                    reason: failure.summary,
                },
                (worst, _) => worst,
            };
        }
        worst
    }

    /// Runs one step and tells about it. Without a deadline it cannot be interrupted either: it clears up.
    async fn step(&self, planned: &PlannedStep<'_>, deadline: Option<Instant>) -> StepOutcome {
        let started = Instant::now();
        let events = self.context.events.step(planned.id);
        let StepInfo {
            title,
            verb,
            at_line,
            ..
        } = info(planned);
        events.send(EventKind::StepStarted {
            title,
            verb,
            at_line,
        });
        let at = At {
            case: self.context,
            events: &events,
        };
        let vanished = async {
            let failure =
                Box::new(gone(&self.context.site.gone().await).at(Some(planned.location())));
            StepOutcome::Broken { failure }
        };
        let run = async {
            let outcome = step::run(at, planned).await;
            if matches!(outcome, StepOutcome::Broken { .. }) {
                tokio::time::sleep(LAST_BREATH).await;
            }
            outcome
        };
        let outcome = match deadline {
            None => tokio::select! {
                biased;
                outcome = vanished => outcome,
                outcome = run => outcome,
            },
            Some(deadline) => tokio::select! {
                biased;
                () = self.options.cancel.cancelled() => StepOutcome::Cancelled,
                outcome = vanished => outcome,
                outcome = run => outcome,
                () = sleep_until(deadline) => overdue(planned, &self.plan.deadline, "scenario"),
            },
        };
        events.send(EventKind::StepFinished {
            outcome: outcome.clone(),
            took: started.elapsed(),
        });
        outcome
    }

    fn out_of_time(&self, planned: &PlannedStep<'_>, limit: &Duration, key: &str) -> StepOutcome {
        let outcome = overdue(planned, limit, key);
        let events = self.context.events.step(planned.id);
        events.send(EventKind::StepFinished {
            outcome: outcome.clone(),
            took: *limit,
        });
        outcome
    }

    fn skip(&self, steps: &[PlannedStep<'_>], reason: &str) {
        skip_steps(&self.context.events, steps, reason);
    }
}

/// The site says before anything is done that the scenario cannot be run on it.
fn turned_away(site: &str, why: &SiteError) -> Failure {
    Failure::new(
        FailureKind::Environment,
        format!("nothing was created on {site}"),
    )
    .expected("a site on which everything the scenario does is possible")
    .got(why.to_string())
}

/// The site ended in the middle of the case.
fn gone(why: &SiteError) -> Failure {
    Failure::new(FailureKind::Environment, "the site is gone")
        .expected("a site that lives as long as the scenario")
        .got(why.to_string())
}

/// The time for everything is used up during this step.
fn overdue(planned: &PlannedStep<'_>, limit: &Duration, key: &str) -> StepOutcome {
    let limit = duration::show(*limit);
    let failure = Failure::new(
        FailureKind::Timeout,
        format!("the time for all steps, {limit}, is used up"),
    )
    .expected(format!("an end within {limit}"))
    .got(format!("step {} was still running", planned.id))
    .at(Some(planned.location()))
    .look_at(format!(
        "which step takes long; if all is well, raise `timeouts: {{{key}: …}}`"
    ));
    StepOutcome::Failed {
        failures: vec![failure],
    }
}
