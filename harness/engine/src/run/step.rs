//! One step: its action, then `until`, `let` and the statements of `expect`, as often as it may be tried.

use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep, timeout_at};
use trunkline_scenario::model::{Action, Apply, Delete, Rejected, Target};

use super::{lifecycle, probe};
use crate::{
    capture::capture,
    context::At,
    convert,
    error::Error,
    events::{EventKind, Failure, FailureKind, ObjectRef, Phase, StepOutcome},
    objects::{
        apply::{NotApplied, apply},
        delete::{IfAbsent, Whose, delete, kind_of},
    },
    plan::{PlannedProbe, PlannedStep},
    stop::Stop,
    until::Waiter,
};

/// What a step that did not fail has to say.
#[derive(Default)]
struct Done {
    /// Failures that are expected, with their reasons.
    known: Vec<(String, Vec<Failure>)>,
}

/// Runs a step to its end.
pub(super) async fn run(at: At<'_, '_>, planned: &PlannedStep<'_>) -> StepOutcome {
    let mut attempt = 1;
    let result = loop {
        match once(at, planned).await {
            Err(Stop::Failed(failures)) if attempt < planned.attempts => {
                let reason = planned
                    .step
                    .retry
                    .as_ref()
                    .map(|retry| retry.because.value.clone())
                    .unwrap_or_default();
                at.events.send(EventKind::StepRetried {
                    attempt,
                    of: planned.attempts,
                    reason,
                    failures,
                });
                sleep(probe::rest(attempt)).await;
                attempt += 1;
            }
            result => break result,
        }
    };
    let place = planned.location();
    match (result, &planned.step.known) {
        (Err(Stop::Broken(failure)), _) => StepOutcome::Broken {
            failure: Box::new(failure.at(Some(place))),
        },
        (Err(Stop::Failed(failures)), known) => {
            let failures = failures
                .into_iter()
                .map(|failure| failure.at(Some(place.clone())))
                .collect();
            match known {
                Some(known) => StepOutcome::Known {
                    reason: known.because.value.clone(),
                    failures,
                },
                None => StepOutcome::Failed { failures },
            }
        }
        (Ok(_), Some(known)) => StepOutcome::Failed {
            failures: vec![known_passed(known)],
        },
        (Ok(done), None) if done.known.is_empty() => StepOutcome::Passed,
        (Ok(done), None) => {
            let (reasons, failures): (Vec<_>, Vec<_>) = done.known.into_iter().unzip();
            StepOutcome::Known {
                reason: reasons.join("; "),
                failures: failures.concat(),
            }
        }
    }
}

/// Something that is said to fail does not: good news that the file must hear.
pub(super) fn known_passed(known: &trunkline_scenario::model::ExpectedFailure) -> Failure {
    let issue = known
        .issue
        .as_ref()
        .map(|issue| format!(" ({issue})"))
        .unwrap_or_default();
    Failure::new(
        FailureKind::KnownPassed,
        "this passes, although it is known to fail",
    )
    .expected(format!("a failure, because {}{issue}", known.because))
    .got("everything holds")
    .at(Some(convert::location(&known.at)))
    .look_at("whether the cause is gone for good; then remove `known`")
}

async fn once(at: At<'_, '_>, planned: &PlannedStep<'_>) -> Result<Done, Stop> {
    let step = planned.step;
    // Watches stand before anything is done, so that no change is missed.
    let mut waiters = prepare(at, planned).await?;

    let mut done = Done::default();
    let changed = match &step.action {
        Action::Apply(action) => {
            at.case.ledger(crate::objects::ledger::Ledger::act);
            apply_all(at, planned, action).await?
        }
        Action::Delete(action) => {
            at.case.ledger(crate::objects::ledger::Ledger::act);
            delete_all(at, planned, action).await?;
            true
        }
        Action::Run(what, targets) => {
            at.case.ledger(crate::objects::ledger::Ledger::act);
            lifecycle::all(at, planned, *what, targets).await?;
            // These have waited themselves. A watch from before may still show what they have seen end.
            waiters = prepare(at, planned).await?;
            true
        }
        Action::Probe(_) => {
            done = probe_all(at, planned).await?;
            false
        }
        Action::Look => false,
    };
    try_join_all(waiters.into_iter().map(|waiter| waiter.wait(at))).await?;
    // What was waited for is a change too, whoever made it.
    let changed = changed || !step.until.is_empty();
    if changed && let Some(convergence) = at.case.site.barrier().await.map_err(Error::from)? {
        at.events.send(EventKind::Converged(convergence));
    }

    let deadline = Instant::now() + planned.capture_timeout;
    for spec in &step.lets {
        capture(at, spec, deadline).await?;
    }
    let mut failures = Vec::new();
    for statement in &step.statements {
        let place = convert::location(statement.at());
        match statement.check(&at.case.scope()) {
            Ok(None) => {}
            Ok(Some(mismatch)) => failures.push(
                Failure::new(FailureKind::Expectation, statement.to_string())
                    .expected(mismatch.expected)
                    .got(mismatch.got)
                    .at(Some(place)),
            ),
            Err(error) => failures.push(convert::diagnostic(&error)),
        }
    }
    if failures.is_empty() {
        Ok(done)
    } else {
        Err(Stop::Failed(failures))
    }
}

async fn prepare(at: At<'_, '_>, planned: &PlannedStep<'_>) -> Result<Vec<Waiter>, Failure> {
    let each = planned.step.until.iter().map(|spec| async {
        let place = convert::location(spec.at());
        let until = spec
            .resolve(&at.case.scope())
            .map_err(|error| convert::diagnostic(&error))?;
        Waiter::prepare(at, until, place, planned.until(spec)).await
    });
    try_join_all(each).await
}

/// Applies the objects of a step; true when the API took any.
async fn apply_all(
    at: At<'_, '_>,
    planned: &PlannedStep<'_>,
    action: &Apply,
) -> Result<bool, Stop> {
    let deadline = Instant::now() + planned.action_timeout;
    let mut taken = false;
    for object in &planned.objects {
        let result = match timeout_at(deadline, apply(at, object, deadline)).await {
            Ok(result) => result,
            Err(_) => Err(NotApplied::Other(
                Failure::new(
                    FailureKind::Timeout,
                    "the API did not take everything in time",
                )
                .expected(format!(
                    "every object applied within {}",
                    crate::text::seconds(planned.action_timeout)
                ))
                .got(format!(
                    "no answer for {} of {}",
                    object.kind,
                    object.location()
                ))
                .manifest(Some(object.location())),
            )),
        };
        match (result, &action.rejected) {
            (Ok(()), _) => taken = true,
            (Err(NotApplied::Refused { status, failure }), Some(rejected)) => {
                return judge_refusal(at, rejected, &status.reason, &status.message, failure)
                    .map(|()| taken);
            }
            (Err(error), _) => return Err(error.into_failure().into()),
        }
    }
    match &action.rejected {
        None => Ok(taken),
        Some(rejected) => Err(Failure::new(
            FailureKind::Expectation,
            "the API accepts what it should refuse",
        )
        .expected(wanted(rejected))
        .got("every object is accepted")
        .at(Some(convert::location(&rejected.at)))
        .into()),
    }
}

fn judge_refusal(
    at: At<'_, '_>,
    rejected: &Rejected,
    reason: &str,
    message: &str,
    failure: Failure,
) -> Result<(), Stop> {
    let place = Some(convert::location(&rejected.at));
    let text = rejected
        .message
        .as_ref()
        .map(|text| text.check(message, &at.case.scope()))
        .transpose();
    let text = text.map_err(|error| convert::diagnostic(&error))?.flatten();
    let other = rejected
        .reason
        .as_ref()
        .is_some_and(|wanted| wanted.value != reason);
    if text.is_none() && !other {
        at.events
            .progress(format!("refused, as expected: {message}"));
        return Ok(());
    }
    let got = format!("refused with {reason}: {message}");
    let other = Failure {
        kind: FailureKind::Expectation,
        scenario: place,
        ..failure
    };
    Err(other.expected(wanted(rejected)).got(got).into())
}

fn wanted(rejected: &Rejected) -> String {
    let reason = rejected
        .reason
        .as_ref()
        .map(|reason| format!(" with {reason}"))
        .unwrap_or_default();
    let message = rejected
        .message
        .as_ref()
        .map(|text| format!(", the message {text}"))
        .unwrap_or_default();
    format!("the API refuses it{reason}{message}")
}

/// Deletes the objects of a step together and waits until all are gone.
async fn delete_all(
    at: At<'_, '_>,
    planned: &PlannedStep<'_>,
    action: &Delete,
) -> Result<(), Stop> {
    let deadline = Instant::now() + planned.action_timeout;
    // Clearing up may find less than there could be; a step of the story may not.
    let if_absent = if planned.id.phase == Phase::Steps {
        IfAbsent::Fail
    } else {
        IfAbsent::Ignore
    };
    let mut targets = Vec::new();
    for target in &action.targets {
        if let Target::Object(object) = target {
            let reference = object
                .resolve(&at.case.scope())
                .map_err(|error| convert::diagnostic(&error))?;
            let place = convert::location(object.at());
            let kind = kind_of(at, &reference.kind)
                .await
                .map_err(|failure| failure.at(Some(place.clone())))?;
            targets.push((kind, convert::object(&reference), place));
        }
    }
    for object in &planned.objects {
        let Some(resource) = at
            .case
            .catalogue
            .by_kind(object.api_version, object.kind)
            .await?
        else {
            continue;
        };
        let namespace = resource
            .namespaced
            .then(|| object.namespace.unwrap_or("default").to_owned());
        let kind = resource.api.kind.to_ascii_lowercase();
        let reference = trunkline_scenario::model::ObjectRef {
            kind,
            namespace,
            name: object.name.unwrap_or_default().to_owned(),
        };
        targets.push((resource, convert::object(&reference), object.location()));
    }
    let all = targets
        .iter()
        .map(|(kind, object, place): &(_, ObjectRef, _)| async move {
            delete(at, kind, object, &Whose::Anybodys, if_absent, deadline)
                .await
                .map_err(|failure| failure.at(Some(place.clone())))
        });
    let failures: Vec<_> = join_all(all)
        .await
        .into_iter()
        .filter_map(Result::err)
        .collect();
    match failures
        .iter()
        .position(|failure| failure.kind == FailureKind::Environment)
    {
        Some(broken) => Err(Stop::Broken(Box::new(failures[broken].clone()))),
        None if failures.is_empty() => Ok(()),
        None => Err(Stop::Failed(failures)),
    }
}

/// Runs the probes of a step at the same time and judges each by itself.
async fn probe_all(at: At<'_, '_>, planned: &PlannedStep<'_>) -> Result<Done, Stop> {
    let patience = planned.until_timeout;
    let results = join_all(
        planned
            .probes
            .iter()
            .map(|probe| async move { (probe, probe::run(at, probe, patience).await) }),
    );
    let mut done = Done::default();
    let mut failures = Vec::new();
    for (probe, result) in results.await {
        let PlannedProbe { probe, .. } = probe;
        match (result, &probe.known) {
            (Ok(()), None) => {}
            (Ok(()), Some(known)) => failures.push(known_passed(known)),
            (Err(Stop::Failed(found)), Some(known)) => {
                done.known.push((known.because.value.clone(), found));
            }
            (Err(Stop::Failed(found)), None) => failures.extend(found),
            (Err(broken @ Stop::Broken(_)), _) => return Err(broken),
        }
    }
    if failures.is_empty() {
        Ok(done)
    } else {
        Err(Stop::Failed(failures))
    }
}
