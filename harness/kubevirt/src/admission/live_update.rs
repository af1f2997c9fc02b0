//! Room for more processors and memory while the machine runs: the roll-out strategy LiveUpdate.

use super::causes::{Causes, Path};
use super::config::ClusterConfig;
use crate::types::{DomainSpec, Quantity, VirtualMachineInstanceSpec};

/// No machine has more processors.
const MAX_VCPUS: u32 = 512;
/// A machine with less cannot be given more.
const LEAST_MEMORY: u64 = 1 << 30;
const ALIGNMENT: u64 = 2 << 20;
const HUGE_ALIGNMENT: u64 = 1 << 30;

pub(super) fn prepare(config: &ClusterConfig, spec: &mut VirtualMachineInstanceSpec) {
    prepare_cpu(config, &mut spec.domain);
    let ratio = u64::from(config.hotplug.ratio);
    let guest = spec
        .domain
        .memory
        .as_ref()
        .and_then(|memory| memory.guest.as_ref());
    let max_guest = config
        .hotplug
        .max_guest
        .clone()
        .or_else(|| Some(Quantity::from_bytes(guest?.whole()?.saturating_mul(ratio))));
    let given = spec
        .domain
        .memory
        .as_ref()
        .is_some_and(|memory| memory.max_guest.is_some());
    if !given
        && check_memory(spec, max_guest.as_ref()).is_ok()
        && let Some(memory) = &mut spec.domain.memory
    {
        memory.max_guest = max_guest;
    }
}

fn prepare_cpu(config: &ClusterConfig, domain: &mut DomainSpec) {
    let Some(cpu) = &mut domain.cpu else { return };
    if cpu.max_sockets == 0 && config.hotplug.max_sockets != 0 {
        cpu.max_sockets = config.hotplug.max_sockets.max(cpu.sockets);
    }
    if cpu.max_sockets == 0 {
        cpu.max_sockets = cpu.sockets.saturating_mul(config.hotplug.ratio);
        let per_socket = cpu.cores.saturating_mul(cpu.threads);
        if cpu.max_sockets.saturating_mul(per_socket) > MAX_VCPUS {
            cpu.max_sockets = (MAX_VCPUS / per_socket).max(cpu.sockets);
        }
    }
}

/// Whether memory can be added up to `max_guest`; if not, why.
fn check_memory(
    spec: &VirtualMachineInstanceSpec,
    max_guest: Option<&Quantity>,
) -> Result<(), String> {
    let domain = &spec.domain;
    let part = |name: &str| domain.cpu.as_ref().and_then(|cpu| cpu.other.get(name));
    if part("realtime").is_some() {
        return Err("Memory hotplug is not compatible with realtime VMs".to_owned());
    }
    if part("numa").is_some_and(|numa| numa.get("guestMappingPassthrough").is_some()) {
        return Err("Memory hotplug is not compatible with guest mapping passthrough".to_owned());
    }
    if domain.other.contains_key("launchSecurity") {
        return Err("Memory hotplug is not compatible with encrypted VMs".to_owned());
    }
    let memory = domain.memory.as_ref();
    let Some(guest) = memory.and_then(|memory| memory.guest.as_ref()) else {
        return Err("Guest memory must be configured when memory hotplug is enabled".to_owned());
    };
    let Some(max_guest) = max_guest else {
        return Err(
            "Max guest memory must be configured when memory hotplug is enabled".to_owned(),
        );
    };
    let (guest, max_guest) = (guest.whole().unwrap_or(0), max_guest.whole().unwrap_or(0));
    if guest > max_guest {
        return Err("Guest memory is greater than the configured maxGuest memory".to_owned());
    }
    let huge = memory
        .and_then(|memory| memory.hugepages.as_ref()?.get("pageSize"))
        .is_some_and(|page| page == "1Gi");
    let alignment = if huge { HUGE_ALIGNMENT } else { ALIGNMENT };
    for (what, bytes) in [("Guest memory", guest), ("MaxGuest", max_guest)] {
        if bytes % alignment != 0 {
            return Err(format!(
                "{what} must be {} aligned",
                Quantity::from_bytes(alignment)
            ));
        }
    }
    if spec.architecture.as_deref() != Some("amd64") {
        return Err("Memory hotplug is only available for x86_64 VMs".to_owned());
    }
    if guest < LEAST_MEMORY {
        return Err(
            "Memory hotplug is only available for VMs with at least 1Gi of guest memory".to_owned(),
        );
    }
    Ok(())
}

/// Of a VirtualMachine: `field` is its `spec`.
pub(super) fn validate(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    if !config.live_update {
        return;
    }
    sockets(causes, &field.child("template.spec"), &spec.domain);
    let max_guest = spec
        .domain
        .memory
        .as_ref()
        .and_then(|memory| memory.max_guest.as_ref());
    if max_guest.is_some()
        && let Err(why) = check_memory(spec, max_guest)
    {
        causes.invalid(&field.child("template.spec.domain.memory.guest"), why);
    }
}

pub(super) fn sockets(causes: &mut Causes, field: &Path, domain: &DomainSpec) {
    let Some(cpu) = &domain.cpu else { return };
    if cpu.max_sockets != 0 && cpu.sockets > cpu.max_sockets {
        causes.invalid(
            &field.child("domain.cpu.sockets"),
            "Number of sockets in CPU topology is greater than the maximum sockets allowed",
        );
    }
}
