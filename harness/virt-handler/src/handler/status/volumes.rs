//! What the guest calls its disks, and what is known of them.

use trunkline_kubevirt::types::{ContainerDiskInfo, VolumeStatus};

use crate::domain::Facts;

fn each<'a>(
    volumes: &'a mut [VolumeStatus],
    facts: &'a Facts,
) -> impl Iterator<Item = (&'a mut VolumeStatus, &'a crate::domain::VolumeFacts)> {
    volumes.iter_mut().filter_map(|volume| {
        let known = facts
            .volumes
            .iter()
            .find(|known| known.name == volume.name)?;
        Some((volume, known))
    })
}

pub fn checksums(volumes: &mut [VolumeStatus], facts: &Facts) {
    for (volume, known) in each(volumes, facts) {
        if let Some(checksum) = known.checksum {
            volume.container_disk_volume = Some(ContainerDiskInfo { checksum });
        }
    }
}

pub fn targets(volumes: &mut [VolumeStatus], facts: &Facts) {
    for (volume, known) in each(volumes, facts) {
        volume.target.clone_from(&known.target);
    }
}

pub fn sizes(volumes: &mut [VolumeStatus], facts: &Facts) {
    for (volume, known) in each(volumes, facts) {
        if let Some(size) = known.size {
            volume.size = size;
        }
    }
}
