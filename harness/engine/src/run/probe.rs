//! One probe of a step: sent, answered, judged, explained.

use std::time::Duration;

use trunkline_guest::protocol::{Outcome as Came, Response};
use trunkline_scenario::model::Way;

use super::guest;
use crate::{
    console::Guest,
    context::At,
    convert,
    error::Error,
    events::{EventKind, Evidence, Failure, FailureKind, Verdict},
    evidence,
    plan::PlannedProbe,
    probes::{
        Place, Start,
        request::{Question, question},
        source,
    },
    stop::Stop,
    verdict::{Judged, judge, way},
};

/// What is waited for between two attempts gives no event, or there would be an `until` for it.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(1);

/// How long to wait before the attempt after this one.
pub(super) fn rest(attempt: u32) -> Duration {
    FIRST_REST
        .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(LONGEST_REST)
}

/// Runs a probe until it passes or its attempts are used up.
pub(super) async fn run(
    at: At<'_, '_>,
    planned: &PlannedProbe<'_>,
    patience: Duration,
) -> Result<(), Stop> {
    let mut attempt = 1;
    loop {
        match once(at, planned, patience).await {
            Err(Stop::Failed(failures)) if attempt < planned.attempts => {
                let reason = planned
                    .probe
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
                tokio::time::sleep(rest(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

async fn once(at: At<'_, '_>, planned: &PlannedProbe<'_>, patience: Duration) -> Result<(), Stop> {
    let probe = planned.probe;
    let line = convert::location(&probe.at);
    let stop = |failure: Failure| Stop::from(failure.at(Some(line.clone())));
    let scope = at.case.scope();
    let from = probe
        .from
        .resolve(&scope)
        .map_err(|error| stop(convert::diagnostic(&error)))?;
    let question = question(&probe.call, &probe.expect, planned.timeout, &scope)
        .map_err(|error| stop(convert::diagnostic(&error)))?;
    let start = source::start(at, &from, &line, patience)
        .await
        .map_err(stop)?;

    let number = at.events.next_probe();
    let (from, description) = (from.to_string(), question.description.clone());
    at.events.send(EventKind::ProbeSent {
        probe: number,
        from: from.clone(),
        description: description.clone(),
    });
    let response = ask(at, &start, &question).await.map_err(stop)?;
    let took = Duration::try_from_secs_f64(response.took_ms / 1e3).unwrap_or_default();
    let mut judged = judge(&probe.expect, &response.outcome, took, &scope)
        .map_err(|error| stop(convert::diagnostic(&error)))?;
    let evidence = evidence::gather(
        at,
        number,
        &start,
        question.target.as_ref(),
        &response.outcome,
    )
    .await
    .map_err(|error| stop(error.into()))?;
    let responsible =
        evidence::responsible(at, &probe.expect, &response.outcome, evidence.as_ref())
            .map_err(|error| stop(convert::diagnostic(&error)))?;
    if let Some(mismatch) = responsible {
        judged.verdict.passed = false;
        judged.verdict.mismatches.push(mismatch);
    }
    let verdict = judged.verdict.clone();
    at.events.send(EventKind::ProbeFinished {
        probe: number,
        from,
        description,
        verdict,
        took,
    });
    if let Some(evidence) = &evidence {
        at.events.send(EventKind::Evidence(evidence.clone()));
    }
    if judged.verdict.passed {
        return Ok(());
    }
    Err(Stop::from(failure(
        &question,
        &start,
        &judged,
        &response.outcome,
        evidence.as_ref(),
    )))
}

async fn ask(at: At<'_, '_>, start: &Start, question: &Question) -> Result<Response, Failure> {
    match start {
        Start::Container(place) => {
            let asked = at.case.agents.ask(place, question.probe.clone()).await;
            asked.map_err(|error| Error::from(error).into())
        }
        Start::Guest(guest) => guest::ask(at, guest, &question.probe).await,
    }
}

fn failure(
    question: &Question,
    start: &Start,
    judged: &Judged,
    outcome: &Came,
    evidence: Option<&Evidence>,
) -> Failure {
    let Verdict {
        expected,
        got,
        mismatches,
        ..
    } = &judged.verdict;
    let what = format!("{} from {start}", question.description);
    let parts: Vec<_> = mismatches
        .iter()
        .filter(|mismatch| mismatch.part != "outcome")
        .collect();
    let failure = if parts.is_empty() {
        Failure::new(FailureKind::Expectation, what)
            .expected(expected)
            .got(got)
    } else {
        let list = |show: fn(&crate::events::Mismatch) -> String| {
            parts
                .iter()
                .map(|part| show(part))
                .collect::<Vec<_>>()
                .join("\n")
        };
        Failure::new(FailureKind::Expectation, what)
            .expected(list(|part| format!("{} {}", part.part, part.expected)))
            .got(list(|part| format!("{} {}", part.part, part.got)))
    };
    let failure = failure.at(Some(convert::location(&judged.at)));
    let failure = evidence.into_iter().fold(failure, |failure, evidence| {
        failure.because(&evidence.summary)
    });
    match hint(outcome, start) {
        Some(hint) => failure.look_at(hint),
        None => failure,
    }
}

/// Where to look, by the way the probe did not get through.
fn hint(outcome: &Came, start: &Start) -> Option<String> {
    let (inside, whose) = match start {
        Start::Container(Place { namespace, pod, .. }) => {
            (format!("kubectl -n {namespace} exec {pod} -- "), "pod")
        }
        Start::Guest(Guest { namespace, name }) => (
            format!("virtctl console -n {namespace} {name}, then "),
            "guest",
        ),
    };
    Some(match way(outcome)? {
        Way::Blocked => format!(
            "policies on either side: kubectl get networkpolicies -A; the routes: {inside}ip route"
        ),
        Way::Refused => "whether anything listens there, on that address and port: kubectl logs of the other side".into(),
        Way::Unreachable => format!("addresses and routes of the {whose}: {inside}ip addr, ip route"),
        Way::Unresolved => format!("the name servers of the {whose}: {inside}cat /etc/resolv.conf"),
    })
}
