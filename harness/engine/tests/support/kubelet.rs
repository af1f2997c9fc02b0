//! Stands in for the kubelet: gives pods a status by what their annotation `test/becomes` says.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

/// Starts it and returns once it sees pods.
pub async fn start(client: Client) -> AbortOnDropHandle<()> {
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move {
        let mut ready = Some(ready);
        let pods: Api<Pod> = Api::all(client.clone());
        let mut changes = watcher(pods, watcher::Config::default()).boxed();
        while let Some(Ok(change)) = changes.next().await {
            match change {
                watcher::Event::InitDone => drop(ready.take().map(|ready| ready.send(()))),
                watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                    sync(&client, &pod).await;
                }
                watcher::Event::Delete(_) | watcher::Event::Init => {}
            }
        }
    });
    is_ready.await.expect("the watch stands");
    AbortOnDropHandle::new(task)
}

async fn sync(client: &Client, pod: &Pod) {
    let name = pod.name_any();
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    if pod.metadata.deletion_timestamp.is_some() {
        if pod.finalizers().is_empty() {
            let _ = pods
                .delete(&name, &DeleteParams::default().grace_period(0))
                .await;
        }
        return;
    }
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let touched = pod
        .status
        .as_ref()
        .is_some_and(|status| status.container_statuses.is_some());
    let becomes = pod
        .annotations()
        .get("test/becomes")
        .map_or("ready", String::as_str);
    if touched || phase == Some("Running") {
        start_ephemeral(&pods, pod).await;
        return;
    }
    let waiting = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses": [{"name": "main", "image": "nope:1", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}}}]})
    };
    let status = match becomes {
        "ready" => {
            annotate(&pods, &name).await;
            json!({"phase": "Running", "podIP": "127.0.0.1", "conditions": [condition("True")],
                "containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {}}}]})
        }
        "unready" => json!({"phase": "Running", "conditions": [condition("False")],
            "containerStatuses": [{"name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"running": {}}}]}),
        "creating" => waiting("ContainerCreating", ""),
        "no-image" => waiting("ErrImagePull", "nope:1: not found"),
        "unattached" => {
            warn(client, pod).await;
            waiting("ContainerCreating", "")
        }
        other => panic!("what is {other}?"),
    };
    let patch = json!({"status": status});
    let _ = pods
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
}

/// Ephemeral containers run at once, unless their image is called `nope`.
async fn start_ephemeral(pods: &Api<Pod>, pod: &Pod) {
    let wanted = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.ephemeral_containers.as_ref());
    let told = pod
        .status
        .as_ref()
        .and_then(|status| status.ephemeral_container_statuses.as_ref());
    let (wanted, told) = (wanted.map_or(0, Vec::len), told.map_or(0, Vec::len));
    if wanted == told {
        return;
    }
    let statuses: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|spec| spec.ephemeral_containers.iter().flatten())
        .map(|container| {
            let image = container.image.clone().unwrap_or_default();
            let state = if image == "nope" {
                json!({"waiting": {"reason": "ErrImagePull", "message": "nope: not found"}})
            } else {
                json!({"running": {}})
            };
            json!({"name": container.name, "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": state})
        })
        .collect();
    let patch = json!({"status": {"ephemeralContainerStatuses": statuses}});
    let _ = pods
        .patch_status(
            &pod.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await;
}

fn condition(ready: &str) -> Value {
    json!({"type": "Ready", "status": ready, "lastTransitionTime": "2026-11-21T12:00:00Z"})
}

async fn annotate(pods: &Api<Pod>, name: &str) {
    let status = json!([
        {"name": "ovn-kubernetes", "interface": "eth0", "ips": ["10.244.1.5"], "mac": "0a:58:0a:f4:01:05", "default": true, "dns": {}},
        {"name": "blue/net", "interface": "net1", "ips": ["127.0.0.1"], "mac": "0a:58:7f:00:00:01", "dns": {}},
    ]);
    let patch = json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": status.to_string()}}});
    let _ = pods
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
}

async fn warn(client: &Client, pod: &Pod) {
    let namespace = pod.namespace().unwrap();
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{}.1", pod.name_any()), "namespace": namespace},
        "type": "Warning", "reason": "FailedCreatePodSandBox", "count": 1,
        "message": "Failed to create pod sandbox: plugin type=\"multus\" failed (add): cannot find a network-attachment-definition (nosuch) in namespace (blue)",
        "involvedObject": {"kind": "Pod", "name": pod.name_any(), "namespace": namespace, "uid": pod.uid()},
        "lastTimestamp": "2026-11-21T12:00:00Z",
    });
    let _ = events
        .create(
            &PostParams::default(),
            &serde_json::from_value(event).unwrap(),
        )
        .await;
}
