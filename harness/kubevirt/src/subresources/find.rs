//! The objects that requests are about.

use std::fmt::Debug;

use kube::Api;
use kube::api::{Patch, PatchParams};
use kubeapi::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Backend;
use super::server::Place;
use crate::MachineRef;
use crate::types::{VirtualMachine, VirtualMachineInstance, VmiPhase};

const GROUP: &str = "kubevirt.io";
const MACHINE: &str = "virtualmachine";
const INSTANCE: &str = "virtualmachineinstance";

/// A VirtualMachine is in a state that forbids it.
pub fn machine_conflict(name: &str, why: &str) -> Status {
    Status::conflict(GROUP, MACHINE, name, why)
}

/// A VirtualMachineInstance is in a state that forbids it.
pub fn instance_conflict(name: &str, why: &str) -> Status {
    Status::conflict(GROUP, INSTANCE, name, why)
}

/// The words of another part of the API.
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// How far an instance is.
pub fn phase(vmi: &VirtualMachineInstance) -> Option<VmiPhase> {
    vmi.status.as_ref().and_then(|status| status.phase)
}

/// Whether an instance has a condition, whatever it says.
pub fn has_condition(vmi: &VirtualMachineInstance, type_: &str) -> bool {
    let conditions = vmi.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|known| known.type_ == type_)
}

pub fn reference(vmi: &VirtualMachineInstance) -> MachineRef {
    let metadata = &vmi.metadata;
    MachineRef {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

impl Backend {
    pub(super) fn machines_in(&self, namespace: &str) -> Api<VirtualMachine> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn instances_in(&self, namespace: &str) -> Api<VirtualMachineInstance> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) async fn machine(&self, place: Place<'_>) -> Result<VirtualMachine, Status> {
        let found = self.machines_in(place.namespace).get(place.name).await;
        found.map_err(|error| not_found(MACHINE, "vm", place.name, &error))
    }

    pub(super) async fn instance(
        &self,
        place: Place<'_>,
    ) -> Result<VirtualMachineInstance, Status> {
        let found = self.instances_in(place.namespace).get(place.name).await;
        found.map_err(|error| not_found(INSTANCE, "vmi", place.name, &error))
    }

    /// The instance, if there is one.
    pub(super) async fn maybe_instance(
        &self,
        place: Place<'_>,
    ) -> Result<Option<VirtualMachineInstance>, Status> {
        let found = self.instances_in(place.namespace).get_opt(place.name).await;
        found.map_err(|error| Status::internal(&message(&error)))
    }

    /// The instance that belongs to a VirtualMachine of this name.
    pub(super) async fn instance_of_machine(
        &self,
        place: Place<'_>,
    ) -> Result<VirtualMachineInstance, Status> {
        let vm = self.machine(place).await?;
        if !vm.status.is_some_and(|status| status.created) {
            return Err(machine_conflict(place.name, "VMI is not started"));
        }
        let vmi = self.instance(place).await?;
        let owners = vmi.metadata.owner_references.iter().flatten();
        let uid = vm.metadata.uid.unwrap_or_default();
        if owners.into_iter().any(|owner| owner.uid == uid) {
            return Ok(vmi);
        }
        Err(Status::internal(&format!(
            "unable to retrieve vmi [{}] for vm: <nil>",
            place.name
        )))
    }

    pub(super) async fn patch_instance(
        &self,
        place: Place<'_>,
        operations: Value,
        dry_run: &[String],
    ) -> Result<(), String> {
        let instances = self.instances_in(place.namespace);
        patch(&instances, place.name, Part::Whole, operations, dry_run).await
    }

    pub(super) async fn patch_machine(
        &self,
        place: Place<'_>,
        operations: Value,
        dry_run: &[String],
    ) -> Result<(), String> {
        let machines = self.machines_in(place.namespace);
        patch(&machines, place.name, Part::Whole, operations, dry_run).await
    }

    pub(super) async fn patch_machine_status(
        &self,
        place: Place<'_>,
        operations: Value,
        dry_run: &[String],
    ) -> Result<(), String> {
        let machines = self.machines_in(place.namespace);
        patch(&machines, place.name, Part::Status, operations, dry_run).await
    }
}

/// Which endpoint of an object is written to.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    Status,
}

/// Patches an object. What goes wrong is told in the words of the API.
async fn patch<K>(
    objects: &Api<K>,
    name: &str,
    part: Part,
    operations: Value,
    dry_run: &[String],
) -> Result<(), String>
where
    K: Clone + Debug + DeserializeOwned,
{
    let patch = json_patch(operations)?;
    let parameters = parameters(dry_run);
    let patched = match part {
        Part::Whole => objects.patch(name, &parameters, &patch).await,
        Part::Status => objects.patch_status(name, &parameters, &patch).await,
    };
    patched.map(drop).map_err(|error| message(&error))
}

fn not_found(resource: &str, short: &str, name: &str, error: &kube::Error) -> Status {
    if missing(error) {
        return Status::not_found(GROUP, resource, name);
    }
    let why = message(error);
    Status::internal(&format!("unable to retrieve {short} [{name}]: {why}"))
}

fn json_patch(operations: Value) -> Result<Patch<()>, String> {
    serde_json::from_value(operations)
        .map(Patch::Json)
        .map_err(|error| error.to_string())
}

/// The manager in managedFields is the program that KubeVirt does this with.
fn parameters(dry_run: &[String]) -> PatchParams {
    PatchParams {
        dry_run: !dry_run.is_empty(),
        field_manager: Some("virt-api".to_owned()),
        ..PatchParams::default()
    }
}
