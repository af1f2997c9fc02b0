//! Removing what a case created, and nothing else.

use std::collections::HashSet;

use futures::future::{join, join_all};
use kube::{api::DeleteParams, core::params::Preconditions};
use tokio::time::Instant;

use crate::{
    context::At,
    events::EventKind,
    objects::{
        delete::{IfAbsent, Whose, delete},
        ledger::Created,
    },
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
    let (inside, alone): (Vec<_>, Vec<_>) = created.iter().partition(|one| {
        one.object
            .namespace
            .as_ref()
            .is_some_and(|name| namespaces.contains(name))
    });
    // Together, because a definition and its objects, or a claim and its pod, hold each other until both are deleted.
    let removed = join_all(alone.into_iter().map(|one| async move {
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
    let (results, _) = join(
        removed,
        join_all(inside.into_iter().map(|one| hasten(at, one))),
    )
    .await;
    for (one, result) in results {
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

/// Begins what the end of the namespace would do anyway. Kubernetes looks into a namespace some seconds after its deletion,
/// and again as many seconds later when it was not empty by then.
async fn hasten(at: At<'_, '_>, one: &Created) {
    let Some(uid) = one.uid.clone() else {
        return;
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let objects = one
        .resource
        .objects(&at.case.client, one.object.namespace.as_deref());
    // Whoever may not, or comes too late, leaves it to the namespace.
    let _ = objects.delete(&one.object.name, &params).await;
}
