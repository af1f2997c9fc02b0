//! Why a probe got no answer, as far as the site can tell.

use trunkline_guest::protocol::Outcome as Came;
use trunkline_scenario::model::{Expect, Outcome, Way};

use crate::{
    context::At,
    convert,
    error::Error,
    events::{Evidence, EvidenceSource, Mismatch, ObjectRef},
    probes::{Place, request::Target},
    site::EvidenceRequest,
    verdict,
};

/// Asks the site about a probe that got no answer. Silence is all there is to say where the site knows nothing.
pub(crate) async fn gather(
    at: At<'_, '_>,
    probe: u64,
    place: &Place,
    target: Option<&Target>,
    outcome: &Came,
) -> Result<Option<Evidence>, Error> {
    let Some(target) =
        target.filter(|_| matches!(verdict::way(outcome), Some(Way::Blocked | Way::Unreachable)))
    else {
        return Ok(None);
    };
    let question = EvidenceRequest {
        probe,
        from: ObjectRef {
            kind: "pod".into(),
            namespace: Some(place.namespace.clone()),
            name: place.pod.clone(),
        },
        protocol: target.protocol,
        host: target.host.clone(),
        port: target.port,
    };
    let said = at.case.site.evidence(&question).await?;
    Ok(said
        .map(|evidence| Evidence {
            probe: Some(probe),
            ..evidence
        })
        .or_else(|| match outcome {
            Came::Blocked(blocked) => Some(Evidence {
                probe: Some(probe),
                source: EvidenceSource::Deadline,
                summary: format!(
                    "silence for {:.0}ms; the site {} has no further evidence",
                    blocked.after_ms,
                    at.case.site.name()
                ),
                object: None,
                detail: String::new(),
            }),
            _ => None,
        }))
}

/// Holds the object an expectation holds responsible against the one the evidence names.
pub(crate) fn responsible(
    at: At<'_, '_>,
    expect: &Expect,
    outcome: &Came,
    evidence: Option<&Evidence>,
) -> Result<Option<Mismatch>, trunkline_scenario::Diagnostic> {
    let Outcome::Unanswered(ways) = &expect.outcome else {
        return Ok(None);
    };
    let came = verdict::way(outcome);
    let Some(by) = ways
        .iter()
        .find(|way| Some(way.way) == came)
        .and_then(|way| way.by.as_ref())
    else {
        return Ok(None);
    };
    let expected = convert::object(&by.resolve(&at.case.scope())?);
    Ok(
        match evidence.and_then(|evidence| evidence.object.as_ref()) {
            Some(object) if *object != expected => Some(Mismatch {
                part: "by".into(),
                expected: expected.to_string(),
                got: object.to_string(),
            }),
            Some(_) => None,
            None => {
                let site = at.case.site.name();
                at.events.send(crate::events::EventKind::Warning {
                message: format!("the site {site} cannot tell whether {expected} is responsible; only the deadline decided"),
                at_line: Some(convert::location(by.at())),
            });
                None
            }
        },
    )
}
