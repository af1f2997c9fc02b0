//! DataVolumes: claims that are filled before a machine gets them.

mod importer;
pub(super) mod kind;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::context::{Context, Failure, difference, drive, now, precondition};
use super::owner::{is_controlled_by, is_deleted, owner_reference};
use crate::types::{Condition, Conditions};
use kind::{DataVolume, DataVolumeStatus};

const SUCCEEDED: &str = "Succeeded";

pub(super) async fn run(context: Arc<Context>) {
    let client = context.client.clone();
    let all = watcher::Config::default;
    let controller = Controller::new(Api::<DataVolume>::all(client.clone()), all())
        .owns(Api::<PersistentVolumeClaim>::all(client.clone()), all())
        .owns(Api::<Pod>::all(client), all());
    drive(controller, context, reconcile).await;
}

/// What is known of how a volume is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Done,
    Filling,
    Failed,
}

pub(super) fn progress(volume: &DataVolume) -> Progress {
    let status = volume.status.clone().unwrap_or_default();
    if status.phase.as_deref() == Some(SUCCEEDED) {
        return Progress::Done;
    }
    let running = status.conditions.find("Running");
    let reason = running.and_then(|c| c.reason.as_deref());
    if matches!(reason, Some("Error" | "ImagePullFailed")) {
        Progress::Failed
    } else {
        Progress::Filling
    }
}

async fn reconcile(volume: Arc<DataVolume>, context: Arc<Context>) -> Result<Action, Failure> {
    let namespace = volume.namespace();
    let api: Api<DataVolume> = context.api(namespace.as_deref());
    let Some(volume) = api.get_opt(&volume.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if is_deleted(&volume) || progress(&volume) == Progress::Done {
        return Ok(Action::await_change());
    }
    let pods: Api<Pod> = context.api(namespace.as_deref());
    let name = importer::name(&volume);
    let status = match claim(&context, &volume).await? {
        Some(trouble) => failed("Pending", "Error", &trouble),
        None => match importer::pod(&volume, &context.config.launcher_image) {
            Err(reason) => failed("Pending", "Error", &reason),
            Ok(pod) => {
                let pod = pod?;
                let found = match pods.get_opt(&name).await? {
                    Some(found) => found,
                    None => pods.create(&PostParams::default(), &pod).await?,
                };
                of_importer(&volume, &found)
            }
        },
    };
    let done = status.phase.as_deref() == Some(SUCCEEDED);
    write(&api, &volume, &status).await?;
    if done {
        match pods.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Action::await_change())
}

/// Makes the claim; why it cannot be had, if so.
async fn claim(context: &Context, volume: &DataVolume) -> Result<Option<String>, Failure> {
    let api: Api<PersistentVolumeClaim> = context.api(volume.namespace().as_deref());
    let name = volume.name_any();
    if let Some(claim) = api.get_opt(&name).await? {
        let own = is_controlled_by(&claim, volume);
        return Ok((!own).then(|| format!("the claim {name} exists and belongs to somebody else")));
    }
    let mut spec = volume
        .spec
        .pvc
        .clone()
        .or_else(|| volume.spec.storage.clone());
    if let Some(Value::Object(spec)) = &mut spec {
        let modes = spec.entry("accessModes").or_insert(Value::Null);
        if modes.is_null() {
            *modes = json!(["ReadWriteOnce"]);
        }
    }
    let claim: PersistentVolumeClaim = serde_json::from_value(json!({
        "metadata": {
            "name": name, "labels": {"app": "containerized-data-importer"},
            "ownerReferences": [owner_reference(volume)],
        },
        "spec": spec,
    }))?;
    match api.create(&PostParams::default(), &claim).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code != 409 => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

fn of_importer(volume: &DataVolume, pod: &Pod) -> DataVolumeStatus {
    let status = pod.status.clone().unwrap_or_default();
    let state = status.container_statuses.iter().flatten().next();
    let waiting = state.and_then(|s| s.state.as_ref()?.waiting.clone());
    let ended = state.and_then(|s| {
        let now = s.state.as_ref().and_then(|s| s.terminated.clone());
        now.or_else(|| s.last_state.as_ref()?.terminated.clone())
    });
    let kind = match volume.spec.source.as_ref() {
        Some(source) if source.pvc.is_some() => "Clone",
        _ => "Import",
    };
    if status.phase.as_deref() == Some("Succeeded") {
        return say(SUCCEEDED, "100.0%", false, "Completed", "Import Complete");
    }
    let reason = waiting.as_ref().and_then(|w| w.reason.as_deref());
    if let Some(("ErrImagePull" | "ImagePullBackOff", waiting)) = reason.zip(waiting.as_ref()) {
        let message = waiting.message.clone().unwrap_or_default();
        return failed(&format!("{kind}InProgress"), "ImagePullFailed", &message);
    }
    if let Some(ended) = ended.filter(|e| e.exit_code != 0) {
        let message = ended.message.unwrap_or_default();
        return failed(&format!("{kind}InProgress"), "Error", message.trim());
    }
    let running = status.phase.as_deref() == Some("Running");
    let phase = if running { "InProgress" } else { "Scheduled" };
    let reason = if running { "Pod is running" } else { "Pending" };
    say(&format!("{kind}{phase}"), "N/A", running, reason, "")
}

fn failed(phase: &str, reason: &str, message: &str) -> DataVolumeStatus {
    say(phase, "N/A", false, reason, message)
}

fn say(
    phase: &str,
    progress: &str,
    running: bool,
    reason: &str,
    message: &str,
) -> DataVolumeStatus {
    let condition = |type_: &str, holds: bool, reason: &str, message: &str| Condition {
        type_: type_.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        last_probe_time: None,
        last_transition_time: None,
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    };
    let done = phase == SUCCEEDED;
    DataVolumeStatus {
        phase: Some(phase.to_owned()),
        progress: Some(progress.to_owned()),
        claim_name: None,
        conditions: vec![
            condition("Ready", done, if done { "" } else { "TransferRunning" }, ""),
            condition("Running", running, reason, message),
        ],
    }
}

async fn write(
    api: &Api<DataVolume>,
    volume: &DataVolume,
    status: &DataVolumeStatus,
) -> Result<(), Failure> {
    let before = volume.status.clone().unwrap_or_default();
    let mut after = status.clone();
    after.claim_name = Some(volume.name_any());
    let now = now();
    for condition in &mut after.conditions {
        let known = before.conditions.find(&condition.type_);
        let same = known.filter(|k| k.status == condition.status && k.reason == condition.reason);
        condition.last_transition_time = same.map_or_else(
            || Some(now.clone()),
            |known| known.last_transition_time.clone(),
        );
    }
    let changed = difference(&before, &after)?;
    if changed.is_empty() {
        return Ok(());
    }
    let mut patch = precondition(volume);
    patch["status"] = Value::Object(changed);
    api.patch_status(
        &volume.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await?;
    Ok(())
}
