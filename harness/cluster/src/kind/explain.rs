//! Why a component does not come up: its pods, their events and logs.

use std::fmt::Write;

use futures::{StreamExt, stream::select_all};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
    runtime::{WatchStreamExt, watcher},
};

use crate::{component::Component, docker::last_lines, images::whole};

const EVENTS: usize = 8;
const PODS: usize = 4;
const LOG_LINES: i64 = 8;

/// What the cluster says about a component that is not ready. Best effort: a cluster that does not answer says nothing.
pub(super) async fn findings(client: &Client, component: &Component) -> Vec<String> {
    let mut findings = Vec::new();
    for namespace in component.namespaces() {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let Ok(all) = pods.list(&ListParams::default()).await else {
            continue;
        };
        let troubled: Vec<&Pod> = all
            .items
            .iter()
            .filter(|pod| concerns(component, pod) && !is_well(pod))
            .take(PODS)
            .collect();
        for pod in &troubled {
            findings.push(describe(pod));
            findings.extend(log(&pods, pod).await);
        }
        let names: Vec<String> = troubled.iter().map(|pod| pod.name_any()).collect();
        findings.extend(events(client, namespace, component, &names).await);
    }
    findings
}

/// In a namespace of everybody only those pods that run one of its images.
fn concerns(component: &Component, pod: &Pod) -> bool {
    if pod.namespace().as_deref() != Some("kube-system") {
        return true;
    }
    let runs = |reference: &str| {
        component
            .images
            .iter()
            .any(|image| whole(&image.reference) == whole(reference))
    };
    // A component without images of its own waits for what is there, such as coredns.
    component.images.is_empty()
        || pod.spec.as_ref().is_some_and(|spec| {
            spec.containers
                .iter()
                .any(|container| container.image.as_deref().is_some_and(runs))
        })
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

fn is_well(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let ready = status
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|all| {
            all.iter()
                .any(|one| one.type_ == "Ready" && one.status == "True")
        });
    ready || status.and_then(|status| status.phase.as_deref()) == Some("Succeeded")
}

fn describe(pod: &Pod) -> String {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.clone())
        .unwrap_or_default();
    let mut text = format!("pod {}: {phase}", pod.name_any());
    for status in statuses(pod).filter(|status| !status.ready) {
        let state = status.state.as_ref();
        if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
            let reason = waiting.reason.clone().unwrap_or_default();
            let message = waiting.message.clone().unwrap_or_default();
            let _ = write!(text, "; {} waits: {reason} {message}", status.name);
        } else if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            let _ = write!(text, "; {} ended with {}", status.name, ended.exit_code);
        }
    }
    text.trim_end().to_owned()
}

async fn log(pods: &Api<Pod>, pod: &Pod) -> Vec<String> {
    let mut lines = Vec::new();
    for status in statuses(pod).filter(|status| !status.ready) {
        let text = last_words(pods, &pod.name_any(), status).await;
        lines.extend(
            text.lines()
                .map(|line| format!("  {}| {line}", status.name)),
        );
    }
    lines
}

/// Of a container that was started again, what the one before it said; that may be gone, and then what this one says.
async fn last_words(pods: &Api<Pod>, pod: &str, status: &ContainerStatus) -> String {
    let runs = status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some());
    let started_again = runs && status.restart_count > 0;
    for previous in [started_again, !started_again] {
        let parameters = LogParams {
            container: Some(status.name.clone()),
            tail_lines: Some(LOG_LINES),
            previous,
            ..LogParams::default()
        };
        let Ok(text) = pods.logs(pod, &parameters).await else {
            continue;
        };
        // The kubelet says so in place of the log, with status 200.
        if !text.trim().is_empty() && !text.starts_with("unable to retrieve container logs") {
            return last_lines(text.trim(), usize::try_from(LOG_LINES).unwrap_or(8));
        }
    }
    String::new()
}

async fn events(
    client: &Client,
    namespace: &str,
    component: &Component,
    pods: &[String],
) -> Vec<String> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let parameters = ListParams::default().fields("type=Warning");
    let Ok(mut events) = api.list(&parameters).await else {
        return Vec::new();
    };
    let its_own: Vec<&str> = component
        .ready
        .iter()
        .filter_map(|ready| ready.name.as_deref())
        .collect();
    events.items.retain(|event| {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        namespace != "kube-system"
            || its_own.contains(&about)
            || pods.iter().any(|pod| pod == about)
    });
    events
        .items
        .sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
    let from = events.items.len().saturating_sub(EVENTS);
    events.items[from..]
        .iter()
        .map(|event| {
            format!(
                "event {}/{}: {} {}",
                event
                    .involved_object
                    .kind
                    .as_deref()
                    .unwrap_or_default()
                    .to_lowercase(),
                event.involved_object.name.as_deref().unwrap_or_default(),
                event.reason.as_deref().unwrap_or_default(),
                event.message.as_deref().unwrap_or_default().trim()
            )
        })
        .collect()
}

/// Returns when a pod of the component can never start, and why. Without a registry a failed pull is such a case.
pub(super) async fn doomed(client: &Client, component: &Component, air_gap: bool) -> String {
    let watches = component.namespaces().into_iter().map(|namespace| {
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        watcher(pods, watcher::Config::default())
            .default_backoff()
            .applied_objects()
            .boxed()
    });
    let mut pods = select_all(watches);
    while let Some(pod) = pods.next().await {
        let Ok(pod) = pod else { continue };
        if concerns(component, &pod)
            && let Some(why) = never(&pod, air_gap)
        {
            return why;
        }
    }
    std::future::pending().await
}

fn never(pod: &Pod, air_gap: bool) -> Option<String> {
    statuses(pod).find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref()?;
        let fatal = matches!(reason, "ErrImageNeverPull" | "InvalidImageName")
            || (air_gap && matches!(reason, "ErrImagePull" | "ImagePullBackOff"));
        fatal.then(|| {
            format!(
                "pod {} can never start: {reason} of {}",
                pod.name_any(),
                status.image
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::component::component;

    fn pod(namespace: &str, image: &str, reason: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": namespace},
            "spec": {"containers": [{"name": "c", "image": image}]},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "c", "image": image, "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": "no such image"}},
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn a_failed_pull_is_final_only_without_a_registry() {
        let pulling = pod("a", "x", "ImagePullBackOff");
        assert_eq!(never(&pulling, false), None);
        assert_eq!(
            never(&pulling, true).unwrap(),
            "pod p can never start: ImagePullBackOff of x"
        );
        assert!(never(&pod("a", "x", "ErrImageNeverPull"), false).is_some());
        assert_eq!(never(&pod("a", "x", "ContainerCreating"), true), None);
    }

    #[test]
    fn others_pods_of_a_shared_namespace_do_not_count() {
        let multus = component(&"multus".into()).unwrap();
        assert!(!concerns(
            multus,
            &pod("kube-system", "registry.k8s.io/coredns:v1", "x")
        ));
        assert!(concerns(
            multus,
            &pod(
                "kube-system",
                "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.2.3",
                "x"
            )
        ));
    }

    #[test]
    fn a_pod_is_described_with_its_reason() {
        assert_eq!(
            describe(&pod("a", "x", "ErrImagePull")),
            "pod p: Pending; c waits: ErrImagePull no such image"
        );
    }
}
