//! The controller of VirtualMachines: it starts and stops their instances.

mod acts;
mod backoff;
mod disks;
mod instance;
mod printable;
mod revision;
mod status;
mod strategy;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use rand::Rng;
use serde_json::{Value, json};

use super::context::{
    Context, Failure, SyncError, difference, drive, is_observed, mark_observed, now, precondition,
};
use super::data_volume::kind::DataVolume;
use super::owner::{is_controlled_by, is_deleted};
use super::vmi::CONTROLLER_FINALIZER;
use crate::types::{VirtualMachine, VirtualMachineInstance, VmiPhase};
use disks::Disks;
use status::{Done, Restart};
use strategy::Step;

/// Which generation of the machine an instance is.
const GENERATION: &str = "kubevirt.io/vm-generation";
/// After an instance that could not be made or deleted: nothing tells when it could.
const RETRY: Duration = Duration::from_secs(5);

/// What has been asked for in this pass and does not show yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Nothing,
    Start,
    Stop,
}

/// What one pass has brought about.
struct Outcome {
    expected: Expected,
    sync_error: Option<SyncError>,
    restart: Restart,
    /// When to look again, if nothing happens before.
    again: Option<Duration>,
}

impl Outcome {
    fn quiet() -> Self {
        Self {
            expected: Expected::Nothing,
            sync_error: None,
            restart: Restart::Unknown,
            again: None,
        }
    }

    fn failed(reason: &str, message: String) -> Self {
        Self {
            sync_error: Some(SyncError {
                reason: reason.to_owned(),
                message,
            }),
            again: Some(RETRY),
            ..Self::quiet()
        }
    }
}

pub(super) async fn run(context: Arc<Context>) {
    let client = context.client.clone();
    let controller = Controller::new(
        Api::<VirtualMachine>::all(client.clone()),
        watcher::Config::default(),
    );
    let machines = controller.store();
    let controller = controller
        .owns(
            Api::<VirtualMachineInstance>::all(client.clone()),
            watcher::Config::default(),
        )
        .owns(
            Api::<DataVolume>::all(client.clone()),
            watcher::Config::default(),
        )
        .watches(
            Api::<PersistentVolumeClaim>::all(client),
            watcher::Config::default(),
            move |claim| {
                let machines = machines.state();
                let concerned = machines.into_iter().filter(|vm| disks::uses(vm, &claim));
                concerned
                    .map(|vm| ObjectRef::from_obj(&*vm))
                    .collect::<Vec<_>>()
            },
        );
    drive(controller, context, reconcile).await;
}

async fn reconcile(vm: Arc<VirtualMachine>, context: Arc<Context>) -> Result<Action, Failure> {
    let api: Api<VirtualMachine> = context.api(vm.namespace().as_deref());
    let Some(vm) = api.get_opt(&vm.name_any()).await? else {
        return Ok(Action::await_change());
    };
    if !is_observed(&vm) {
        mark_observed(&api, &vm).await?;
        return Ok(Action::await_change());
    }
    let claims = disks::claims(&context, &vm).await?;
    let snapshots = disks::snapshots(&vm, &claims);
    let vm = note_snapshots(&api, vm, snapshots).await?;
    let vmi = instance(&context, &vm).await?;
    if is_deleted(&vm) && vmi.is_none() {
        set_finalizer(&api, &vm, false).await?;
        return Ok(Action::await_change());
    }
    let mut vm = vm;
    if !is_deleted(&vm) {
        vm = set_finalizer(&api, &vm, true).await?;
    }
    let vmi = match vmi {
        Some(vmi) => Some(follow_generation(&context, &vm, vmi).await?),
        None => None,
    };
    templates::create(&context, &vm).await?;
    let volumes = disks::data_volumes(&context, &vm).await?;
    let now = now();
    let outcome = if templates::are_filled(&vm, &volumes) {
        synchronize(&context, &api, &mut vm, vmi.as_ref(), &now).await?
    } else {
        Outcome::quiet()
    };
    let done = Done {
        vmi: vmi.as_ref(),
        expected: outcome.expected,
        sync_error: outcome.sync_error,
        restart: outcome.restart,
        disks: disks::state(&claims, &volumes),
        now: &now,
    };
    let next = status::next(&vm, &done, |range| rand::rng().random_range(0..=range));
    write_status(&api, &vm, &json!(next)).await?;
    if let Some(vmi) = vmi.filter(is_final) {
        release(&context, &vmi).await?;
    }
    Ok(outcome
        .again
        .map_or_else(Action::await_change, Action::requeue))
}

/// The machine's own instance.
async fn instance(
    context: &Context,
    vm: &VirtualMachine,
) -> Result<Option<VirtualMachineInstance>, Failure> {
    let api: Api<VirtualMachineInstance> = context.api(vm.namespace().as_deref());
    let found = api.get_opt(&vm.name_any()).await?;
    Ok(found.filter(|vmi| is_controlled_by(vmi, vm)))
}

fn is_final(vmi: &VirtualMachineInstance) -> bool {
    let phase = vmi.status.as_ref().and_then(|s| s.phase);
    phase.is_some_and(VmiPhase::is_final)
}

async fn note_snapshots(
    api: &Api<VirtualMachine>,
    vm: VirtualMachine,
    snapshots: Vec<crate::types::VolumeSnapshotStatus>,
) -> Result<VirtualMachine, Failure> {
    let known = vm.status.as_ref().map(|s| &s.volume_snapshot_statuses);
    if known.map_or(snapshots.is_empty(), |known| *known == snapshots) {
        return Ok(vm);
    }
    let mut patch = precondition(&vm);
    patch["status"] = json!({"volumeSnapshotStatuses": snapshots});
    let params = PatchParams::default();
    Ok(api
        .patch_status(&vm.name_any(), &params, &Patch::Merge(patch))
        .await?)
}

async fn set_finalizer(
    api: &Api<VirtualMachine>,
    vm: &VirtualMachine,
    wanted: bool,
) -> Result<VirtualMachine, Failure> {
    let mut finalizers = vm.finalizers().to_vec();
    if finalizers.iter().any(|f| f == CONTROLLER_FINALIZER) == wanted {
        return Ok(vm.clone());
    }
    if wanted {
        finalizers.push(CONTROLLER_FINALIZER.to_owned());
    } else {
        finalizers.retain(|f| f != CONTROLLER_FINALIZER);
    }
    let mut patch = precondition(vm);
    patch["metadata"]["finalizers"] = json!(finalizers);
    Ok(api
        .patch(
            &vm.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?)
}

/// An instance whose template has not changed counts as one of the newest generation.
async fn follow_generation(
    context: &Context,
    vm: &VirtualMachine,
    vmi: VirtualMachineInstance,
) -> Result<VirtualMachineInstance, Failure> {
    let generation = vm.metadata.generation.unwrap_or_default().to_string();
    if is_deleted(vm) || vmi.annotations().get(GENERATION) == Some(&generation) {
        return Ok(vmi);
    }
    let then = revision::of(context, &vmi).await?;
    if then.is_none_or(|then| then.template != vm.spec.template) {
        return Ok(vmi);
    }
    let api: Api<VirtualMachineInstance> = context.api(vmi.namespace().as_deref());
    let mut patch = precondition(&vmi);
    patch["metadata"]["annotations"] = json!({GENERATION: generation});
    Ok(api
        .patch(
            &vmi.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?)
}

/// Does what the run strategy wants.
async fn synchronize(
    context: &Context,
    api: &Api<VirtualMachine>,
    vm: &mut VirtualMachine,
    vmi: Option<&VirtualMachineInstance>,
    now: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time,
) -> Result<Outcome, Failure> {
    let then = match vmi {
        Some(vmi) => revision::of(context, vmi).await?,
        None => None,
    };
    if is_deleted(vm) {
        return match vmi.filter(|vmi| !is_deleted(*vmi)) {
            Some(vmi) => acts::stop(context, vm, vmi).await,
            None => Ok(Outcome::quiet()),
        };
    }
    let mut outcome = match (strategy::next(vm, vmi, now), vmi) {
        (Step::Start, None) => acts::start(context, vm).await?,
        (Step::Stop, Some(vmi)) => acts::stop(context, vm, vmi).await?,
        (Step::StopAndStartAgain, Some(vmi)) => {
            let outcome = acts::stop(context, vm, vmi).await?;
            if outcome.sync_error.is_none() {
                *vm = acts::request_start(api, vm).await?;
            }
            outcome
        }
        (Step::Wait(left), _) => Outcome {
            again: Some(left),
            ..Outcome::quiet()
        },
        (Step::RunAlways, _) => {
            acts::run_always(api, vm).await?;
            Outcome::quiet()
        }
        (Step::Nothing | Step::Start | Step::Stop | Step::StopAndStartAgain, _) => Outcome::quiet(),
    };
    outcome.restart = match outcome.expected {
        Expected::Nothing => revision::restart(then.as_ref(), &vm.spec),
        // the next instance is up to date
        Expected::Start | Expected::Stop => Restart::NotRequired,
    };
    Ok(outcome)
}

async fn write_status(
    api: &Api<VirtualMachine>,
    vm: &VirtualMachine,
    next: &Value,
) -> Result<(), Failure> {
    let status = difference(&json!(vm.status.clone().unwrap_or_default()), next)?;
    if status.is_empty() {
        return Ok(());
    }
    let mut patch = precondition(vm);
    patch["status"] = Value::Object(status);
    api.patch_status(
        &vm.name_any(),
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await?;
    Ok(())
}

/// Lets an instance go whose end has been noted.
async fn release(context: &Context, vmi: &VirtualMachineInstance) -> Result<(), Failure> {
    let mut finalizers = vmi.finalizers().to_vec();
    finalizers.retain(|f| f != CONTROLLER_FINALIZER);
    if finalizers.len() == vmi.finalizers().len() {
        return Ok(());
    }
    let api: Api<VirtualMachineInstance> = context.api(vmi.namespace().as_deref());
    let mut patch = precondition(vmi);
    patch["metadata"]["finalizers"] = json!(finalizers);
    match api
        .patch(
            &vmi.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}
