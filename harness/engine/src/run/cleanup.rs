//! Removing what a case created, and nothing else.

use std::collections::HashSet;

use futures::future::join_all;
use tokio::time::Instant;

use crate::{
    context::At,
    events::EventKind,
    objects::delete::{IfAbsent, Whose, delete},
};

/// Deletes every object the case created. What cannot be removed is warned about: it is not the scenario's fault.
pub(super) async fn remove_created(at: At<'_, '_>, deadline: Instant) {
    let created = at.case.ledger(crate::objects::ledger::Ledger::take_created);
    let namespaces: HashSet<_> = created
        .iter()
        .filter(|one| one.object.kind == "namespace")
        .map(|one| one.object.name.clone())
        .collect();
    // What lives in a namespace of ours goes with it.
    let alone = created.iter().filter(|one| {
        one.object
            .namespace
            .as_ref()
            .is_none_or(|name| !namespaces.contains(name))
    });
    // Together, because a definition and its objects, or a claim and its pod, hold each other until both are deleted.
    let results = join_all(alone.map(|one| async move {
        (
            one,
            delete(
                at,
                &one.resource,
                &one.object,
                &Whose::Ours {
                    uid: one.uid.clone(),
                },
                IfAbsent::Ignore,
                deadline,
            )
            .await,
        )
    }));
    for (one, result) in results.await {
        if let Err(failure) = result {
            at.events.send(EventKind::Warning {
                message: format!(
                    "{} could not be removed: {}: {}",
                    one.object, failure.summary, failure.got
                ),
                at_line: None,
            });
        }
    }
}
