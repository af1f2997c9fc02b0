//! From what was prepared to the machine that QEMU is to be.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use kube::ResourceExt;
use trunkline_kubevirt::types::{InterfaceState, VirtualMachineInstance};
use trunkline_qemu::{
    Accelerator, Backing, Boot, Bus, Disk, DiskImage, Format, Identity, Machine, Memory, Nic,
    Serial, Socket, Sockets,
};
use trunkline_userland::machine::{GuestImage, MachineImage, Shape, Template};

use super::console;
use super::disks::{Prepared, Source};
use super::files::{Access, Files, OpenError};
use crate::network::Attached;

const KVM: &str = "/dev/kvm";

#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(
        "the machine has no disk to boot from: give it a containerDisk or a claim with a disk image"
    )]
    NoDisk,
}

/// The guest of ours that the machine is started with, if it is one.
pub fn guest(disks: &[Prepared]) -> Option<(usize, &GuestImage)> {
    disks
        .iter()
        .enumerate()
        .find_map(|(at, disk)| match &disk.source {
            Source::Image {
                image: MachineImage::Guest(guest),
                ..
            } => Some((at, guest)),
            _ => None,
        })
}

/// The ends of socket pairs that QEMU gets.
#[derive(Debug)]
pub struct Ends {
    pub monitor: OwnedFd,
    pub agent: OwnedFd,
    pub init: OwnedFd,
}

/// Everything the machine consists of.
pub struct Parts<'a> {
    pub vmi: &'a VirtualMachineInstance,
    pub shape: Shape,
    pub disks: &'a [Prepared],
    pub attached: &'a Attached,
    pub template: Option<&'a Template>,
    pub accelerator: Accelerator,
    pub ends: Ends,
    /// The pod's directory for the serial line, as the pod sees it.
    pub private: PathBuf,
}

/// The machine, the files it needs, and where its template's state is among them.
pub struct Assembled {
    pub machine: Machine,
    pub files: Files,
    pub state: Option<PathBuf>,
}

impl Parts<'_> {
    pub fn assemble(self) -> Result<Assembled, MachineError> {
        let mut files = Files::default();
        let guest = guest(self.disks);
        let disks = self
            .disks
            .iter()
            .enumerate()
            .map(|(at, disk)| disk_of(at, disk, guest.is_some(), &mut files))
            .collect::<Result<Vec<_>, _>>()?;
        let boot = match guest {
            Some((at, guest)) => Boot::Kernel {
                kernel: files.reopened(&guest.kernel)?,
                initrd: files.reopened(&guest.initrd)?,
                arguments: kernel_arguments(at, self.template.is_some()),
            },
            None if disks.is_empty() => return Err(MachineError::NoDisk),
            None => Boot::Firmware,
        };
        let (backing, state) = match self.template {
            Some(template) => (
                Backing::Template(files.reopened(&template.ram)?),
                Some(files.handed(&template.state, Access::Read)?),
            ),
            None => (Backing::Anonymous, None),
        };
        let kvm_device = match self.accelerator {
            Accelerator::Kvm => Some(files.handed(KVM.as_ref(), Access::Write)?),
            Accelerator::Tcg => None,
        };
        let nics = nics(self.vmi, self.attached, &mut files)?;
        let sockets = Sockets {
            monitor: Socket::Connected(files.add(self.ends.monitor)),
            agent: Socket::Connected(files.add(self.ends.agent)),
            init: Socket::Connected(files.add(self.ends.init)),
            serial: Serial {
                socket: Socket::Path(self.private.join(console::SOCKET)),
                log: self.private.join(console::LOG),
            },
        };
        let machine = Machine {
            name: format!(
                "{}_{}",
                self.vmi.namespace().unwrap_or_default(),
                self.vmi.name_any()
            ),
            identity: identity(self.vmi),
            accelerator: self.accelerator,
            kvm_device,
            vcpus: self.shape.vcpus,
            memory: Memory {
                mib: self.shape.memory_mib,
                backing,
            },
            boot,
            disks,
            nics,
            sockets,
            inherited: files.sets().to_vec(),
        };
        Ok(Assembled {
            machine,
            files,
            state,
        })
    }
}

/// A guest whose root is not its first disk must be told.
fn kernel_arguments(root: usize, template: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    if template {
        arguments.push(trunkline_guest::init::TEMPLATE.to_owned());
    }
    if root > 0 {
        arguments.push(format!("root=/dev/{}", device("vd", root)));
    }
    arguments
}

/// `vda`, …, `vdz`, `vdaa`, …
pub fn device(prefix: &str, number: usize) -> String {
    let mut letters = String::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.insert(
            0,
            char::from(b'a' + u8::try_from(rest % 26).unwrap_or_default()),
        );
        rest /= 26;
    }
    format!("{prefix}{letters}")
}

/// What the guest calls each disk, by its volume.
pub fn targets(disks: &[Prepared]) -> Vec<(String, String)> {
    let ours = guest(disks).is_some();
    let mut counts = [0, 0];
    disks
        .iter()
        .map(|disk| {
            let (prefix, count) = match disk.bus {
                Bus::Sata | Bus::Scsi if !ours => ("sd", 1),
                _ => ("vd", 0),
            };
            let target = device(prefix, counts[count]);
            counts[count] += 1;
            (disk.name.clone(), target)
        })
        .collect()
}

/// Our own guests know virtio alone.
fn disk_of(
    at: usize,
    disk: &Prepared,
    ours: bool,
    files: &mut Files,
) -> Result<Disk, MachineError> {
    Ok(Disk {
        id: format!("disk{at}"),
        image: image(&disk.source, files)?,
        bus: if ours { Bus::Virtio } else { disk.bus },
        cdrom: disk.cdrom && !ours,
        serial: disk.serial.clone(),
        boot_order: disk.boot_order,
    })
}

fn image(source: &Source, files: &mut Files) -> Result<DiskImage, OpenError> {
    let read = |path: PathBuf, format| DiskImage {
        path,
        format,
        read_only: true,
        backing: None,
    };
    match source {
        Source::Image {
            image: MachineImage::Guest(guest),
            ..
        } => Ok(read(files.handed(&guest.root, Access::Read)?, Format::Raw)),
        Source::Image {
            image: MachineImage::Disk(disk),
            overlay,
        } => {
            let base = read(files.handed(&disk.path, Access::Read)?, disk.format);
            match overlay {
                Some(overlay) => overlaid(base, overlay, files),
                None => Ok(base),
            }
        }
        Source::Iso(iso) => Ok(read(files.handed(&iso.path(), Access::Read)?, Format::Raw)),
        Source::File {
            path,
            format,
            read_only,
            base,
        } => {
            if let Some((base, format)) = base {
                let base = read(files.handed(base, Access::Read)?, *format);
                return overlaid(base, path, files);
            }
            let access = if *read_only {
                Access::Read
            } else {
                Access::Write
            };
            Ok(DiskImage {
                path: files.handed(path, access)?,
                format: *format,
                read_only: *read_only,
                backing: None,
            })
        }
    }
}

fn overlaid(
    base: DiskImage,
    overlay: &std::path::Path,
    files: &mut Files,
) -> Result<DiskImage, OpenError> {
    Ok(DiskImage {
        path: files.handed(overlay, Access::Write)?,
        format: Format::Qcow2,
        read_only: false,
        backing: Some(Box::new(base)),
    })
}

fn nics(
    vmi: &VirtualMachineInstance,
    attached: &Attached,
    files: &mut Files,
) -> Result<Vec<Nic>, MachineError> {
    attached
        .interfaces
        .iter()
        .enumerate()
        .map(|(at, interface)| {
            let tap = interface
                .tap
                .try_clone()
                .map_err(|source| OpenError::tap(&interface.tap_name, source))?;
            Ok(Nic {
                id: at.to_string(),
                mac: interface.mac,
                mtu: u16::try_from(interface.mtu).ok(),
                tap: files.add(tap),
                link: link_is_up(vmi, &interface.name),
            })
        })
        .collect()
}

/// Unless the specification says otherwise.
pub fn link_is_up(vmi: &VirtualMachineInstance, interface: &str) -> bool {
    let interfaces = &vmi.spec.domain.devices.interfaces;
    let wanted = interfaces.iter().find(|known| known.name == interface);
    wanted.and_then(|interface| interface.state) != Some(InterfaceState::Down)
}

fn identity(vmi: &VirtualMachineInstance) -> Identity {
    let firmware = vmi.spec.domain.firmware.clone().unwrap_or_default();
    Identity {
        uuid: firmware.uuid,
        serial: firmware.serial,
        manufacturer: Some("KubeVirt".to_owned()),
        product: Some("None".to_owned()),
        family: Some("KubeVirt".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use trunkline_qemu::{Bus, Format};
    use trunkline_userland::machine::{GuestImage, MachineImage};

    use super::{Prepared, Source, device, kernel_arguments, targets};

    fn disk(name: &str, bus: Bus, guest: bool) -> Prepared {
        let source = if guest {
            Source::Image {
                image: MachineImage::Guest(GuestImage {
                    kernel: "/k".into(),
                    initrd: "/i".into(),
                    root: "/r".into(),
                    key: "key".to_owned(),
                }),
                overlay: None,
            }
        } else {
            Source::File {
                path: "/x".into(),
                format: Format::Raw,
                read_only: true,
                base: None,
            }
        };
        Prepared {
            name: name.to_owned(),
            bus,
            cdrom: false,
            serial: None,
            boot_order: None,
            source,
        }
    }

    #[test]
    fn disks_are_named_as_the_guest_names_them() {
        assert_eq!(device("vd", 0), "vda");
        assert_eq!(device("vd", 25), "vdz");
        assert_eq!(device("vd", 26), "vdaa");
        let foreign = [
            disk("a", Bus::Virtio, false),
            disk("b", Bus::Sata, false),
            disk("c", Bus::Virtio, false),
        ];
        let named = |disks: &[Prepared]| {
            targets(disks)
                .into_iter()
                .map(|(_, target)| target)
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&foreign), ["vda", "sda", "vdb"]);
        // A guest of ours sees virtio disks only.
        assert_eq!(
            named(&[disk("a", Bus::Virtio, true), disk("b", Bus::Sata, false)]),
            ["vda", "vdb"]
        );
    }

    #[test]
    fn the_kernel_is_told_where_its_root_is() {
        assert_eq!(kernel_arguments(0, true), ["trunkline.template"]);
        assert_eq!(kernel_arguments(1, false), ["root=/dev/vdb"]);
        assert!(kernel_arguments(0, false).is_empty());
    }
}
