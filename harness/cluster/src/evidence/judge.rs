//! From what was found to what a report says. Pure.

use trunkline_engine::events::{Evidence, EvidenceSource};

use super::{
    attachment::Attachment,
    rows::Responsible,
    trace::{End, Trace},
};

/// What was found around the place where a packet ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub responsible: Option<Responsible>,
    pub flows: Vec<String>,
}

pub(super) fn evidence(trace: &Trace, found: &Found, from: &Attachment) -> Evidence {
    let mut object = None;
    let (mut source, mut summary) = match &trace.end {
        End::Dropped(drop) => match (&found.responsible, &drop.acl) {
            (Some(responsible), _) => {
                let who: Vec<_> = responsible
                    .objects
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let who = match who.as_slice() {
                    [] => String::new(),
                    // One of several cannot be singled out: each of them alone would have it dropped.
                    [one] => {
                        object = responsible.objects.first().cloned();
                        format!(" of {one}")
                    }
                    many => format!(" of {}", many.join(" and of ")),
                };
                let port = drop.port.as_deref().unwrap_or(&from.port);
                let acl = &responsible.acl;
                (
                    EvidenceSource::Acl,
                    format!("dropped at port {port} by the ACL {acl}{who}"),
                )
            }
            (None, Some(acl)) => (
                EvidenceSource::Acl,
                format!("dropped by an ACL that nothing owns: {}", acl.matched),
            ),
            (None, None) => (
                EvidenceSource::Trace,
                format!("the logical network drops it at {}", drop.stage),
            ),
        },
        End::Delivered(port) => (
            EvidenceSource::Trace,
            format!(
                "the logical network delivers it to port {port}; what is silent is behind that"
            ),
        ),
        End::Remote(port) => (
            EvidenceSource::Trace,
            format!("the logical network sends it to another zone through port {port}"),
        ),
        End::Physical(port) => (
            EvidenceSource::Trace,
            format!("the logical network sends it out through {port}; what is silent is outside"),
        ),
    };
    let mut detail = trace.tail.clone();
    if !found.flows.is_empty() {
        if source == EvidenceSource::Trace {
            source = EvidenceSource::Flow;
        }
        summary.push_str("; the datapath dropped packets like it");
        detail.push_str("\n\n");
        detail.push_str(&found.flows.join("\n"));
    }
    Evidence {
        probe: None,
        source,
        summary,
        object,
        detail,
    }
}
