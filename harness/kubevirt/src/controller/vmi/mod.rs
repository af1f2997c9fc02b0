//! The controller of VirtualMachineInstances: it makes their pods and follows them until virt-handler takes over.

mod definitions;
mod network;
mod pods;
mod status;
pub(super) mod volumes;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use rand::Rng;
use serde_json::{Value, json};

use super::conditions::PAUSED;
use super::context::{
    Context, Failure, SyncError, difference, drive, is_observed, mark_observed, now, precondition,
};
use super::data_volume::{Progress, kind::DataVolume, progress};
use super::events::Severity;
use super::launcher::{self, CREATED_BY, NODE_NAME, UNPAUSED};
use super::owner::{is_controlled_by, is_deleted};
use crate::types::{KubeVirt, VirtualMachine, VirtualMachineInstance, VmiPhase};
use status::Seen;
use volumes::Found;

/// Removed by this controller when all pods of the machine are gone.
const FINALIZER: &str = "kubevirt.io/foregroundDeleteVirtualMachine";
/// Removed when the VirtualMachine has taken note of how the machine ended.
pub(super) const CONTROLLER_FINALIZER: &str = "kubevirt.io/virtualMachineControllerFinalize";
const PVC_NOT_FOUND: &str = "FailedPvcNotFound";
const CREATE_FAILED: &str = "FailedCreate";
/// QEMU has four to six minutes to come up, as many seconds as the pod drew.
const QEMU_TIMEOUT: std::ops::Range<u32> = 240..360;

pub(super) async fn run(context: Arc<Context>) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<VirtualMachineInstance>::all(client.clone()),
        watcher::Config::default(),
    );
    let machines = controller.store();
    let controller = controller
        .owns(Api::<Pod>::all(client.clone()), watcher::Config::default())
        .watches(
            Api::<PersistentVolumeClaim>::all(client.clone()),
            watcher::Config::default(),
            {
                let machines = machines.clone();
                move |claim| users(&machines, &claim)
            },
        )
        .watches(
            Api::<DataVolume>::all(client.clone()),
            watcher::Config::default(),
            {
                let machines = machines.clone();
                move |volume| users(&machines, &volume)
            },
        );
    let kind = definitions::kind();
    let controller = controller.watches_with(
        Api::<PartialObjectMeta<DynamicObject>>::all_with(client, &kind),
        kind,
        watcher::Config::default(),
        move |definition| definitions::users(&machines, &definition),
    );
    drive(controller, context, reconcile).await;
}

/// The machines with a disk of this claim, or of the DataVolume of that name.
fn users<K: Resource>(
    machines: &Store<VirtualMachineInstance>,
    source: &K,
) -> Vec<ObjectRef<VirtualMachineInstance>> {
    let meta = source.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    machines
        .state()
        .into_iter()
        .filter(|vmi| vmi.metadata.namespace == meta.namespace)
        .filter(|vmi| volumes::claim_names(&vmi.spec).contains(name))
        .map(|vmi| ObjectRef::from_obj(&*vmi))
        .collect()
}

async fn reconcile(
    vmi: Arc<VirtualMachineInstance>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    let api: Api<VirtualMachineInstance> = context.api(vmi.namespace().as_deref());
    let Some(vmi) = api.get_opt(&vmi.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if !is_observed(&vmi) {
        mark_observed(&api, &vmi).await?;
        return Ok(Action::await_change());
    }
    let mut pods = pods_of(&context, &vmi).await?;
    let claims = claims_of(&context, &vmi).await?;
    let sync_error = synchronize(&context, &vmi, &mut pods, &claims).await?;
    let now = now();
    let pod = pods::current(&vmi, &pods);
    if let Some(pod) = pod {
        follow_pause(&context, &vmi, pod, &now).await?;
        follow_labels(&context, &vmi, pod).await?;
    }
    let seen = Seen {
        pods: &pods,
        pod,
        claims: &claims,
        has_owner: !is_final(&vmi) || has_owner(&context, &vmi).await?,
        sync_error,
        now: &now,
    };
    write(&api, &vmi, &status::next(&vmi, &seen)).await?;
    Ok(Action::await_change())
}

async fn pods_of(context: &Context, vmi: &VirtualMachineInstance) -> Result<Vec<Pod>, Failure> {
    let api: Api<Pod> = context.api(vmi.namespace().as_deref());
    let selector = format!("{CREATED_BY}={}", vmi.uid().unwrap_or_default());
    let mut pods = api
        .list(&ListParams::default().labels(&selector))
        .await?
        .items;
    pods.retain(|pod| is_controlled_by(pod, vmi));
    Ok(pods)
}

async fn claims_of(context: &Context, vmi: &VirtualMachineInstance) -> Result<Found, Failure> {
    let api: Api<PersistentVolumeClaim> = context.api(vmi.namespace().as_deref());
    let names: BTreeSet<&str> = volumes::claim_names(&vmi.spec);
    let mut found = Found::new();
    for name in names {
        if let Some(claim) = api.get_opt(name).await? {
            found.insert(name.to_owned(), claim);
        }
    }
    Ok(found)
}

/// Makes or deletes pods. What is made is added to `pods`.
async fn synchronize(
    context: &Context,
    vmi: &VirtualMachineInstance,
    pods: &mut Vec<Pod>,
    claims: &Found,
) -> Result<Option<SyncError>, Failure> {
    if is_deleted(vmi) {
        delete_pods(context, vmi, pods).await?;
        return Ok(None);
    }
    let phase = vmi.status.as_ref().and_then(|s| s.phase);
    let unprocessed = matches!(phase, None | Some(VmiPhase::Pending));
    if !unprocessed || pods::current(vmi, pods).is_some() {
        return Ok(None);
    }
    if let Some(name) = volumes::missing(vmi, claims) {
        let namespace = vmi.namespace().unwrap_or_default();
        let message = format!("PVC {namespace}/{name} does not exist, waiting for it to appear");
        context.event(vmi, Severity::Normal, PVC_NOT_FOUND, message.clone());
        return Ok(Some(SyncError {
            reason: PVC_NOT_FOUND.to_owned(),
            message,
        }));
    }
    if !are_filled(context, vmi).await? {
        return Ok(None);
    }
    if let Some(binding) = unknown_binding(context, vmi).await? {
        let message = format!(
            "failed to render launch manifest: unable to find the network binding plugin '{binding}' in Kubevirt configuration"
        );
        return Ok(Some(SyncError {
            reason: CREATE_FAILED.to_owned(),
            message,
        }));
    }
    if let Some(definition) = definitions::missing(context, vmi).await? {
        let message = format!(
            "failed to render launch manifest: failed to locate network attachment definition {definition}"
        );
        return Ok(Some(SyncError {
            reason: CREATE_FAILED.to_owned(),
            message,
        }));
    }
    create_pod(context, vmi, pods, claims).await
}

/// The disks that are DataVolumes have their content. A claim without a DataVolume has what it has.
async fn are_filled(context: &Context, vmi: &VirtualMachineInstance) -> Result<bool, Failure> {
    let api: Api<DataVolume> = context.api(vmi.namespace().as_deref());
    for source in vmi
        .spec
        .volumes
        .iter()
        .filter_map(|v| v.data_volume.as_ref())
    {
        let found = api.get_opt(&source.name).await?;
        if found.is_some_and(|volume| progress(&volume) != Progress::Done) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn create_pod(
    context: &Context,
    vmi: &VirtualMachineInstance,
    pods: &mut Vec<Pod>,
    claims: &Found,
) -> Result<Option<SyncError>, Failure> {
    let around = launcher::Surroundings {
        image: &context.config.launcher_image,
        pull_policy: &context.config.pull_policy,
        qemu_timeout_seconds: rand::rng().random_range(QEMU_TIMEOUT),
        claims: volumes::block(claims),
    };
    let api: Api<Pod> = context.api(vmi.namespace().as_deref());
    let pod = launcher::pod(vmi, &around);
    match api.create(&PostParams::default(), &pod).await {
        Ok(pod) => {
            let message = format!("Created virtual machine pod {}", pod.name_any());
            context.event(vmi, Severity::Normal, "SuccessfulCreate", message);
            pods.push(pod);
            Ok(None)
        }
        Err(error) => {
            let text = match &error {
                kube::Error::Api(status) => status.message.clone(),
                other => other.to_string(),
            };
            let message = format!("Error creating pod: {text}");
            context.event(vmi, Severity::Warning, CREATE_FAILED, message);
            Ok(Some(SyncError {
                reason: CREATE_FAILED.to_owned(),
                message: format!("failed to create virtual machine pod: {text}"),
            }))
        }
    }
}

async fn delete_pods(
    context: &Context,
    vmi: &VirtualMachineInstance,
    pods: &[Pod],
) -> Result<(), Failure> {
    let api: Api<Pod> = context.api(vmi.namespace().as_deref());
    for pod in pods {
        if is_deleted(pod) && !pods::has_ended(pod) {
            continue;
        }
        let name = pod.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let message = format!("Failed to delete virtual machine pod {name}");
                context.event(vmi, Severity::Warning, "FailedDelete", message);
                return Err(error.into());
            }
        }
        let message = format!("Deleted virtual machine pod {name}");
        context.event(vmi, Severity::Normal, "SuccessfulDelete", message);
    }
    Ok(())
}

/// A binding that nobody has registered.
async fn unknown_binding(
    context: &Context,
    vmi: &VirtualMachineInstance,
) -> Result<Option<String>, Failure> {
    let interfaces = &vmi.spec.domain.devices.interfaces;
    let mut bindings: Vec<&str> = Vec::new();
    bindings.extend(
        interfaces
            .iter()
            .flat_map(|i| &i.binding)
            .map(|b| b.name.as_str()),
    );
    if bindings.is_empty() {
        return Ok(None);
    }
    let api: Api<KubeVirt> = context.api(Some(&context.config.namespace));
    for installed in api.list(&ListParams::default()).await? {
        if let Some(network) = installed.spec.configuration.network {
            bindings.retain(|name| !network.binding.contains_key(*name));
        }
    }
    Ok(bindings.first().map(|name| (*name).to_owned()))
}

fn is_final(vmi: &VirtualMachineInstance) -> bool {
    let phase = vmi.status.as_ref().and_then(|s| s.phase);
    phase.is_some_and(VmiPhase::is_final)
}

/// Whether the VirtualMachine that made this one still exists.
async fn has_owner(context: &Context, vmi: &VirtualMachineInstance) -> Result<bool, Failure> {
    let mut owners = vmi.meta().owner_references.iter().flatten();
    let Some(owner) = owners.find(|o| o.controller == Some(true) && o.kind == "VirtualMachine")
    else {
        return Ok(false);
    };
    let api: Api<VirtualMachine> = context.api(vmi.namespace().as_deref());
    let found = api.get_opt(&owner.name).await?;
    Ok(found.is_some_and(|vm| vm.uid().as_ref() == Some(&owner.uid)))
}

/// Opens and shuts the pod's readiness gate.
async fn follow_pause(
    context: &Context,
    vmi: &VirtualMachineInstance,
    pod: &Pod,
    now: &Time,
) -> Result<(), Failure> {
    let conditions = vmi.status.iter().flat_map(|status| &status.conditions);
    let paused = conditions
        .filter(|c| c.type_ == PAUSED)
        .any(crate::types::Condition::is_true);
    let gate = pods::condition(pod, UNPAUSED).map(|c| c.status.as_str());
    let (status, reason, message) = match (paused, gate) {
        (true, Some("True")) => ("False", "Paused", "the virtual machine is paused"),
        (false, None | Some("False" | "Unknown")) => {
            ("True", "NotPaused", "the virtual machine is not paused")
        }
        _ => return Ok(()),
    };
    let condition = json!({
        "type": UNPAUSED, "status": status, "reason": reason, "message": message,
        "lastProbeTime": now, "lastTransitionTime": now,
    });
    let patch = json!({"status": {"conditions": [condition]}});
    patch_pod(context, pod, &Patch::Strategic(patch), true).await
}

/// Labels of the machine that its pod carries as well.
async fn follow_labels(
    context: &Context,
    vmi: &VirtualMachineInstance,
    pod: &Pod,
) -> Result<(), Failure> {
    let wanted = vmi.labels().get(NODE_NAME);
    if wanted.is_none() || pod.labels().get(NODE_NAME) == wanted {
        return Ok(());
    }
    let patch = json!({"metadata": {"labels": {NODE_NAME: wanted}}});
    patch_pod(context, pod, &Patch::Merge(patch), false).await
}

async fn patch_pod(
    context: &Context,
    pod: &Pod,
    patch: &Patch<Value>,
    status: bool,
) -> Result<(), Failure> {
    let api: Api<Pod> = context.api(pod.namespace().as_deref());
    let (name, params) = (pod.name_any(), PatchParams::default());
    let patched = if status {
        api.patch_status(&name, &params, patch).await
    } else {
        api.patch(&name, &params, patch).await
    };
    match patched {
        Ok(_) => Ok(()),
        // gone meanwhile, which the watch is about to tell
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn write(
    api: &Api<VirtualMachineInstance>,
    before: &VirtualMachineInstance,
    after: &VirtualMachineInstance,
) -> Result<(), Failure> {
    let status = difference(
        &before.status.clone().unwrap_or_default(),
        &after.status.clone().unwrap_or_default(),
    )?;
    let labels = difference(before.labels(), after.labels())?;
    let mut patch = precondition(before);
    if !status.is_empty() {
        patch["status"] = Value::Object(status);
    }
    if !labels.is_empty() {
        patch["metadata"]["labels"] = Value::Object(labels);
    }
    if before.finalizers() != after.finalizers() {
        patch["metadata"]["finalizers"] = json!(after.finalizers());
    }
    if patch == precondition(before) {
        return Ok(());
    }
    api.patch(
        &before.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await?;
    Ok(())
}
