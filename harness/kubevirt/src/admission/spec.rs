//! Whether a machine's specification is one that KubeVirt takes.

use std::net::IpAddr;

use serde_json::Value;

use super::causes::{Causes, Path};
use super::config::ClusterConfig;
use super::{credentials, disks, live_update, names, network, resources, volumes};
use crate::types::{Probe, VirtualMachineInstanceSpec};

/// Labels that only KubeVirt itself may set.
const RESERVED_LABELS: [&str; 6] = [
    "kubevirt.io/created-by",
    "kubevirt.io/migrationJobUID",
    "kubevirt.io/nodeName",
    "kubevirt.io/migrationTargetNodeName",
    "kubevirt.io/schedulable",
    "kubevirt.io/install-strategy",
];

/// What is common to instances and to the templates of VirtualMachines.
pub(super) fn validate(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    host_names(causes, field, spec);
    resources::validate(causes, field, spec, config);
    processor(causes, field, spec);
    start_strategy(causes, field, spec);
    network::validate(causes, field, spec, config);
    disks::order(
        causes,
        field,
        spec,
        config.gate("DeclarativeHotplugVolumes"),
    );
    inputs(causes, field, spec);
    probes(causes, field, spec);
    disks::validate(causes, field, &spec.domain.devices.disks);
    boot(causes, &field.child("domain"), spec);
    volumes::validate(causes, field, spec, config);
    credentials::validate(causes, &field.child("accessCredentials"), spec);
    dns(causes, field, spec);
    gates(causes, field, spec, config);
}

pub(super) fn reserved_labels(
    labels: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut reserved: Vec<_> = labels
        .into_iter()
        .filter(|(name, _)| RESERVED_LABELS.contains(&name.as_str()))
        .collect();
    reserved.sort();
    reserved
}

fn host_names(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    for (name, value, rules, errors) in [
        (
            "hostname",
            &spec.hostname,
            "DNS_LABEL",
            names::label as fn(&str) -> Vec<String>,
        ),
        (
            "subdomain",
            &spec.subdomain,
            "DNS_SUBDOMAIN",
            names::subdomain,
        ),
    ] {
        let value = value.as_deref().unwrap_or_default();
        let errors = if value.is_empty() {
            Vec::new()
        } else {
            errors(value)
        };
        if !errors.is_empty() {
            let path = field.child(name);
            causes.invalid(
                &path,
                format!(
                    "{path} does not conform to the kubernetes {rules} rules : {}",
                    errors.join(", ")
                ),
            );
        }
    }
}

fn processor(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let Some(cpu) = &spec.domain.cpu else { return };
    let field_cpu = field.child("domain.cpu");
    if cpu.isolate_emulator_thread && !cpu.dedicated_cpu_placement {
        causes.invalid(
            &field_cpu.child("isolateEmulatorThread"),
            "IsolateEmulatorThread should be only set in combination with DedicatedCPUPlacement",
        );
    }
    for (index, feature) in cpu.features.iter().enumerate() {
        let policy = feature.policy.as_deref().unwrap_or_default();
        if !["", "force", "require", "optional", "disable", "forbid"].contains(&policy) {
            causes.unsupported(
                &field_cpu.child("features").index(index).child("policy"),
                format!(
                    "CPU feature {} uses policy {policy} that is not supported.",
                    feature.name
                ),
            );
        }
    }
    live_update::sockets(causes, field, &spec.domain);
}

fn start_strategy(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let path = field.child("startStrategy");
    match spec.start_strategy.as_deref() {
        Some("Paused") if spec.liveness_probe.is_some() => causes.invalid(
            &path,
            format!(
                "either {path} or {} should be provided.Pausing VMI with LivenessProbe is not supported",
                field.child("livenessProbe")
            ),
        ),
        None | Some("Paused") => {}
        Some(other) => {
            causes.invalid(&path, format!("{path} is set with an unrecognized option: {other}"));
        }
    }
}

fn inputs(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let inputs = spec
        .domain
        .devices
        .other
        .get("inputs")
        .and_then(Value::as_array);
    for (index, input) in inputs.into_iter().flatten().enumerate() {
        let path = field.child("domain.devices.inputs").index(index);
        if !["", "virtio", "usb"].contains(&input["bus"].as_str().unwrap_or_default()) {
            causes.invalid(
                &path.child("bus"),
                "Input device can have only virtio or usb bus.",
            );
        }
        if input["type"] != "tablet" {
            causes.invalid(
                &path.child("type"),
                "Input device can have only tablet type.",
            );
        }
    }
}

fn probes(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let probes = [
        ("readinessProbe", &spec.readiness_probe),
        ("livenessProbe", &spec.liveness_probe),
    ]
    .map(|(name, probe)| (field.child(name), probe));
    for (path, probe) in &probes {
        if let Some(probe) = probe {
            probe_kind(causes, path, probe);
        }
    }
    if spec.networks.iter().any(|network| network.pod.is_some()) {
        return;
    }
    for (path, probe) in &probes {
        let Some(probe) = probe else { continue };
        for (name, there) in [
            ("httpGet", probe.http_get.is_some()),
            ("tcpSocket", probe.tcp_socket.is_some()),
        ] {
            if there {
                let path = path.child(name);
                causes.invalid(
                    &path,
                    format!("{path} is only allowed if the Pod Network is attached"),
                );
            }
        }
    }
}

fn probe_kind(causes: &mut Causes, path: &Path, probe: &Probe) {
    let kinds = [
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.exec.is_some(),
        probe.guest_agent_ping.is_some(),
    ];
    match kinds.iter().filter(|there| **there).count() {
        0 => causes.required(
            path,
            format!(
                "either {}, {} or {} must be set if a {path} is specified",
                path.child("tcpSocket"),
                path.child("exec"),
                path.child("httpGet"),
            ),
        ),
        1 => {}
        _ => causes.invalid(path, format!("{path} must have exactly one probe type set")),
    }
}

fn boot(causes: &mut Causes, domain: &Path, spec: &VirtualMachineInstanceSpec) {
    let firmware = spec.domain.firmware.as_ref();
    let loader = firmware.and_then(|firmware| firmware.other.get("bootloader"));
    let path = domain.child("firmware.bootloader");
    let efi = loader.and_then(|loader| loader.get("efi"));
    if efi.is_some() && loader.is_some_and(|loader| loader.get("bios").is_some()) {
        causes.invalid(
            &path,
            format!("{path} has both EFI and BIOS configured, but they are mutually exclusive."),
        );
    }
    let secure = efi.is_some_and(|efi| efi["secureBoot"] != false);
    let features = spec.domain.features.as_ref();
    let smm = features.and_then(|features| features.other.get("smm"));
    if secure && smm.is_none_or(|smm| smm["enabled"] == false) {
        causes.invalid(
            domain,
            format!(
                "{domain} has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled."
            ),
        );
    }
}

fn dns(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    const POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    let policy = spec.dns_policy.as_deref().unwrap_or_default();
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        causes.unsupported(
            &field.child("dnsPolicy"),
            format!(
                "DNSPolicy: {policy} is not supported, valid values: [{} ]",
                POLICIES.join(" ")
            ),
        );
    }
    let servers = spec
        .dns_config
        .as_ref()
        .and_then(|config| config.nameservers.as_ref());
    let none = policy == "None";
    if none && spec.dns_config.is_none() {
        causes.required(
            &field.child("dnsConfig"),
            "must provide `dnsConfig` when `dnsPolicy` is None",
        );
        return;
    }
    let name = Path::new("nameservers");
    if none && servers.is_none_or(Vec::is_empty) {
        causes.required(
            &name,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        );
        return;
    }
    let servers = servers.map(Vec::as_slice).unwrap_or_default();
    if servers.len() > 3 {
        causes.invalid(
            &name,
            format!(
                "must not have more than 3 nameservers: [{}]",
                servers.join(" ")
            ),
        );
    }
    for server in servers
        .iter()
        .filter(|server| server.parse::<IpAddr>().is_err())
    {
        causes.invalid(&name, format!("must be valid IP address: {server}"));
    }
}

/// Parts of a specification that need a feature gate.
fn gates(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    let devices = &spec.domain.devices;
    let device = |name: &str| devices.other.contains_key(name);
    let memory = spec.domain.memory.as_ref();
    for (used, gate, path, message) in [
        (
            device("hostDevices"),
            "HostDevices",
            "HostDevices",
            "Host Devices feature gate is not enabled in kubevirt-config",
        ),
        (
            devices.autoattach_vsock == Some(true),
            "VSOCK",
            "domain.devices.autoattachVSOCK",
            "VSOCK feature gate is not enabled in kubevirt-config",
        ),
        (
            devices
                .disks
                .iter()
                .filter_map(|disk| disk.lun.as_ref())
                .any(|lun| lun.reservation),
            "PersistentReservation",
            "domain.devices.disks.luns.reservation",
            "PersistentReservation feature gate is not enabled in kubevirt-config",
        ),
        (
            device("downwardMetrics"),
            "DownwardMetrics",
            "domain.devices.downwardMetrics",
            "downwardMetrics virtio serial is not allowed: DownwardMetrics feature gate is not enabled",
        ),
        (
            device("video"),
            "VideoConfig",
            "video",
            "Video configuration is specified but the VideoConfig feature gate is not enabled",
        ),
        (
            device("panicDevices"),
            "PanicDevices",
            "domain.devices.panicDevices",
            "Panic Devices feature gate is not enabled in kubevirt-config",
        ),
        (
            spec.domain.other.contains_key("rebootPolicy"),
            "RebootPolicy",
            "domain.rebootPolicy",
            "RebootPolicy is specified but the RebootPolicy feature gate is not enabled",
        ),
        (
            memory.is_some_and(|memory| memory.reserved_overhead.is_some()),
            "ReservedOverheadMemlock",
            "domain.memory.reservedOverhead",
            "Reserved overhead memlock feature gate is not enabled in kubevirt-config",
        ),
    ] {
        if used && !config.gate(gate) {
            causes.invalid(&field.child(path), message);
        }
    }
}
