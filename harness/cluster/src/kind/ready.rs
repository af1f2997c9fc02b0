//! Waits by watching until an object is ready, and says what it still lacks.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{StreamExt, future::try_join_all};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::component::Ready;

/// What an object, or all of a kind, still lacks; `None` when it is ready.
pub(super) type Lacks = Option<String>;

/// Objects by their names.
pub(super) type Objects = BTreeMap<String, DynamicObject>;

/// Waits for all of them, side by side; says what the first one lacked when the deadline passed.
pub(super) async fn all(client: &Client, ready: &[Ready], deadline: Instant) -> Result<(), String> {
    try_join_all(ready.iter().map(|one| wait(client, one, deadline)))
        .await
        .map(drop)
}

async fn wait(client: &Client, ready: &Ready, deadline: Instant) -> Result<(), String> {
    let last = Arc::new(Mutex::new("nothing was seen of it".to_owned()));
    let seen = Arc::clone(&last);
    let watching = until(
        api(client, ready),
        field(ready),
        move |objects| match judge(ready, objects) {
            None => Some(()),
            Some(lacks) => {
                *seen.lock().unwrap_or_else(PoisonError::into_inner) = lacks;
                None
            }
        },
    );
    timeout_at(deadline, watching).await.map_err(|_| {
        let lacks = last.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{ready} did not become ready in time: {lacks}")
    })
}

/// Whether it is ready at this moment.
pub(super) async fn now(client: &Client, ready: &Ready) -> Result<Lacks, kube::Error> {
    let api = api(client, ready);
    let mut objects = Objects::new();
    match &ready.name {
        Some(name) => {
            if let Some(object) = api.get_opt(name).await.or_else(absent_kind)? {
                objects.insert(name.clone(), object);
            }
        }
        None => {
            for object in api.list(&kube::api::ListParams::default()).await?.items {
                objects.insert(object.name_any(), object);
            }
        }
    }
    Ok(judge(ready, &objects))
}

/// A kind that the server does not know has no objects.
fn absent_kind(error: kube::Error) -> Result<Option<DynamicObject>, kube::Error> {
    match &error {
        kube::Error::Api(status) if status.code == 404 => Ok(None),
        _ => Err(error),
    }
}

/// Watches until the judge has what it wants. A kind that is not served yet is watched for again.
pub(super) async fn until<T>(
    api: Api<DynamicObject>,
    config: watcher::Config,
    mut judge: impl FnMut(&Objects) -> Option<T>,
) -> T {
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut objects = Objects::new();
    let mut complete = false;
    loop {
        match stream.next().await {
            Some(Ok(watcher::Event::Init)) => {
                objects.clear();
                complete = false;
            }
            Some(Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => {
                objects.insert(object.name_any(), object);
            }
            Some(Ok(watcher::Event::Delete(object))) => {
                objects.remove(&object.name_any());
            }
            Some(Ok(watcher::Event::InitDone)) => complete = true,
            Some(Err(error)) => tracing::debug!("watching goes on after: {error}"),
            // A watcher never ends by itself.
            None => std::future::pending().await,
        }
        if complete && let Some(found) = judge(&objects) {
            return found;
        }
    }
}

pub(super) fn field(ready: &Ready) -> watcher::Config {
    let config = watcher::Config::default();
    match &ready.name {
        Some(name) => config.fields(&format!("metadata.name={name}")),
        None => config,
    }
}

fn api(client: &Client, ready: &Ready) -> Api<DynamicObject> {
    let version = ready.api.as_deref().unwrap_or(match ready.kind.as_str() {
        "Deployment" | "DaemonSet" => "apps/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        _ => "v1",
    });
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &ready.kind));
    match &ready.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn judge(ready: &Ready, objects: &Objects) -> Lacks {
    if objects.is_empty() {
        return Some("it does not exist".into());
    }
    let lacks: Vec<String> = objects
        .iter()
        .filter_map(|(name, object)| {
            let lacks = lacks(ready, object)?;
            Some(match ready.name {
                Some(_) => lacks,
                None => format!("{name}: {lacks}"),
            })
        })
        .collect();
    (!lacks.is_empty()).then(|| lacks.join(", "))
}

fn lacks(ready: &Ready, object: &DynamicObject) -> Lacks {
    let status = &object.data["status"];
    match (ready.kind.as_str(), &ready.condition) {
        (_, Some(condition)) => lacks_condition(status, condition),
        ("Deployment", None) => {
            let wanted = object.data["spec"]["replicas"].as_u64().unwrap_or(1);
            rolled_out(object, "updatedReplicas", "availableReplicas", wanted)
        }
        ("DaemonSet", None) => match status["desiredNumberScheduled"].as_u64() {
            None | Some(0) => Some("no node runs it yet".into()),
            Some(wanted) => rolled_out(object, "updatedNumberScheduled", "numberAvailable", wanted),
        },
        ("CustomResourceDefinition", None) => lacks_condition(status, "Established"),
        (_, None) => lacks_condition(status, "Ready"),
    }
}

fn rolled_out(object: &DynamicObject, updated: &str, available: &str, wanted: u64) -> Lacks {
    let status = &object.data["status"];
    let count = |field: &str| status[field].as_u64().unwrap_or(0);
    let generation = object.metadata.generation.unwrap_or(0);
    if status["observedGeneration"].as_i64().unwrap_or(-1) < generation {
        return Some("its newest version was not looked at yet".into());
    }
    let done = count(updated).min(count(available));
    (done < wanted).then(|| format!("{done} of {wanted} pods are up to date and available"))
}

fn lacks_condition(status: &Value, name: &str) -> Lacks {
    let condition = status["conditions"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["type"] == name));
    let Some(condition) = condition else {
        return Some(format!("it has no condition {name}"));
    };
    let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    if text("status") == "True" {
        return None;
    }
    let why = [text("reason"), text("message")].join(": ");
    Some(format!(
        "{name} is {} ({})",
        text("status"),
        why.trim_matches([':', ' '])
    ))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn ready(kind: &str, condition: Option<&str>) -> Ready {
        Ready {
            kind: kind.into(),
            api: None,
            namespace: None,
            name: Some("it".into()),
            condition: condition.map(Into::into),
        }
    }

    fn object(data: Value) -> Objects {
        let whole =
            json!({"apiVersion": "v1", "kind": "It", "metadata": {"name": "it", "generation": 2}});
        let mut object: DynamicObject = serde_json::from_value(whole).unwrap();
        object.data = data;
        BTreeMap::from([("it".to_owned(), object)])
    }

    #[rstest]
    #[case("Deployment", None, json!({"spec": {"replicas": 2}, "status": {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}}), None)]
    #[case("Deployment", None, json!({"spec": {"replicas": 2}, "status": {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 1}}), Some("1 of 2 pods are up to date and available"))]
    #[case("Deployment", None, json!({"spec": {"replicas": 1}, "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1}}), Some("its newest version was not looked at yet"))]
    #[case("DaemonSet", None, json!({"status": {"observedGeneration": 2, "desiredNumberScheduled": 0}}), Some("no node runs it yet"))]
    #[case("DaemonSet", None, json!({"status": {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}}), None)]
    #[case("CustomResourceDefinition", None, json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}), None)]
    #[case("Node", None, json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "cni plugin not initialized"}]}}), Some("Ready is False (KubeletNotReady: cni plugin not initialized)"))]
    #[case("KubeVirt", Some("Available"), json!({"status": {}}), Some("it has no condition Available"))]
    #[case("KubeVirt", Some("Available"), json!({"status": {"conditions": [{"type": "Available", "status": "True"}]}}), None)]
    fn each_kind_has_its_rule(
        #[case] kind: &str,
        #[case] condition: Option<&str>,
        #[case] value: Value,
        #[case] lacks: Option<&str>,
    ) {
        assert_eq!(
            judge(&ready(kind, condition), &object(value)).as_deref(),
            lacks
        );
    }

    #[test]
    fn what_is_not_there_is_not_ready() {
        assert_eq!(
            judge(&ready("Deployment", None), &Objects::new()).as_deref(),
            Some("it does not exist")
        );
    }

    #[test]
    fn all_of_a_kind_are_named() {
        let mut every = ready("Node", None);
        every.name = None;
        let objects =
            object(json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}));
        assert_eq!(
            judge(&every, &objects).as_deref(),
            Some("it: Ready is Unknown ()")
        );
    }
}
