//! What controllers have in common.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::Selector;
use kube::runtime::controller::{Action, Controller};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::events::{Recorder, Reporter, Severity};

/// What a reconciler works with.
#[derive(Clone)]
pub(super) struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub reporter: Reporter,
}

impl Context {
    pub(super) fn new(client: Client, recorder: Recorder, component: &'static str) -> Arc<Self> {
        Arc::new(Self {
            client,
            recorder,
            reporter: Reporter::component(component),
        })
    }

    pub(super) fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.recorder
            .record(&self.reporter, reference(object), severity, reason, message);
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("{0}")]
    Invalid(String),
}

/// How long a reconciliation rests that lost against another writer.
const CONFLICT: Duration = Duration::from_millis(20);
/// The same for every other failure.
const FAILURE: Duration = Duration::from_secs(1);

/// Runs a controller until it is dropped.
pub(super) async fn drive<K, F>(
    controller: Controller<K>,
    context: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    F: Future<Output = Result<Action, Failure>> + Send + 'static,
{
    controller
        .run(
            reconcile,
            |object: Arc<K>, error: &Failure, _| match error {
                Failure::Api(kube::Error::Api(status)) if status.code == 409 => Action::requeue(CONFLICT),
                // Deleted meanwhile, which the watch is about to tell.
                Failure::Api(kube::Error::Api(status))
                    if status.code == 404
                        && status.details.as_ref().is_some_and(|about| about.name == object.name_any()) =>
                {
                    Action::await_change()
                }
                error => {
                    tracing::warn!(%error, kind = %K::kind(&()), name = object.name_any(), "not reconciled");
                    Action::requeue(FAILURE)
                }
            },
            context,
        )
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, kind = %K::kind(&()), "controller");
            }
        })
        .await;
}

fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// The reference that makes `owner` the controller of something.
pub(super) fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

pub(super) fn controller_of<K: Resource>(object: &K) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|o| o.controller == Some(true))
}

/// Objects in the owner's namespace that the selector matches and that it controls, orphans among them adopted.
pub(super) async fn owned<O, K>(
    client: &Client,
    owner: &O,
    selector: &LabelSelector,
) -> Result<Vec<K>, Failure>
where
    O: Resource<DynamicType = ()>,
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    let api: Api<K> = Api::namespaced(client.clone(), &namespace);
    let selector =
        Selector::try_from(selector.clone()).map_err(|e| Failure::Invalid(e.to_string()))?;
    if selector.selects_all() {
        return Err(Failure::Invalid(
            "an empty selector would select everything".to_owned(),
        ));
    }
    let found = api
        .list(&ListParams::default().labels_from(&selector))
        .await?;
    let uid = owner.meta().uid.as_deref();
    let ending = owner.meta().deletion_timestamp.is_some();
    let mut children = Vec::new();
    for object in found.items {
        match controller_of(&object) {
            Some(o) if Some(o.uid.as_str()) == uid => children.push(object),
            Some(_) => {}
            None if ending || object.meta().deletion_timestamp.is_some() => {}
            None => {
                let patch = json!({"metadata": {
                    "uid": object.meta().uid,
                    "ownerReferences": [owner_reference(owner)],
                }});
                children.push(
                    api.patch(
                        &object.name_any(),
                        &PatchParams::default(),
                        &Patch::Merge(patch),
                    )
                    .await?,
                );
            }
        }
    }
    children.sort_by_key(|o| (o.meta().creation_timestamp.clone(), o.name_any()));
    Ok(children)
}

/// Writes a status if it differs from the one that is there.
pub(super) async fn write_status<K, S>(
    client: &Client,
    object: &K,
    before: Option<&S>,
    after: &S,
) -> Result<(), Failure>
where
    S: serde::Serialize,
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let (before, mut after) = (value(before), value(Some(after)));
    if before == after {
        return Ok(());
    }
    // a merge patch keeps what it does not mention
    if let (Value::Object(before), Value::Object(after)) = (&before, &mut after) {
        for key in before.keys() {
            after.entry(key.clone()).or_insert(Value::Null);
        }
    }
    let api: Api<K> = Api::namespaced(
        client.clone(),
        &object.meta().namespace.clone().unwrap_or_default(),
    );
    let patch = json!({"metadata": {"uid": object.meta().uid}, "status": after});
    api.patch_status(
        &object.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await?;
    Ok(())
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

pub(super) fn is_deleted<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

pub(super) fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == Some("Succeeded")
}

pub(super) fn has_failed(pod: &Pod) -> bool {
    phase(pod) == Some("Failed")
}

/// Neither ended nor ending.
pub(super) fn is_active(pod: &Pod) -> bool {
    !has_succeeded(pod) && !has_failed(pod) && !is_deleted(pod)
}

/// Since when the pod is ready.
pub(super) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Ready" && c.status == "True")
        .map(|c| {
            c.last_transition_time
                .as_ref()
                .map_or(Timestamp::UNIX_EPOCH, |t| t.0)
        })
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    ready_since(pod).is_some()
}

/// Ready for long enough.
pub(super) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| {
        now.duration_since(since) >= SignedDuration::from_secs(min_ready_seconds.into())
    })
}

/// When to look again at pods that are ready but not yet available.
pub(super) fn availability_action(pods: &[Pod], min_ready_seconds: i32, now: Timestamp) -> Action {
    let waiting = pods
        .iter()
        .filter(|p| is_ready(p) && !is_available(p, min_ready_seconds, now))
        .filter_map(ready_since)
        .min();
    match waiting {
        Some(since) => {
            let left =
                SignedDuration::from_secs(min_ready_seconds.into()) - now.duration_since(since);
            Action::requeue(
                Duration::try_from(left).unwrap_or_default() + Duration::from_millis(10),
            )
        }
        None => Action::await_change(),
    }
}

pub(super) fn count<T>(items: impl IntoIterator<Item = T>) -> i32 {
    i32::try_from(items.into_iter().count()).unwrap_or(i32::MAX)
}

/// As a JSON value; what cannot be written cannot have been read.
fn value<T: serde::Serialize>(object: Option<&T>) -> Value {
    object
        .and_then(|o| serde_json::to_value(o).ok())
        .unwrap_or_else(|| json!({}))
}
