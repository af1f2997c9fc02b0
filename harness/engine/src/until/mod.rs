//! Waiting for conditions: watches that stand before the action, judged on every change, given up as soon as there
//! is no hope.

pub(crate) mod condition;
pub(crate) mod hopeless;
mod machines;
pub(crate) mod state;
mod subjects;
mod warnings;

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use trunkline_scenario::model::{Condition, Scope, Subject, Until};

pub(crate) use self::subjects::makes_pods;
use self::{
    condition::{Truth, evaluate},
    subjects::{Seen, Subjects},
    warnings::Warnings,
};
use crate::{
    context::At,
    events::{EventKind, Failure, FailureKind, Location, ObjectRef},
    objects::{
        delete::kind_of,
        names::{self, GROUP, describe_command},
        watch::{SYNC_TIMEOUT, WatchLost},
    },
    text::seconds,
};

/// How long trouble must last where it may be a passing or an old one: it was there before anything was done.
const OLD_TROUBLE: Duration = Duration::from_secs(20);

/// A wait that is prepared: its watches stand.
pub(crate) struct Waiter {
    until: Until,
    at_line: Location,
    timeout: Duration,
    subjects: Subjects,
    warnings: Warnings,
}

/// How things stand at one moment.
#[derive(Debug)]
enum Standing {
    Met,
    NotYet {
        object: ObjectRef,
        state: String,
    },
    Hopeless {
        object: ObjectRef,
        words: String,
        old: bool,
    },
    Senseless {
        object: ObjectRef,
        words: String,
    },
}

impl Waiter {
    /// Starts the watches and returns once they stand, so that nothing done after this is missed.
    pub async fn prepare(
        at: At<'_, '_>,
        until: Until,
        at_line: Location,
        time: Duration,
    ) -> Result<Self, Failure> {
        let subjects = Subjects::new(&until.subject);
        let warnings = Warnings::new(&until.subject);
        let mut waiter = Self {
            until,
            at_line,
            timeout: time,
            subjects,
            warnings,
        };
        waiter
            .stand(at)
            .await
            .map_err(|failure| failure.at(Some(waiter.at_line.clone())))?;
        Ok(waiter)
    }

    /// Starts whatever does not run yet. A kind that is only defined by the action is unknown before it.
    async fn stand(&mut self, at: At<'_, '_>) -> Result<(), Failure> {
        let what = self.until.subject.to_string();
        let start = async {
            self.subjects.start(at).await?;
            self.warnings.start(at).await?;
            Ok(())
        };
        match timeout(SYNC_TIMEOUT, start).await {
            Ok(result) => result,
            Err(_) => Err(
                WatchLost(format!("it did not start within {}", seconds(SYNC_TIMEOUT)))
                    .about(&what)
                    .into(),
            ),
        }
    }

    /// Waits until the condition holds, and has held as long as it must.
    pub async fn wait(mut self, at: At<'_, '_>) -> Result<(), Failure> {
        let started = Instant::now();
        let deadline = started + self.timeout;
        self.stand(at)
            .await
            .map_err(|failure| self.placed(failure))?;
        if !self.subjects.is_started() {
            // The kind is still unknown after the action: asking for it by name gives the words for that.
            let unknown = kind_of(at, self.subjects.word()).await.err();
            let unknown = unknown.unwrap_or_else(|| {
                let message = "its kind became known too late".to_owned();
                WatchLost(message)
                    .about(&self.until.subject.to_string())
                    .into()
            });
            return Err(self.placed(unknown));
        }
        let mut told = None;
        let mut held_since: Option<Instant> = None;
        let mut broke = 0_u32;
        loop {
            if let Err(lost) = self.subjects.catch_up() {
                return Err(self.lost(lost));
            }
            self.warnings.catch_up();
            let now = Instant::now();
            let mut wake = deadline;
            let (object, state) = match self.standing(at) {
                Standing::Met => {
                    let since = *held_since.get_or_insert(now);
                    let enough = since + self.until.hold.unwrap_or_default();
                    if now >= enough {
                        self.met(at, started);
                        return Ok(());
                    }
                    wake = wake.min(enough);
                    (
                        self.subjects.first_name(),
                        "true, and must stay so".to_owned(),
                    )
                }
                Standing::NotYet { object, state } => {
                    broke += u32::from(held_since.take().is_some());
                    (object, state)
                }
                Standing::Hopeless { object, words, old } => {
                    broke += u32::from(held_since.take().is_some());
                    let patience = started + OLD_TROUBLE;
                    if !old || now >= patience {
                        return Err(self.hopeless(at, &object, &words));
                    }
                    wake = wake.min(patience);
                    (object, words)
                }
                Standing::Senseless { object, words } => {
                    return Err(self.senseless(&object, &words));
                }
            };
            if now >= deadline {
                return Err(self.too_late(at, &object, &state, broke));
            }
            if told.as_ref() != Some(&(object.clone(), state.clone())) {
                let condition = self.until.to_string();
                at.events.send(EventKind::ObjectWaiting {
                    object: object.clone(),
                    condition,
                    state: state.clone(),
                });
                told = Some((object, state));
            }
            tokio::select! {
                changed = self.subjects.changed() => {
                    if let Err(lost) = changed {
                        return Err(self.lost(lost));
                    }
                }
                () = self.warnings.changed() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Judges every object of the subject; the first one that is not there yet speaks for all.
    fn standing(&self, at: At<'_, '_>) -> Standing {
        let scope = at.case.scope();
        let seen = self.subjects.seen();
        if seen.is_empty() {
            return match evaluate(&self.until.condition, None, &scope) {
                Truth::Yes => Standing::Met,
                Truth::NotYet(state) | Truth::Never(state) => {
                    let state = match self.until.subject {
                        Subject::One(_) => state,
                        Subject::All { .. } => "there are none yet".into(),
                    };
                    Standing::NotYet {
                        object: self.subjects.first_name(),
                        state,
                    }
                }
            };
        }
        let mut waiting = None;
        for seen in &seen {
            match self.one(at, seen, &scope) {
                Standing::Met => {}
                Standing::NotYet { object, state } => {
                    waiting.get_or_insert(Standing::NotYet { object, state });
                }
                // Worse than waiting, whatever the others do.
                end => return end,
            }
        }
        waiting.unwrap_or(Standing::Met)
    }

    fn one(&self, at: At<'_, '_>, seen: &Seen<'_>, scope: &Scope) -> Standing {
        let object = names::reference(seen.object);
        if at.case.ledger(|ledger| ledger.is_stale(seen.object)) {
            return Standing::NotYet {
                object,
                state: "the last change has not arrived yet".into(),
            };
        }
        let state = match evaluate(&self.until.condition, Some(seen.object), scope) {
            Truth::Yes => return Standing::Met,
            Truth::Never(words) => return Standing::Senseless { object, words },
            Truth::NotYet(state) => state,
        };
        let trust = trust(&self.until.condition);
        if trust == Trust::Never {
            return Standing::NotYet { object, state };
        }
        let trouble = self
            .subjects
            .family(seen)
            .find_map(|member| {
                let words = hopeless::hopeless(member.object, at.case.crashes)?;
                let latest = at.case.ledger(|ledger| ledger.is_latest_act(&object));
                Some((
                    words,
                    trust == Trust::Later || (member.unchanged && !latest),
                ))
            })
            .or_else(|| {
                let members = self.subjects.family(seen).map(|member| member.object);
                let words = self.warnings.hopeless(members)?;
                Some((words, trust == Trust::Later))
            });
        match trouble {
            Some((words, old)) => Standing::Hopeless { object, words, old },
            None => Standing::NotYet { object, state },
        }
    }

    fn met(&self, at: At<'_, '_>, started: Instant) {
        at.events.send(EventKind::ConditionMet {
            object: self.subjects.first_name(),
            condition: self.until.to_string(),
            took: started.elapsed(),
        });
    }

    fn failure(
        &self,
        kind: FailureKind,
        at: At<'_, '_>,
        object: &ObjectRef,
        summary: String,
    ) -> Failure {
        let manifest = at.case.ledger(|ledger| ledger.manifest(object));
        let failure = Failure::new(kind, summary)
            .expected(self.until.to_string())
            .manifest(manifest)
            .about(object.clone())
            .look_at(describe_command(object));
        self.placed(failure)
    }

    fn hopeless(&self, at: At<'_, '_>, object: &ObjectRef, words: &str) -> Failure {
        let summary = format!(
            "{object} cannot get there any more: expected {}",
            self.until
        );
        let failure = self
            .failure(FailureKind::Hopeless, at, object, summary)
            .got(words)
            .because(words);
        // What led there is often only told in events.
        self.warnings
            .about(self.subjects.everybody(object))
            .into_iter()
            .filter(|warning| !warning.contains(words) && !words.contains(warning.as_str()))
            .fold(failure, Failure::because)
    }

    fn senseless(&self, object: &ObjectRef, words: &str) -> Failure {
        let summary = format!("the condition cannot be evaluated for {object}");
        let failure = Failure::new(FailureKind::Expectation, summary)
            .expected(self.until.to_string())
            .got(words);
        self.placed(failure.about(object.clone()))
    }

    fn too_late(&self, at: At<'_, '_>, object: &ObjectRef, state: &str, broke: u32) -> Failure {
        let within = trunkline_scenario::duration::show(self.timeout);
        let (kind, summary) = match broke {
            0 => (
                FailureKind::Timeout,
                format!("waited {within} for: {}", self.until),
            ),
            1 => (
                FailureKind::Unstable,
                format!(
                    "came true and did not stay so within {within}: {}",
                    self.until
                ),
            ),
            n => (
                FailureKind::Unstable,
                format!(
                    "came true and did not stay so, {n} times within {within}: {}",
                    self.until
                ),
            ),
        };
        let got = match object.name.as_str() {
            GROUP => state.to_owned(),
            _ => format!("{object}: {state}"),
        };
        let mut failure = self.failure(kind, at, object, summary).got(got);
        for words in self.warnings.about(self.subjects.everybody(object)) {
            failure = failure.because(words);
        }
        failure
    }

    fn lost(&self, lost: WatchLost) -> Failure {
        self.placed(lost.about(&self.until.subject.to_string()).into())
    }

    fn placed(&self, failure: Failure) -> Failure {
        failure.at(Some(self.at_line.clone()))
    }
}

/// How far a state that looks hopeless ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    AtOnce,
    /// Only when it lasts.
    Later,
    /// The trouble may be what is waited for.
    Never,
}

fn trust(condition: &Condition) -> Trust {
    const ENDS: &[&str] = &[
        "Failed",
        "Succeeded",
        "Complete",
        "Completed",
        "Finished",
        "FailureTarget",
    ];
    match condition {
        Condition::Is(word) if ENDS.contains(&word.as_str()) => Trust::Never,
        Condition::Is(_) => Trust::AtOnce,
        // An expression may look at anything, at a trouble that comes after this one too.
        Condition::That(_) => Trust::Later,
        Condition::IsNot(_) | Condition::Exists | Condition::Gone => Trust::Never,
    }
}
