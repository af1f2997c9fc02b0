//! The namespaces a scenario declares.

use futures::future::try_join_all;
use kube::api::DynamicObject;
use tokio::time::{Instant, timeout_at};
use trunkline_scenario::model::{Namespace, TimeoutKind};

use crate::{
    context::At,
    convert,
    error::Error,
    events::{EventKind, Failure, FailureKind},
    objects::{
        RUN_LABEL,
        apply::put,
        delete::kind_of,
        watch::{Selection, Watch, WatchLost},
    },
};

/// Creates all of them, and refuses those that are somebody else's.
pub(super) async fn create(at: At<'_, '_>) -> Result<(), Failure> {
    let deadline = Instant::now() + at.case.scenario.spec.timeouts.get(TimeoutKind::Delete);
    try_join_all(
        at.case
            .scenario
            .spec
            .namespaces
            .iter()
            .map(|namespace| one(at, namespace, deadline)),
    )
    .await?;
    Ok(())
}

async fn one(at: At<'_, '_>, namespace: &Namespace, deadline: Instant) -> Result<(), Failure> {
    let name = namespace.name.value.as_str();
    let resource = kind_of(at, "namespace").await?;
    let api = resource.objects(&at.case.client, None);
    let existing = api
        .get_opt(name)
        .await
        .map_err(|error| Error::api(format!("whether namespace/{name} exists"), error))?;
    if let Some(existing) = existing {
        if existing.metadata.deletion_timestamp.is_none() {
            return Err(taken(namespace, &existing));
        }
        at.events.progress(format!(
            "namespace/{name} of an earlier run is still being deleted"
        ));
        let mut watch = Watch::start(&resource, api, &Selection::name(name));
        let gone = async {
            let mut objects = watch.synced().await;
            while !objects?.is_empty() {
                objects = watch.changed().await;
            }
            Ok::<_, WatchLost>(())
        };
        match timeout_at(deadline, gone).await {
            Ok(result) => result.map_err(|lost| lost.about(&format!("namespace/{name}")))?,
            Err(_) => return Err(taken(namespace, &existing)),
        }
    }
    let mut object = DynamicObject::new(name, &resource.api);
    object.metadata.labels = Some(namespace.labels.clone().into_iter().collect());
    // An empty rest: an object is a map, not nothing.
    object.data = serde_json::json!({});
    let place = convert::location(&namespace.name.at);
    put(at, &resource, object, Some(place.clone()))
        .await
        .map_err(|error| error.into_failure().at(Some(place)))?;
    at.events.send(EventKind::NamespaceCreated {
        namespace: name.to_owned(),
    });
    Ok(())
}

fn taken(namespace: &Namespace, existing: &DynamicObject) -> Failure {
    let name = namespace.name.value.as_str();
    let run = existing
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(RUN_LABEL));
    let whose = run.map_or_else(
        || "by somebody else".into(),
        |run| format!("by the run {run}"),
    );
    let doing = if existing.metadata.deletion_timestamp.is_some() {
        " and is still being deleted"
    } else {
        ""
    };
    Failure::new(
        FailureKind::Environment,
        format!("namespace/{name} exists already"),
    )
    .expected(format!(
        "no namespace {name}: the scenario creates it and deletes it in the end"
    ))
    .got(format!("it was created {whose}{doing}"))
    .at(Some(convert::location(&namespace.name.at)))
    .look_at(format!(
        "what is in it, and delete it when it is not needed: kubectl delete namespace {name}"
    ))
}
