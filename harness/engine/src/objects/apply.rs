//! Server-side apply of what manifests say.

use std::{sync::Arc, time::Duration};

use base64::Engine as _;
use kube::{
    api::{DynamicObject, Patch, PatchParams, ValidationDirective},
    core::Status,
};
use serde_json::Value;
use tokio::time::Instant;
use trunkline_scenario::model::{Condition, Scope};

use super::{
    FIELD_MANAGER, RUN_LABEL, SCENARIO_LABEL,
    catalogue::Resource,
    names,
    watch::{SYNC_TIMEOUT, Selection, Watch, WatchLost},
};
use crate::{
    context::At,
    error::{Error, api_message, is_refusal},
    events::{Change, EventKind, Failure, FailureKind, Location, ObjectRef},
    plan::PlannedObject,
    until::condition::{Truth, evaluate},
};

/// Why an object was not applied.
#[derive(Debug)]
pub(crate) enum NotApplied {
    /// The API understood and said no.
    Refused {
        status: Box<Status>,
        failure: Failure,
    },
    Other(Failure),
}

impl NotApplied {
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Refused { failure, .. } | Self::Other(failure) => failure,
        }
    }
}

impl From<Failure> for NotApplied {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<Error> for NotApplied {
    fn from(error: Error) -> Self {
        Self::Other(error.into())
    }
}

/// Applies one object of a manifest.
pub(crate) async fn apply(
    at: At<'_, '_>,
    planned: &PlannedObject<'_>,
    deadline: Instant,
) -> Result<(), NotApplied> {
    let resource = known_kind(at, planned, deadline).await?;
    let mut object: DynamicObject = serde_json::from_value(planned.manifest.value.clone())
        .map_err(|error| {
            Failure::new(
                FailureKind::Refused,
                format!("{} is not a Kubernetes object", planned.location()),
            )
            .expected("metadata as Kubernetes has it")
            .got(error.to_string())
            .manifest(Some(planned.location()))
        })?;
    if object.metadata.name.is_none() {
        let nameless = format!("{} has no name", planned.location());
        return Err(Failure::new(FailureKind::Refused, nameless)
            .expected("`metadata.name`: what is created is known before it exists")
            .got("none")
            .manifest(Some(planned.location()))
            .into());
    }
    object.metadata.namespace = resource
        .namespaced
        .then(|| planned.namespace.unwrap_or("default").to_owned());
    hide_secrets(at, &object);
    put(at, &resource, object, Some(planned.location())).await?;
    if planned.kind == "CustomResourceDefinition"
        && let Some(name) = planned.name
    {
        established(at, &resource, name, deadline).await?;
    }
    Ok(())
}

/// Applies an object, marks it as this run's when it is new, and tells about it.
pub(crate) async fn put(
    at: At<'_, '_>,
    resource: &Arc<Resource>,
    mut object: DynamicObject,
    manifest: Option<Location>,
) -> Result<(), NotApplied> {
    let namespace = object.metadata.namespace.clone();
    let api = resource.objects(&at.case.client, namespace.as_deref());
    let reference = names::reference(&object);
    let refused = |error| not_applied(&reference, manifest.as_ref(), error);

    let before = api.get_opt(&reference.name).await.map_err(refused)?;
    let ours = before.as_ref().is_none_or(|before| {
        before
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(RUN_LABEL))
            .map(String::as_str)
            == Some(at.case.run.as_str())
    });
    // What existed before is changed but not claimed: only what a run created may ever be removed for it.
    if ours {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert(RUN_LABEL.into(), at.case.run.to_string());
        labels.insert(SCENARIO_LABEL.into(), at.case.scenario.name.value.clone());
    }
    if before.is_none() {
        at.case.will_create(resource, &reference).await?;
    }
    let mut params = PatchParams::apply(FIELD_MANAGER).force();
    params.field_validation = Some(ValidationDirective::Strict);
    let patch = Patch::Apply(&object);
    let mut answer = api.patch(&reference.name, &params, &patch).await;
    if let Some(account) = answer.as_ref().err().and_then(missing_account) {
        account_exists(at, namespace.as_deref().unwrap_or_default(), &account).await?;
        answer = api.patch(&reference.name, &params, &patch).await;
    }
    let after = match answer {
        Ok(after) => after,
        Err(error) => {
            if before.is_none() && is_refusal(&error) {
                at.case.gone(resource, &reference).await;
            }
            return Err(refused(error));
        }
    };
    if before.is_none()
        && let Some(uid) = &after.metadata.uid
    {
        at.case.created(resource, &reference, uid).await?;
    }
    let change = match &before {
        None => Change::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Change::Unchanged
        }
        Some(_) => Change::Configured,
    };
    at.case
        .ledger(|ledger| ledger.applied(&after, manifest.clone()));
    at.events.send(EventKind::ObjectApplied {
        object: names::reference(&after),
        change,
        manifest,
    });
    Ok(())
}

fn not_applied(object: &ObjectRef, manifest: Option<&Location>, error: kube::Error) -> NotApplied {
    if !is_refusal(&error) {
        return Error::api(format!("when {object} was applied"), error).into();
    }
    let failure = Failure::new(FailureKind::Refused, format!("the API refuses {object}"))
        .expected(format!("{object} is accepted"))
        .got(api_message(&error))
        .manifest(manifest.cloned())
        .about(object.clone());
    match error {
        kube::Error::Api(status) => NotApplied::Refused { status, failure },
        _ => failure.into(),
    }
}

/// The kind of a manifest. A definition that was applied a moment ago may take a moment to be served.
async fn known_kind(
    at: At<'_, '_>,
    planned: &PlannedObject<'_>,
    deadline: Instant,
) -> Result<Arc<Resource>, NotApplied> {
    const PAUSE: Duration = Duration::from_millis(100);
    let defined = at.case.ledger(|ledger| ledger.has_applied_kind("crd"));
    loop {
        if let Some(resource) = at
            .case
            .catalogue
            .by_kind(planned.api_version, planned.kind)
            .await?
        {
            return Ok(resource);
        }
        // Discovery cannot be watched; asking again is all there is, and only where an answer can be expected.
        if !defined || Instant::now() + PAUSE >= deadline {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    let what = format!("kind {} in version {}", planned.kind, planned.api_version);
    Err(Failure::new(FailureKind::Refused, format!("the API serves no {what}"))
        .expected(format!("an API that serves {what}"))
        .got("an API that does not")
        .manifest(Some(planned.location()))
        .look_at("whether the definition is installed and the version is right: kubectl api-resources")
        .into())
}

/// A definition is usable once the API says so.
async fn established(
    at: At<'_, '_>,
    resource: &Resource,
    name: &str,
    deadline: Instant,
) -> Result<(), NotApplied> {
    let condition = Condition::Is("Established".into());
    let api = resource.objects(&at.case.client, None);
    let mut watch = Watch::start(resource, api, &Selection::name(name));
    let wait = async {
        let mut objects = watch.synced().await;
        loop {
            let object = objects?.values().next();
            if evaluate(&condition, object, &Scope::default()) == Truth::Yes {
                return Ok::<_, WatchLost>(());
            }
            objects = watch.changed().await;
        }
    };
    match tokio::time::timeout_at(deadline, wait).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(lost)) => Err(lost.about(name).into()),
        Err(_) => Err(Failure::new(
            FailureKind::Timeout,
            format!("crd/{name} was not established in time"),
        )
        .expected("the definition is Established")
        .got("it is not")
        .look_at(format!("kubectl describe crd {name}"))
        .into()),
    }
}

/// A fresh namespace gets its service account a moment after it exists, and pods are refused until then.
fn missing_account(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else {
        return None;
    };
    let (_, rest) = status.message.split_once("serviceaccount \"")?;
    let (name, rest) = rest.split_once('"')?;
    (status.code == 403 && rest.contains("not found"))
        .then(|| name.rsplit('/').next().unwrap_or(name).to_owned())
}

async fn account_exists(at: At<'_, '_>, namespace: &str, account: &str) -> Result<(), NotApplied> {
    let Some(resource) = at.case.catalogue.by_kind("v1", "ServiceAccount").await? else {
        return Ok(());
    };
    let api = resource.objects(&at.case.client, Some(namespace));
    let mut watch = Watch::start(&resource, api, &Selection::name(account));
    let wait = async {
        let mut objects = watch.synced().await;
        while objects?.is_empty() {
            objects = watch.changed().await;
        }
        Ok::<_, WatchLost>(())
    };
    // Not an error of its own when it never comes: the next attempt is refused again, with the API's words.
    match tokio::time::timeout(SYNC_TIMEOUT, wait).await {
        Ok(Err(lost)) => Err(lost.about(account).into()),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// What a Secret holds is a secret everywhere.
fn hide_secrets(at: At<'_, '_>, object: &DynamicObject) {
    if object
        .types
        .as_ref()
        .is_none_or(|types| types.kind != "Secret")
    {
        return;
    }
    let values = |field: &str| {
        object
            .data
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|map| map.values())
    };
    for value in values("stringData").filter_map(Value::as_str) {
        at.events.redactor().add(value);
    }
    for value in values("data").filter_map(Value::as_str) {
        at.events.redactor().add(value);
        if let Ok(Ok(text)) = base64::engine::general_purpose::STANDARD
            .decode(value)
            .map(String::from_utf8)
        {
            at.events.redactor().add(text);
        }
    }
}
