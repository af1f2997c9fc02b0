//! An ephemeral container beside one that has nothing to hold the agent with: it shares the pod's network, so the
//! answers are the pod's.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    api::{Api, Patch, PatchParams},
    runtime::wait::await_condition,
};
use rand::Rng as _;
use serde_json::json;

use super::{Session, run, upload};
use crate::{
    error::api_message,
    objects::FIELD_MANAGER,
    probes::Place,
    site::{HelperImage, Upload},
    text::seconds,
};

/// What ours are called, so that a later probe finds the one that runs already.
const PREFIX: &str = "trunkline-agent-";

/// Pulling a small image takes seconds, on a slow line many.
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn start(
    pods: &Api<Pod>,
    place: &Place,
    delivery: &Upload,
    helper: &HelperImage,
) -> Result<Session, String> {
    let name = container(pods, place, helper).await?;
    let program = match &helper.agent {
        Some(path) => path.display().to_string(),
        None => upload::write(pods, &place.pod, Some(&name), &delivery.program).await?,
    };
    run(pods, &place.pod, Some(&name), program).await
}

/// The name of a running container of ours in the pod. They cannot be removed from a pod, so there is never more than
/// one that runs.
async fn container(pods: &Api<Pod>, place: &Place, helper: &HelperImage) -> Result<String, String> {
    let pod = pods
        .get(&place.pod)
        .await
        .map_err(|error| api_message(&error))?;
    let running = statuses(&pod)
        .iter()
        .find(|status| status.name.starts_with(PREFIX) && is_running(status));
    if let Some(running) = running {
        return Ok(running.name.clone());
    }
    let number: u32 = rand::rng().random();
    let name = format!("{PREFIX}{number:08x}");
    // Whatever it is, it waits on a standard input to which nobody ever writes.
    let waiting = helper
        .agent
        .as_ref()
        .map_or_else(|| "sh".into(), |path| path.display().to_string());
    let mut container = json!({
        "name": name,
        "image": helper.reference,
        "imagePullPolicy": "IfNotPresent",
        "command": [waiting],
        "stdin": true,
    });
    if let Some(target) = &place.container {
        container["targetContainerName"] = json!(target);
    }
    let patch = json!({"spec": {"ephemeralContainers": [container]}});
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    pods.patch_ephemeral_containers(&place.pod, &params, &Patch::Strategic(patch))
        .await
        .map_err(|error| api_message(&error))?;
    runs(pods, &place.pod, &name).await?;
    Ok(name)
}

/// Waits until the container runs, or for the reason why it never will.
async fn runs(pods: &Api<Pod>, pod: &str, name: &str) -> Result<(), String> {
    let settled = await_condition(pods.clone(), pod, |pod: Option<&Pod>| {
        pod.is_none_or(|pod| {
            let status = status_of(pod, name);
            status.is_some_and(|status| is_running(status) || hopeless(status).is_some())
        })
    });
    let seen = match tokio::time::timeout(PATIENCE, settled).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => return Err(format!("it cannot be watched: {error}")),
        Err(_) => return Err(format!("it does not run after {}", seconds(PATIENCE))),
    };
    let Some(pod) = seen else {
        return Err("the pod is gone".into());
    };
    match status_of(&pod, name).and_then(hopeless) {
        Some(why) => Err(why),
        None => Ok(()),
    }
}

fn statuses(pod: &Pod) -> &[ContainerStatus] {
    pod.status
        .as_ref()
        .and_then(|status| status.ephemeral_container_statuses.as_deref())
        .unwrap_or_default()
}

fn status_of<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    statuses(pod).iter().find(|status| status.name == name)
}

fn is_running(status: &ContainerStatus) -> bool {
    status
        .state
        .as_ref()
        .is_some_and(|state| state.running.is_some())
}

/// Why it will never run.
fn hopeless(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        let words = [ended.reason.as_deref(), ended.message.as_deref()];
        let words: Vec<_> = words.into_iter().flatten().collect();
        return Some(format!(
            "it ended at once with exit code {}: {}",
            ended.exit_code,
            words.join(": ")
        ));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let never = matches!(
        reason,
        "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "CreateContainerError"
            | "CreateContainerConfigError"
            | "RunContainerError"
    );
    never.then(|| match &waiting.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    })
}
