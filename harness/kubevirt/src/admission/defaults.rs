//! What a VirtualMachineInstance's specification gets where it says nothing.

use serde_json::{Value, json};
use uuid::Uuid;

use super::config::{CPU_REQUEST, ClusterConfig};
use super::live_update;
use crate::types::{
    Cpu, Devices, Disk, DiskTarget, DomainSpec, Empty, Features, Firmware, Interface, Machine,
    Memory, Network, PodNetwork, Probe, Quantity, VirtualMachineInstanceSpec, Volume,
};

/// Defaults that a VirtualMachine's template is checked with as well.
pub(super) fn template(
    config: &ClusterConfig,
    spec: &mut VirtualMachineInstanceSpec,
) -> Result<(), String> {
    architecture(config, spec);
    machine_type(config, spec);
    resource_requests(config, &mut spec.domain);
    guest_memory(&mut spec.domain);
    cpu_topology(&mut spec.domain);
    for volume in &mut spec.volumes {
        pull_policy(volume);
    }
    spec.eviction_strategy
        .get_or_insert(config.eviction_strategy);
    network(config, spec)?;
    disk_of_volume(spec);
    Ok(())
}

/// All defaults of an instance that is created.
pub(super) fn instance(
    config: &ClusterConfig,
    spec: &mut VirtualMachineInstanceSpec,
) -> Result<(), String> {
    template(config, spec)?;
    firmware(&mut spec.domain);
    features(&mut spec.domain);
    for disk in &mut spec.domain.devices.disks {
        disk_target(disk);
    }
    inputs_and_watchdog(&mut spec.domain.devices);
    timers(&mut spec.domain);
    for probe in [&mut spec.readiness_probe, &mut spec.liveness_probe]
        .into_iter()
        .flatten()
    {
        self::probe(probe);
    }
    let cpu = spec.domain.cpu.get_or_insert_default();
    if cpu.model.as_deref().unwrap_or_default().is_empty() {
        cpu.model = Some(
            config
                .cpu_model
                .clone()
                .unwrap_or_else(|| "host-model".to_owned()),
        );
    }
    if config.live_update && spec.architecture.as_deref() != Some("arm64") {
        live_update::prepare(config, spec);
    }
    Ok(())
}

pub(super) fn architecture(config: &ClusterConfig, spec: &mut VirtualMachineInstanceSpec) {
    if spec.architecture.as_deref().unwrap_or_default().is_empty() {
        spec.architecture = Some(config.architecture.clone());
    }
}

pub(super) fn machine_type(config: &ClusterConfig, spec: &mut VirtualMachineInstanceSpec) {
    let architecture = spec.architecture.as_deref().unwrap_or_default();
    let machine = spec.domain.machine.get_or_insert_with(Machine::default);
    if machine.type_.is_empty() {
        config
            .machine_type(architecture)
            .clone_into(&mut machine.type_);
    }
}

/// New identities for a machine that has none.
pub(super) fn identity(domain: &mut DomainSpec) {
    let firmware = domain.firmware.get_or_insert_with(Firmware::default);
    for id in [&mut firmware.uuid, &mut firmware.serial] {
        if id.as_deref().unwrap_or_default().is_empty() {
            *id = Some(Uuid::new_v4().to_string());
        }
    }
}

fn resource_requests(config: &ClusterConfig, domain: &mut DomainSpec) {
    let resources = &mut domain.resources;
    let nonzero =
        |quantity: Option<&Quantity>| quantity.is_some_and(|quantity| quantity.millis() != Some(0));
    if nonzero(resources.limits.get("cpu")) && !nonzero(resources.requests.get("cpu")) {
        let limit = resources.limits["cpu"].clone();
        resources.requests.insert("cpu".to_owned(), limit);
    }
    let dedicated = domain
        .cpu
        .as_ref()
        .is_some_and(|cpu| cpu.dedicated_cpu_placement);
    if config.cpu_request != CPU_REQUEST.into()
        && !dedicated
        && !resources.requests.contains_key("cpu")
    {
        resources
            .requests
            .insert("cpu".to_owned(), config.cpu_request.clone());
    }
}

fn guest_memory(domain: &mut DomainSpec) {
    let resources = &domain.resources;
    let given = |quantity: Option<&Quantity>| {
        quantity
            .filter(|quantity| quantity.whole() != Some(0))
            .cloned()
    };
    let memory = domain.memory.get_or_insert_with(Memory::default);
    if memory.guest.is_some() {
        return;
    }
    memory.guest = given(resources.requests.get("memory"))
        .or_else(|| given(resources.limits.get("memory")))
        .or_else(|| {
            let page = memory.hugepages.as_ref()?.get("pageSize")?.as_str()?;
            Some(Quantity::from(page)).filter(|page| page.millis().is_some())
        });
}

/// What is asked for becomes sockets, which can be added while a machine runs.
fn cpu_topology(domain: &mut DomainSpec) {
    let resources = &domain.resources;
    let asked = resources
        .limits
        .get("cpu")
        .or_else(|| resources.requests.get("cpu"));
    let sockets = asked
        .and_then(Quantity::whole)
        .and_then(|count| u32::try_from(count).ok())
        .unwrap_or(1);
    let cpu = domain.cpu.get_or_insert_with(Cpu::default);
    if (cpu.cores, cpu.sockets, cpu.threads) == (0, 0, 0) {
        (cpu.cores, cpu.sockets, cpu.threads) = (1, sockets, 1);
    }
}

fn pull_policy(volume: &mut Volume) {
    let Some(disk) = &mut volume.container_disk else {
        return;
    };
    if !disk
        .image_pull_policy
        .as_deref()
        .unwrap_or_default()
        .is_empty()
    {
        return;
    }
    let latest = disk.image.ends_with(":latest") || !disk.image.contains([':', '@']);
    disk.image_pull_policy = Some(if latest { "Always" } else { "IfNotPresent" }.to_owned());
}

fn network(config: &ClusterConfig, spec: &mut VirtualMachineInstanceSpec) -> Result<(), String> {
    let devices = &mut spec.domain.devices;
    if devices.autoattach_pod_interface == Some(false)
        || !spec.networks.is_empty()
        || !devices.interfaces.is_empty()
    {
        return Ok(());
    }
    let mut interface = Interface {
        name: "default".to_owned(),
        ..Interface::default()
    };
    match config.default_interface.as_str() {
        "bridge" if !config.bridge_on_pod_network => {
            return Err("bridge interface is not enabled in kubevirt-config".to_owned());
        }
        "bridge" => interface.bridge = Some(Empty {}),
        "masquerade" => interface.masquerade = Some(Empty {}),
        "slirp" => return Err("slirp interface is deprecated as of v1.3".to_owned()),
        _ => {}
    }
    if interface.bridge.is_some() || interface.masquerade.is_some() {
        devices.interfaces.push(interface);
    }
    spec.networks.push(Network {
        name: "default".to_owned(),
        pod: Some(PodNetwork::default()),
        multus: None,
    });
    Ok(())
}

fn disk_of_volume(spec: &mut VirtualMachineInstanceSpec) {
    let devices = &mut spec.domain.devices;
    for volume in &spec.volumes {
        let shared = filesystems(devices).any(|name| name == volume.name);
        if !shared && !devices.disks.iter().any(|disk| disk.name == volume.name) {
            devices.disks.push(Disk {
                name: volume.name.clone(),
                ..Disk::default()
            });
        }
    }
}

/// The names of the shared file systems.
pub(super) fn filesystems(devices: &Devices) -> impl Iterator<Item = &str> {
    devices
        .other
        .get("filesystems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|filesystem| filesystem.get("name")?.as_str())
}

fn firmware(domain: &mut DomainSpec) {
    let firmware = domain.firmware.get_or_insert_with(Firmware::default);
    if firmware.uuid.as_deref().unwrap_or_default().is_empty() {
        firmware.uuid = Some(Uuid::new_v4().to_string());
    }
}

fn features(domain: &mut DomainSpec) {
    let features = domain.features.get_or_insert_with(Features::default);
    features.acpi.enabled.get_or_insert(true);
    for name in ["apic", "smm", "pvspinlock"] {
        if let Some(feature) = features.other.get_mut(name).and_then(Value::as_object_mut) {
            feature.entry("enabled").or_insert(json!(true));
        }
    }
}

/// A disk is a hard disk on a SATA bus unless something else is said.
fn disk_target(disk: &mut Disk) {
    const BUS: &str = "sata";
    if disk.disk.is_none() && disk.cdrom.is_none() && disk.lun.is_none() {
        disk.disk = Some(DiskTarget::default());
    }
    if let Some(cdrom) = &mut disk.cdrom {
        cdrom.read_only.get_or_insert(true);
        cdrom.tray.get_or_insert_with(|| "closed".to_owned());
        cdrom.bus.get_or_insert_with(|| BUS.to_owned());
    }
    if let Some(target) = &mut disk.disk {
        target.bus.get_or_insert_with(|| BUS.to_owned());
    }
    if let Some(lun) = &mut disk.lun {
        lun.bus.get_or_insert_with(|| BUS.to_owned());
    }
}

fn inputs_and_watchdog(devices: &mut Devices) {
    let inputs = devices
        .other
        .get_mut("inputs")
        .and_then(Value::as_array_mut);
    for input in inputs
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        input.entry("bus").or_insert(json!("usb"));
        input.entry("type").or_insert(json!("tablet"));
    }
    if let Some(watchdog) = devices
        .other
        .get_mut("watchdog")
        .and_then(Value::as_object_mut)
    {
        let device = watchdog.entry("i6300esb").or_insert_with(|| json!({}));
        if let Some(device) = device.as_object_mut() {
            device.entry("action").or_insert(json!("reset"));
        }
    }
}

fn timers(domain: &mut DomainSpec) {
    let timer = domain
        .other
        .get_mut("clock")
        .and_then(|clock| clock.get_mut("timer"));
    let timers = timer
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|timer| timer.values_mut());
    for timer in timers.filter_map(Value::as_object_mut) {
        timer.entry("present").or_insert(json!(true));
    }
}

fn probe(probe: &mut Probe) {
    for (value, default) in [
        (&mut probe.timeout_seconds, 1),
        (&mut probe.period_seconds, 10),
        (&mut probe.success_threshold, 1),
        (&mut probe.failure_threshold, 3),
    ] {
        if *value < 1 {
            *value = default;
        }
    }
}
