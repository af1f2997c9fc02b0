//! What a machine's disks hold, and where that lies on the node.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trunkline_kubevirt::types::{Disk, VirtualMachineInstance, Volume};
use trunkline_qemu::{Bus, Format};
use trunkline_userland::machine::MachineImage;

use super::cloud_init::CloudInitError;
use super::early::{Early, Iso};
use super::iso::{self, IsoError};
use super::place::Place;
use super::qcow2;

/// A disk of the machine, in the order of its specification.
#[derive(Debug)]
pub struct Prepared {
    /// Of the volume.
    pub name: String,
    pub bus: Bus,
    pub cdrom: bool,
    pub serial: Option<String>,
    pub boot_order: Option<u32>,
    pub source: Source,
}

#[derive(Debug)]
pub enum Source {
    /// The root of a guest of ours, or a disk that boots by itself.
    Image {
        image: MachineImage,
        /// For what the guest writes to a disk that boots by itself.
        overlay: Option<PathBuf>,
    },
    File {
        path: PathBuf,
        format: Format,
        read_only: bool,
        /// Read instead of what the file does not hold.
        base: Option<(PathBuf, Format)>,
    },
    /// Made of files; read only.
    Iso(Iso),
}

/// Words are KubeVirt's where it has some: they end up in conditions.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("no matching volume with name {0} found")]
    NoVolume(String),
    #[error("{0}")]
    Image(String),
    #[error("the pod has no volume {0}")]
    NotMounted(String),
    #[error(
        "the volume {0} has a source that this node cannot provide: use a containerDisk, cloudInitNoCloud, cloudInitConfigDrive, emptyDisk, persistentVolumeClaim, dataVolume, ephemeral, configMap, secret, serviceAccount or downwardAPI"
    )]
    Unsupported(String),
    #[error(transparent)]
    CloudInit(#[from] CloudInitError),
    #[error("the secret {name} of the volume {volume}: {reason}")]
    Secret {
        name: String,
        volume: String,
        reason: String,
    },
    #[error(transparent)]
    Iso(#[from] IsoError),
    #[error("unable to create {path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("the capacity of the volume {0} is unknown")]
    Capacity(String),
}

/// Makes everything that the machine's disks need and that was not made before.
pub async fn prepare(
    vmi: &VirtualMachineInstance,
    place: &Place,
    mut early: Early,
) -> Result<Vec<Prepared>, DiskError> {
    let mut prepared = Vec::new();
    for disk in &vmi.spec.domain.devices.disks {
        let volume = vmi
            .spec
            .volumes
            .iter()
            .find(|volume| volume.name == disk.name);
        let volume = volume.ok_or_else(|| DiskError::NoVolume(disk.name.clone()))?;
        let source = Maker { vmi, place, volume }
            .source(disk, &mut early)
            .await?;
        prepared.push(described(disk, source));
    }
    Ok(prepared)
}

fn described(disk: &Disk, source: Source) -> Prepared {
    let (bus, cdrom) = match (&disk.disk, &disk.cdrom, &disk.lun) {
        (_, Some(cdrom), _) => (cdrom.bus.as_deref().or(Some("sata")), true),
        (_, _, Some(lun)) => (lun.bus.as_deref().or(Some("scsi")), false),
        (disk, ..) => (disk.as_ref().and_then(|disk| disk.bus.as_deref()), false),
    };
    let bus = match bus {
        Some("sata") => Bus::Sata,
        Some("scsi") => Bus::Scsi,
        // KubeVirt's default here, and what it refuses is refused before.
        _ => Bus::Virtio,
    };
    Prepared {
        name: disk.name.clone(),
        bus,
        cdrom: cdrom && bus != Bus::Virtio,
        serial: disk.serial.clone(),
        boot_order: disk.boot_order.and_then(|order| u32::try_from(order).ok()),
        source,
    }
}

struct Maker<'a> {
    vmi: &'a VirtualMachineInstance,
    place: &'a Place,
    volume: &'a Volume,
}

impl Maker<'_> {
    async fn source(&self, disk: &Disk, early: &mut Early) -> Result<Source, DiskError> {
        let volume = self.volume;
        if let Some(image) = early.image(&volume.name) {
            return self.container_disk(image?);
        }
        if let Some(iso) = early.iso(&volume.name) {
            return Ok(Source::Iso(iso?));
        }
        if let Some(source) = &volume.empty_disk {
            let path = self
                .place
                .file("empty-disk-data", &format!("{}.img", volume.name))?;
            let size = source
                .capacity
                .whole()
                .ok_or_else(|| DiskError::Capacity(volume.name.clone()))?;
            sparse(&path, size)?;
            return Ok(raw(path, false));
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            return Ok(raw(self.claimed()?, claim.read_only || is_read_only(disk)));
        }
        if volume.data_volume.is_some() {
            return Ok(raw(self.claimed()?, is_read_only(disk)));
        }
        if volume.ephemeral.is_some() {
            let base = self.claimed()?;
            let overlay = self
                .place
                .file("disk-data", &format!("{}.qcow2", volume.name))?;
            let size = base.metadata().map_err(failed(&base))?.len();
            qcow2::create(&overlay, size).map_err(failed(&overlay))?;
            return Ok(overlaid(overlay, base, Format::Raw));
        }
        if ["configMap", "secret", "serviceAccount", "downwardAPI"]
            .iter()
            .any(|kind| volume.other.contains_key(*kind))
        {
            return self.files().await;
        }
        Err(DiskError::Unsupported(volume.name.clone()))
    }

    fn container_disk(&self, image: MachineImage) -> Result<Source, DiskError> {
        let overlay = match &image {
            MachineImage::Guest(_) => None,
            MachineImage::Disk(disk) => {
                let path = self
                    .place
                    .file("disk-data", &format!("{}.qcow2", self.volume.name))?;
                qcow2::create(&path, disk.size).map_err(failed(&path))?;
                Some(path)
            }
        };
        Ok(Source::Image { image, overlay })
    }

    /// A volume of files, as a read-only disk.
    async fn files(&self) -> Result<Source, DiskError> {
        let content = iso::read_volume(&self.place.volume(&self.volume.name)?)?;
        Ok(Source::Iso(
            Iso::build(&content, label(&self.volume.other)).await?,
        ))
    }

    /// The disk in a claim: made when it is not there, as big as the claim.
    fn claimed(&self) -> Result<PathBuf, DiskError> {
        let path = self.place.volume(&self.volume.name)?.join("disk.img");
        if !path.exists() {
            sparse(&path, self.capacity()?)?;
        }
        Ok(path)
    }

    fn capacity(&self) -> Result<u64, DiskError> {
        let status = self.vmi.status.as_ref();
        status
            .and_then(|status| {
                status
                    .volume_status
                    .iter()
                    .find(|known| known.name == self.volume.name)
            })
            .and_then(|known| known.persistent_volume_claim_info.as_ref())
            .and_then(|claim| {
                claim
                    .capacity
                    .get("storage")
                    .or_else(|| claim.requests.get("storage"))
            })
            .and_then(trunkline_kubevirt::types::Quantity::whole)
            .ok_or_else(|| DiskError::Capacity(self.volume.name.clone()))
    }
}

fn label(other: &serde_json::Map<String, Value>) -> &str {
    ["configMap", "secret", "downwardAPI"]
        .iter()
        .find_map(|kind| other.get(*kind)?.get("volumeLabel")?.as_str())
        .filter(|label| !label.is_empty())
        .unwrap_or("cfgdata")
}

fn is_read_only(disk: &Disk) -> bool {
    disk.disk.as_ref().is_some_and(|disk| disk.read_only)
        || disk.lun.as_ref().is_some_and(|lun| lun.read_only)
        || disk
            .cdrom
            .as_ref()
            .is_some_and(|cdrom| cdrom.read_only.unwrap_or(true))
}

fn raw(path: PathBuf, read_only: bool) -> Source {
    Source::File {
        path,
        format: Format::Raw,
        read_only,
        base: None,
    }
}

fn overlaid(path: PathBuf, base: PathBuf, format: Format) -> Source {
    Source::File {
        path,
        format: Format::Qcow2,
        read_only: false,
        base: Some((base, format)),
    }
}

fn sparse(path: &Path, size: u64) -> Result<(), DiskError> {
    let file = File::create(path).map_err(failed(path))?;
    file.set_len(size).map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> DiskError {
    let path = path.display().to_string();
    move |source| DiskError::File {
        path: path.clone(),
        source,
    }
}

impl Place {
    fn file(&self, folder: &str, name: &str) -> Result<PathBuf, DiskError> {
        let folder = self.ephemeral.join(folder);
        std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        Ok(folder.join(name))
    }

    fn volume(&self, name: &str) -> Result<PathBuf, DiskError> {
        self.find_volume(name)
            .ok_or_else(|| DiskError::NotMounted(name.to_owned()))
    }
}
