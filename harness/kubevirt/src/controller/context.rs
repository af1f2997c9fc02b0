//! What the reconcilers have in common.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::ControllerConfig;
use super::events::{Recorder, Severity, Source, reference};
use crate::merge_patch;

/// What a reconciler works with.
#[derive(Clone)]
pub(super) struct Context {
    pub client: Client,
    pub recorder: Recorder,
    pub config: ControllerConfig,
    /// Who made this machine's processor, if KubeVirt has a word for it.
    pub vendor: Option<&'static str>,
}

impl Context {
    pub(super) fn api<K>(&self, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace.unwrap_or_default())
    }

    pub(super) fn event<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let source = Source {
            component: "virtualmachine-controller",
            host: None,
        };
        let about = reference(object);
        self.recorder
            .record(&source, about, severity, reason, message);
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("write the object as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What KubeVirt writes into a condition when a step did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyncError {
    pub reason: String,
    pub message: String,
}

/// How long a reconciliation rests that lost against another writer.
const CONFLICT: Duration = Duration::from_millis(10);
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
    let on_error = |object: Arc<K>, error: &Failure, _: Arc<Context>| match error {
        Failure::Api(kube::Error::Api(status)) if status.code == 409 => Action::requeue(CONFLICT),
        // deleted meanwhile, which the watch is about to tell
        Failure::Api(kube::Error::Api(status)) if status.code == 404 => Action::await_change(),
        error => {
            tracing::warn!(%error, kind = %K::kind(&()), name = object.name_any(), "not reconciled");
            Action::requeue(FAILURE)
        }
    };
    controller
        .run(reconcile, on_error, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, kind = %K::kind(&()), "controller");
            }
        })
        .await;
}

/// Now, in the whole seconds that the API keeps.
pub(super) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// KubeVirt marks what it has seen with the version it stores.
const OBSERVED: [&str; 2] = [
    "kubevirt.io/latest-observed-api-version",
    "kubevirt.io/storage-observed-api-version",
];

pub(super) fn is_observed<K: Resource>(object: &K) -> bool {
    let annotations = object.meta().annotations.as_ref();
    OBSERVED
        .iter()
        .all(|key| annotations.and_then(|a| a.get(*key)).map(String::as_str) == Some("v1"))
}

pub(super) async fn mark_observed<K>(api: &Api<K>, object: &K) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let annotations: BTreeMap<_, _> = OBSERVED.map(|key| (key, "v1")).into();
    let mut patch = precondition(object);
    patch["metadata"]["annotations"] = json!(annotations);
    api.patch(
        &object.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await?;
    Ok(())
}

/// A patch that only this version of the object takes.
pub(super) fn precondition<K: Resource>(object: &K) -> Value {
    let meta = object.meta();
    json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}})
}

/// The merge patch between two forms of a map, field by field; a list that differs is replaced.
pub(super) fn difference<T: serde::Serialize>(
    before: &T,
    after: &T,
) -> Result<Map<String, Value>, Failure> {
    let (before, after) = (serde_json::to_value(before)?, serde_json::to_value(after)?);
    let maps = before.is_object() && after.is_object();
    Ok(match merge_patch(&before, &after) {
        Some(Value::Object(patch)) if maps => patch,
        _ => Map::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::difference;

    #[test]
    fn a_patch_says_only_what_changes() {
        let patch =
            |before: Value, after: Value| Value::Object(difference(&before, &after).unwrap());
        assert_eq!(patch(json!({"a": 1}), json!({"a": 1})), json!({}));
        assert_eq!(
            patch(
                json!({"a": {"b": 1, "c": 2}, "d": [1]}),
                json!({"a": {"b": 1}, "d": [1, 2], "e": {}})
            ),
            json!({"a": {"c": null}, "d": [1, 2], "e": {}})
        );
    }
}
