//! Whether the disks of a machine are ones it can have.

use super::causes::{Causes, Path};
use super::names;
use crate::types::{Disk, VirtualMachineInstanceSpec};

const LONGEST_SERIAL: usize = 256;

/// `field` is the specification's.
pub(super) fn validate(causes: &mut Causes, field: &Path, disks: &[Disk]) {
    let field = field.child("domain.devices.disks");
    for (index, disk) in disks.iter().enumerate() {
        let path = field.index(index);
        if let Some(other) = disks[..index]
            .iter()
            .position(|other| other.name == disk.name)
        {
            let other = field.index(other);
            causes.invalid(
                &path.child("name"),
                format!("{path} and {other} must not have the same Name."),
            );
        }
        let targets = [
            disk.disk.is_some(),
            disk.lun.is_some(),
            disk.cdrom.is_some(),
        ];
        if targets.iter().filter(|there| **there).count() > 1 {
            causes.invalid(
                &path,
                format!("{path} can only have a single target type defined"),
            );
        }
        pci_address(causes, &field, index, disk);
        if disk.boot_order == Some(0) {
            causes.invalid(
                &path.child("bootOrder"),
                format!("{path} must have a boot order > 0, if supplied"),
            );
        }
        bus(causes, &field, &path, index, disk);
        words(causes, &field, &path, index, disk);
        for error in names::label(&disk.name) {
            causes.invalid(&nested(&field, index).child("name"), error);
        }
    }
}

/// KubeVirt names some fields by a path that has the disks' path twice.
fn nested(field: &Path, index: usize) -> Path {
    field.child("domain.devices.disks").index(index)
}

fn pci_address(causes: &mut Causes, field: &Path, index: usize, disk: &Disk) {
    let Some(target) = &disk.disk else { return };
    let Some(address) = target
        .pci_address
        .as_deref()
        .filter(|address| !address.is_empty())
    else {
        return;
    };
    let path = field.child("domain.devices.disks.disk").index(index);
    let name = path.child("name");
    if target.bus.as_deref() != Some("virtio") {
        causes.invalid(
            &path.child("pciAddress"),
            format!("disk {name} - setting a PCI address is only possible with bus type virtio."),
        );
    }
    if !names::is_pci_address(address) {
        causes.invalid(
            &path.child("pciAddress"),
            format!("disk {name} has malformed PCI address ({address})."),
        );
    }
}

fn bus(causes: &mut Causes, field: &Path, path: &Path, index: usize, disk: &Disk) {
    let (kind, bus) = match disk {
        Disk {
            disk: Some(target), ..
        } => ("disk", target.bus.as_deref()),
        Disk {
            lun: Some(target), ..
        } => ("lun", target.bus.as_deref()),
        Disk {
            cdrom: Some(target),
            ..
        } => ("cdrom", target.bus.as_deref()),
        _ => return,
    };
    let bus = bus.unwrap_or_default();
    let read_only = disk.disk.as_ref().is_some_and(|target| target.read_only);
    let name = path.child(kind).child("bus");
    match bus {
        "" => return,
        "ide" => causes.invalid(&name, "IDE bus is not supported"),
        "virtio" if kind == "cdrom" => {
            causes.invalid(&name, "Bus type virtio is invalid for CD-ROM device");
        }
        "sata" if read_only => {
            causes.invalid(&name, "sata hard-disks do not support read-only.");
        }
        "virtio" | "sata" | "scsi" | "usb" => {}
        other => causes.invalid(
            &name,
            format!(
                "{path} is set with an unrecognized bus {other}, must be one of: [virtio scsi sata usb]"
            ),
        ),
    }
    if disk.dedicated_io_thread == Some(true) && bus != "virtio" {
        causes.unsupported(
            &nested(field, index),
            format!("IOThreads are not supported for disks on a {bus} bus"),
        );
    }
}

fn words(causes: &mut Causes, field: &Path, path: &Path, index: usize, disk: &Disk) {
    let serial = disk.serial.as_deref().unwrap_or_default();
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
    if !serial.chars().all(letter) {
        causes.invalid(
            &path.child("serial"),
            format!(
                "{path} must be made up of the following characters [A-Za-z0-9_.+-], if specified"
            ),
        );
    }
    if serial.chars().count() > LONGEST_SERIAL {
        causes.invalid(
            &path.child("serial"),
            format!(
                "{path} must be less than or equal to {LONGEST_SERIAL} in length, if specified"
            ),
        );
    }
    let cache = disk.cache.as_deref().unwrap_or_default();
    if !["", "none", "writethrough", "writeback"].contains(&cache) {
        let name = path.child("cache");
        causes.invalid(&name, format!("{name} has invalid value {cache}"));
    }
    if !["", "native", "threads"].contains(&disk.io.as_deref().unwrap_or_default()) {
        causes.unsupported(
            &nested(field, index).child("io"),
            format!(
                "Disk IO mode for {field} is not supported. Supported modes are: native, threads."
            ),
        );
    }
    let policy = disk
        .other
        .get("errorPolicy")
        .and_then(|policy| policy.as_str());
    if let Some(policy) = policy
        && !["stop", "ignore", "report", "enospace"].contains(&policy)
    {
        let name = path.child("errorPolicy");
        causes.invalid(&name, format!("{name} has invalid value {policy:?}"));
    }
}

/// Whether disks and volumes belong together, and in which order the machine boots from them.
pub(super) fn order(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    empty_cdroms: bool,
) {
    let mut orders = Vec::new();
    for (index, disk) in spec.domain.devices.disks.iter().enumerate() {
        let path = field.child("domain.devices.disks").index(index);
        let volume = spec.volumes.iter().find(|volume| volume.name == disk.name);
        match volume {
            None if disk.cdrom.is_none() => causes.invalid(
                &path.child("name"),
                format!("{} '{}' not found.", path.child("Name"), disk.name),
            ),
            None if !empty_cdroms => causes.invalid(
                &path.child("name"),
                "DeclarativeHotplugVolumes feature gate not enabled, cannot define an empty CD-ROM disk",
            ),
            Some(volume)
                if disk.lun.is_some()
                    && volume.persistent_volume_claim.is_none()
                    && volume.data_volume.is_none() =>
            {
                let lun = path.child("lun");
                causes.invalid(
                    &lun,
                    format!("{lun} can only be mapped to a DataVolume or PersistentVolumeClaim volume."),
                );
            }
            _ => {}
        }
        let boot = path.child("bootOrder");
        claim_order(causes, &boot, disk.boot_order, &mut orders);
    }
    for (index, interface) in spec.domain.devices.interfaces.iter().enumerate() {
        if interface.boot_order == Some(0) {
            let path = field.index(index);
            causes.invalid(
                &path.child("bootOrder"),
                format!("{path} must have a boot order > 0, if supplied"),
            );
            continue;
        }
        let boot = field.interface(index).child("bootOrder");
        claim_order(causes, &boot, interface.boot_order, &mut orders);
    }
}

fn claim_order(causes: &mut Causes, field: &Path, order: Option<u64>, taken: &mut Vec<u64>) {
    let Some(order) = order else { return };
    if taken.contains(&order) {
        causes.invalid(
            field,
            format!("Boot order for {field} already set for a different device."),
        );
    }
    taken.push(order);
}
