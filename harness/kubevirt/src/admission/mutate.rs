//! What KubeVirt writes into objects when they are created or changed.

use serde_json::{Value, json};

use super::causes::failure;
use super::config::ClusterConfig;
use super::{defaults, words};
use crate::types::{
    CpuTopology, MemoryStatus, PhaseTransition, VirtualMachineInstanceSpec,
    VirtualMachineInstanceStatus, VirtualMachineSpec, VmiPhase,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kubeapi::Status;

const PCI_TOPOLOGY: &str = "kubevirt.io/pci-topology-version";
const FOREGROUND: &str = "kubevirt.io/foregroundDeleteVirtualMachine";
const MIGRATION_FINALIZER: &str = "kubevirt.io/migrationJobFinalize";
pub(super) const MIGRATION_SELECTOR: &str = "kubevirt.io/vmi-name";
/// The user that QEMU runs as.
const RUNTIME_USER: u64 = 107;

/// A VirtualMachine that is created or changed.
///
/// What is no VirtualMachine is handed back as it is: the checks that follow say what is wrong with it.
pub(super) fn virtual_machine(config: &ClusterConfig, mut object: Value, create: bool) -> Value {
    if deleted(&object) || !words::machine(&object["spec"]).is_empty() {
        return object;
    }
    let Ok(mut spec) = serde_json::from_value::<VirtualMachineSpec>(object["spec"].clone()) else {
        return object;
    };
    if object["spec"].get("template").is_none_or(Value::is_null) {
        return object;
    }
    let template = &mut spec.template;
    if create {
        defaults::identity(&mut template.spec.domain);
    }
    defaults::architecture(config, &mut template.spec);
    defaults::machine_type(config, &mut template.spec);
    if create && has_root_ports(&template.spec) {
        let annotations = template.metadata.annotations.get_or_insert_default();
        annotations
            .entry(PCI_TOPOLOGY.to_owned())
            .or_insert_with(|| "v3".to_owned());
    }
    write(&mut object, "spec", &spec);
    object
}

/// A VirtualMachineInstance that is created.
pub(super) fn instance(
    config: &ClusterConfig,
    mut object: Value,
    now: Timestamp,
) -> Result<Value, Status> {
    if !words::instance(&object["spec"]).is_empty() {
        return Ok(object);
    }
    let spec = serde_json::from_value::<VirtualMachineInstanceSpec>(object["spec"].clone());
    let status = object
        .get("status")
        .filter(|status| !status.is_null())
        .cloned();
    let status =
        serde_json::from_value::<VirtualMachineInstanceStatus>(status.unwrap_or_else(|| json!({})));
    let (Ok(mut spec), Ok(mut status)) = (spec, status) else {
        return Ok(object);
    };
    defaults::instance(config, &mut spec).map_err(failure)?;
    describe(&spec, &mut status, config, now);
    if has_root_ports(&spec) {
        let annotations = map(&mut object["metadata"], "annotations");
        annotations.entry(PCI_TOPOLOGY).or_insert(json!("v3"));
    }
    finalize(&mut object["metadata"], FOREGROUND);
    write(&mut object, "spec", &spec);
    write(&mut object, "status", &status);
    Ok(object)
}

/// The first status of an instance.
fn describe(
    spec: &VirtualMachineInstanceSpec,
    status: &mut VirtualMachineInstanceStatus,
    config: &ClusterConfig,
    now: Timestamp,
) {
    let guest = spec
        .domain
        .memory
        .as_ref()
        .and_then(|memory| memory.guest.clone());
    if guest.is_some() {
        status.memory = Some(MemoryStatus {
            guest_at_boot: guest.clone(),
            guest_current: guest.clone(),
            guest_requested: guest,
            memory_overhead: None,
        });
    }
    if let (Some(cpu), None) = (&spec.domain.cpu, &status.current_cpu_topology) {
        status.current_cpu_topology = Some(CpuTopology {
            cores: cpu.cores,
            sockets: cpu.sockets,
            threads: cpu.threads,
        });
    }
    if !config.gate("Root") {
        status.runtime_user = RUNTIME_USER;
    }
    status.phase = Some(VmiPhase::Pending);
    status.phase_transition_timestamps.push(PhaseTransition {
        phase: Some(VmiPhase::Pending),
        phase_transition_timestamp: Some(Time(now)),
    });
}

/// An instance that somebody else than KubeVirt changes: the status is not theirs.
pub(super) fn keep_status(mut object: Value, old: &Value) -> Value {
    match old.get("status") {
        Some(status) => object["status"] = status.clone(),
        None => {
            if let Some(object) = object.as_object_mut() {
                object.remove("status");
            }
        }
    }
    object
}

/// A VirtualMachineInstanceMigration that is created.
pub(super) fn migration(mut object: Value) -> Value {
    let name = object["spec"]["vmiName"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    map(&mut object["metadata"], "labels").insert(MIGRATION_SELECTOR.to_owned(), json!(name));
    finalize(&mut object["metadata"], MIGRATION_FINALIZER);
    object
}

/// Whether devices can be added later to root ports made for them.
fn has_root_ports(spec: &VirtualMachineInstanceSpec) -> bool {
    let architecture = spec.architecture.as_deref().unwrap_or_default();
    let machine = spec
        .domain
        .machine
        .as_ref()
        .map(|machine| machine.type_.as_str());
    matches!(architecture, "amd64" | "arm64" | "")
        && machine.is_none_or(|machine| machine.contains("q35") || machine.starts_with("virt"))
}

pub(super) fn deleted(object: &Value) -> bool {
    object["metadata"]
        .get("deletionTimestamp")
        .is_some_and(|at| !at.is_null())
}

/// A map inside of `parent`, made if it is not there.
fn map<'o>(parent: &'o mut Value, name: &str) -> &'o mut serde_json::Map<String, Value> {
    let entry = &mut parent[name];
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object"),
    }
}

fn finalize(metadata: &mut Value, finalizer: &str) {
    let known = metadata["finalizers"].as_array();
    let mut finalizers = known.cloned().unwrap_or_default();
    // A request may be seen more than once.
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(json!(finalizer));
    }
    metadata["finalizers"] = json!(finalizers);
}

fn write<T: serde::Serialize>(object: &mut Value, name: &str, part: &T) {
    if let Ok(part) = serde_json::to_value(part) {
        object[name] = part;
    }
}
