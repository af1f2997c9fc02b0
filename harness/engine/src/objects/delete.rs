//! Deleting objects and seeing them go.

use std::sync::Arc;

use kube::{
    api::{DeleteParams, DynamicObject},
    core::params::Preconditions,
};
use tokio::time::Instant;

use super::{
    RUN_LABEL,
    catalogue::Resource,
    names::describe_command,
    watch::{Selection, Watch},
};
use crate::{
    context::At,
    error::{Error, is_conflict, is_not_found},
    events::{EventKind, Failure, FailureKind, ObjectRef},
    stop::api_failure,
    until::state,
};

/// What to do about an object that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfAbsent {
    Fail,
    Ignore,
}

/// Which object of a name may be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A step says so: whichever has the name.
    Anybodys,
    /// Clearing up: only what this run created, which is this uid where the API told it.
    Ours { uid: Option<String> },
}

/// Deletes an object and waits until it is gone, finalizers and all.
pub(crate) async fn delete(
    at: At<'_, '_>,
    resource: &Arc<Resource>,
    object: &ObjectRef,
    whose: &Whose,
    if_absent: IfAbsent,
    deadline: Instant,
) -> Result<(), Failure> {
    let started = Instant::now();
    let api = resource.objects(&at.case.client, object.namespace.as_deref());
    let mut watch = Watch::start(resource, api.clone(), &Selection::name(&object.name));
    let lost = |lost: super::watch::WatchLost| Failure::from(lost.about(&object.to_string()));

    let before = tokio::time::timeout_at(deadline, watch.synced()).await;
    let Ok(before) = before else {
        return Err(still_there(object, "its watch did not start", started));
    };
    let Some(found) = before.map_err(lost)?.values().next().cloned() else {
        at.case.gone(resource, object).await;
        return match if_absent {
            IfAbsent::Ignore => Ok(()),
            IfAbsent::Fail => Err(absent(object)),
        };
    };
    if !is_meant(at, &found, whose) {
        // Ours is gone, and somebody else's has its name now.
        at.case.gone(resource, object).await;
        return Ok(());
    }
    let uid = found.metadata.uid;
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: uid.clone(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&object.name, &params).await {
        Ok(_) => {}
        // Somebody else was faster, or has put another one there since: as good.
        Err(error) if is_not_found(&error) || is_conflict(&error) => {}
        Err(error) => {
            return Err(api_failure(&format!("to delete {object}"), error).about(object.clone()));
        }
    }
    let gone = async {
        let mut objects = watch.catch_up();
        // One of the same name that came after it is another one.
        while objects?.values().any(|found| found.metadata.uid == uid) {
            objects = watch.changed().await;
        }
        Ok(())
    };
    if let Ok(result) = tokio::time::timeout_at(deadline, gone).await {
        result.map_err(lost)?;
    } else {
        let state = watch.objects().values().next().map_or_else(
            || "unknown".into(),
            |found| match found.metadata.finalizers.as_deref() {
                None | Some([]) => state::describe(found),
                Some(finalizers) => format!("held by {}", finalizers.join(", ")),
            },
        );
        return Err(still_there(object, &state, started));
    }
    at.case.gone(resource, object).await;
    at.events.send(EventKind::ObjectDeleted {
        object: object.clone(),
        took: started.elapsed(),
    });
    Ok(())
}

fn is_meant(at: At<'_, '_>, found: &DynamicObject, whose: &Whose) -> bool {
    let Whose::Ours { uid } = whose else {
        return true;
    };
    let run = found
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(RUN_LABEL));
    run.map(String::as_str) == Some(at.case.run.as_str())
        && (uid.is_none() || found.metadata.uid == *uid)
}

/// The kind a scenario names.
pub(crate) async fn kind_of(at: At<'_, '_>, word: &str) -> Result<Arc<Resource>, Failure> {
    let found = at
        .case
        .catalogue
        .by_word(word)
        .await
        .map_err(|error: Error| Failure::from(error))?;
    found.ok_or_else(|| {
        Failure::new(
            FailureKind::Refused,
            format!("the API serves nothing called `{word}`"),
        )
        .expected(format!("an API that serves `{word}`"))
        .got("an API that does not")
        .look_at("the names it knows: kubectl api-resources")
    })
}

fn absent(object: &ObjectRef) -> Failure {
    Failure::new(
        FailureKind::Expectation,
        format!("{object} cannot be deleted because it does not exist"),
    )
    .expected(format!("{object} exists"))
    .got("it does not")
    .about(object.clone())
}

fn still_there(object: &ObjectRef, state: &str, started: Instant) -> Failure {
    let after = crate::text::seconds(started.elapsed());
    Failure::new(
        FailureKind::Timeout,
        format!("{object} is still there after {after}"),
    )
    .expected(format!("{object} is gone"))
    .got(state)
    .about(object.clone())
    .look_at(describe_command(object))
}
