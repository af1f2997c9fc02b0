//! What does not change about a machine while it runs, and is told in its status.

use std::net::IpAddr;

use trunkline_kubevirt::types::VirtualMachineInstance;
use trunkline_userland::machine::MachineImage;

use super::disks::{Prepared, Source};
use super::machine;
use crate::network::{Attached, Binding};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub nics: Vec<Nic>,
    pub volumes: Vec<VolumeFacts>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Of the specification's network.
    pub name: String,
    pub mac: String,
    /// The pod's on that network.
    pub addresses: Vec<IpAddr>,
    pub masquerade: bool,
    pub link: bool,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeFacts {
    pub name: String,
    /// As the guest calls it.
    pub target: String,
    /// Of those that are made here from files.
    pub size: Option<i64>,
    /// Of container disks.
    pub checksum: Option<u32>,
}

impl Facts {
    pub(super) fn of(
        vmi: &VirtualMachineInstance,
        attached: &Attached,
        disks: &[Prepared],
    ) -> Self {
        let nics = attached
            .interfaces
            .iter()
            .map(|interface| Nic {
                name: interface.name.clone(),
                mac: interface.mac.map(|byte| format!("{byte:02x}")).join(":"),
                addresses: interface.addresses.iter().map(ipnet::IpNet::addr).collect(),
                masquerade: interface.binding == Binding::Masquerade,
                link: machine::link_is_up(vmi, &interface.name),
            })
            .collect();
        let volumes = machine::targets(disks)
            .into_iter()
            .zip(disks)
            .map(|((name, target), disk)| VolumeFacts {
                size: size(&disk.source),
                checksum: checksum(&disk.source),
                name,
                target,
            })
            .collect();
        Self { nics, volumes }
    }
}

fn size(source: &Source) -> Option<i64> {
    match source {
        Source::Iso(iso) => i64::try_from(iso.path().metadata().ok()?.len()).ok(),
        Source::Image { .. } | Source::File { .. } => None,
    }
}

/// Stands for the content: the same for the same image, different for another.
fn checksum(source: &Source) -> Option<u32> {
    match source {
        Source::Image { image, .. } => Some(match image {
            MachineImage::Guest(guest) => crc32fast::hash(guest.key.as_bytes()),
            MachineImage::Disk(disk) => crc32fast::hash(disk.path.as_os_str().as_encoded_bytes()),
        }),
        Source::File { .. } | Source::Iso(_) => None,
    }
}
