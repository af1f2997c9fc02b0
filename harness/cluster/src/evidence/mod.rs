//! What OVN-Kubernetes itself says about a probe that got no answer, asked in its own pods: a trace through the
//! logical network of the prober's zone and, where the packet leaves that, of the zone it enters; then the rows and the
//! datapath flows around the place where it ends.

mod attachment;
mod flows;
mod judge;
mod microflow;
mod rows;
mod run;
#[cfg(test)]
mod tests;
mod trace;

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::{Client, api::Api};
use trunkline_engine::{
    EvidenceRequest, api_message,
    events::{Evidence, EvidenceSource},
};

use self::{
    attachment::Attachment,
    judge::Found,
    microflow::Microflow,
    run::Zone,
    trace::{End, Trace},
};

/// Evidence about a probe; `None` where there is nothing to ask about, because the destination is a name or the pod has
/// no address that leads there.
pub async fn ask(client: &Client, question: &EvidenceRequest) -> Option<Evidence> {
    let destination: IpAddr = question.host.parse().ok()?;
    match investigate(client, question, destination).await {
        Ok(evidence) => evidence,
        // Said and not swallowed: whoever reads the report must know that more could have been found out.
        Err(why) => Some(Evidence {
            probe: None,
            source: EvidenceSource::Deadline,
            summary: format!(
                "silence until the deadline; OVN-Kubernetes could not be asked: {why}"
            ),
            object: None,
            detail: String::new(),
        }),
    }
}

async fn investigate(
    client: &Client,
    question: &EvidenceRequest,
    destination: IpAddr,
) -> Result<Option<Evidence>, String> {
    let namespace = question.from.namespace.as_deref().unwrap_or("default");
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pod = pods
        .get(&question.from.name)
        .await
        .map_err(|error| api_message(&error))?;
    let Some(attachment) = Attachment::towards(&pod, destination)? else {
        return Ok(None);
    };
    let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else {
        return Ok(None);
    };
    let flow = Microflow::new(&attachment, destination, question.protocol, question.port);
    let zone = Zone::of(client, &node).await?;
    let trace = Trace::parse(&zone.trace(&flow).await?)?;
    let (zone, trace) = match entering(client, &node, &flow, &trace).await? {
        Some((zone, onward)) => (zone, onward),
        None => (zone, trace),
    };
    let found = match &trace.end {
        End::Dropped(drop) => Found {
            responsible: match (&drop.acl, &drop.port) {
                (Some(acl), Some(port)) => {
                    zone.responsible(acl, port, attachment.secondary).await?
                }
                _ => None,
            },
            flows: flows::dropping(&zone.flows().await.unwrap_or_default(), &flow),
        },
        _ => Found::default(),
    };
    Ok(Some(judge::evidence(&trace, &found, &attachment)))
}

/// The trace in the zone a packet enters when it leaves the prober's.
async fn entering(
    client: &Client,
    from: &str,
    flow: &Microflow,
    trace: &Trace,
) -> Result<Option<(Zone, Trace)>, String> {
    let End::Remote(port) = &trace.end else {
        return Ok(None);
    };
    let Some(to) = run::node_of_port(client, port).await? else {
        return Ok(None);
    };
    let zone = Zone::of(client, &to).await?;
    let flow = flow.entering(port, from, trace);
    let trace = Trace::parse(&zone.trace(&flow).await?)?;
    Ok(Some((zone, trace)))
}
