//! Why a probe got no answer, as far as the site can tell.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use trunkline_guest::protocol::Outcome as Came;
use trunkline_scenario::model::{Expect, Outcome, Way};

use crate::{
    console::Guest,
    context::At,
    convert,
    error::Error,
    events::{Evidence, EvidenceSource, Mismatch, ObjectRef},
    probes::{Start, request::Target},
    site::EvidenceRequest,
    verdict,
};

/// Asks the site about a probe that got no answer. Silence is all there is to say where the site knows nothing.
pub(crate) async fn gather(
    at: At<'_, '_>,
    probe: u64,
    start: &Start,
    target: Option<&Target>,
    outcome: &Came,
) -> Result<Option<Evidence>, Error> {
    let Some(target) =
        target.filter(|_| matches!(verdict::way(outcome), Some(Way::Blocked | Way::Unreachable)))
    else {
        return Ok(None);
    };
    let (namespace, pod) = match start {
        Start::Container(place) => (place.namespace.clone(), Some(place.pod.clone())),
        // On the network a guest is the pod around it.
        Start::Guest(guest) => (guest.namespace.clone(), launcher(at, guest).await?),
    };
    let Some(pod) = pod else {
        return Ok(None);
    };
    let question = EvidenceRequest {
        probe,
        from: ObjectRef {
            kind: "pod".into(),
            namespace: Some(namespace),
            name: pod,
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

/// The pod in which a guest runs.
async fn launcher(at: At<'_, '_>, guest: &Guest) -> Result<Option<String>, Error> {
    let pods: Api<Pod> = Api::namespaced(at.case.client.clone(), &guest.namespace);
    let labels = format!(
        "kubevirt.io=virt-launcher,vm.kubevirt.io/name={}",
        guest.name
    );
    let found = pods
        .list(&ListParams::default().labels(&labels))
        .await
        .map_err(|error| Error::api(format!("which pod {guest} runs in"), error))?;
    let running = |pod: &Pod| {
        let status = pod.status.as_ref();
        status.and_then(|status| status.phase.as_deref()) == Some("Running")
    };
    let pod = found.items.into_iter().find(running);
    Ok(pod.and_then(|pod| pod.metadata.name))
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
