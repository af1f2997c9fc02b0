//! What a machine needs that can be made before its pod runs: images, its template, disks made of what its specification
//! says. By the time it is scheduled they are there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LocalObjectReference, Secret};
use kube::Api;
use tempfile::TempDir;
use trunkline_kubevirt::types::{CloudInitSource, InterfaceState, VirtualMachineInstance, Volume};
use trunkline_userland::machine::{MachineImage, Template};

use super::cloud_init::{self, DataSource};
use super::disks::DiskError;
use super::iso;
use super::shape;
use crate::handler::Context;

/// By their volumes' names.
#[derive(Debug, Default)]
pub struct Early {
    images: HashMap<String, Result<MachineImage, DiskError>>,
    isos: HashMap<String, Result<Iso, DiskError>>,
    template: Option<Result<Option<Template>, String>>,
}

/// A disk image that is gone with this value: whoever has opened it keeps it.
#[derive(Debug)]
pub struct Iso {
    directory: TempDir,
}

impl Iso {
    pub async fn build(content: &iso::Content, label: &str) -> Result<Self, DiskError> {
        let directory = tempfile::tempdir().map_err(|source| DiskError::File {
            path: "a directory for a disk image".to_owned(),
            source,
        })?;
        let made = Self { directory };
        iso::build(
            content,
            label,
            &made.directory.path().join("files"),
            &made.path(),
        )
        .await?;
        Ok(made)
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk.iso")
    }
}

impl Early {
    pub async fn prepare(context: Arc<Context>, vmi: Arc<VirtualMachineInstance>) -> Self {
        let (vmi, context) = (&*vmi, &*context);
        let images = async {
            let wanted = vmi.spec.volumes.iter().filter_map(|volume| {
                let image = &volume.container_disk.as_ref()?.image;
                Some(async move {
                    let provided = context.images.provide(image).await;
                    (volume.name.clone(), provided.map_err(DiskError::Image))
                })
            });
            let images: HashMap<_, _> = futures::future::join_all(wanted)
                .await
                .into_iter()
                .collect();
            let template = template(context, vmi, &images).await;
            (images, template)
        };
        let isos = async {
            let wanted = vmi.spec.volumes.iter().filter_map(|volume| {
                let (kind, source) = cloud_init(volume)?;
                Some(async move {
                    let built = Maker {
                        context,
                        vmi,
                        volume,
                    }
                    .build(kind, source)
                    .await;
                    (volume.name.clone(), built)
                })
            });
            futures::future::join_all(wanted)
                .await
                .into_iter()
                .collect()
        };
        let ((images, template), isos) = tokio::join!(images, isos);
        Self {
            images,
            isos,
            template,
        }
    }

    pub fn image(&mut self, volume: &str) -> Option<Result<MachineImage, DiskError>> {
        self.images.remove(volume)
    }

    pub fn iso(&mut self, volume: &str) -> Option<Result<Iso, DiskError>> {
        self.isos.remove(volume)
    }

    /// The template to wake; nothing for what is booted plainly.
    pub fn template(&mut self) -> Result<Option<Template>, String> {
        self.template.take().unwrap_or(Ok(None))
    }
}

/// The template of the guest on the first disk, if all the rest can be plugged in.
async fn template(
    context: &Context,
    vmi: &VirtualMachineInstance,
    images: &HashMap<String, Result<MachineImage, DiskError>>,
) -> Option<Result<Option<Template>, String>> {
    let devices = &vmi.spec.domain.devices;
    let first = devices.disks.first()?;
    let Ok(image @ MachineImage::Guest(_)) = images.get(&first.name)? else {
        return None;
    };
    let cards = devices.interfaces.iter();
    let cards = cards
        .filter(|card| card.state != Some(InterfaceState::Absent))
        .count();
    let size = shape::shape(vmi).ok()?;
    // What there is no memory for is refused by QEMU, not by whoever would make a template of it.
    if !shape::fits_template(devices.disks.len(), cards) || !shape::fits_memory(size) {
        return None;
    }
    Some(context.images.template(image, size).await)
}

fn cloud_init(volume: &Volume) -> Option<(DataSource, &CloudInitSource)> {
    let no_cloud = volume.cloud_init_no_cloud.as_ref();
    let config_drive = volume.cloud_init_config_drive.as_ref();
    no_cloud
        .map(|source| (DataSource::NoCloud, source))
        .or_else(|| config_drive.map(|source| (DataSource::ConfigDrive, source)))
}

struct Maker<'a> {
    context: &'a Context,
    vmi: &'a VirtualMachineInstance,
    volume: &'a Volume,
}

impl Maker<'_> {
    async fn build(&self, kind: DataSource, source: &CloudInitSource) -> Result<Iso, DiskError> {
        let user = self.secret(source.secret_ref.as_ref(), ["userdata", "userData"]);
        let network = self.secret(
            source.network_data_secret_ref.as_ref(),
            ["networkdata", "networkData"],
        );
        let (user, network) = tokio::try_join!(user, network)?;
        let data = cloud_init::data(&self.volume.name, source, user, network)?;
        let content = kind.content(self.vmi, data)?;
        Iso::build(&content, kind.label()).await
    }

    async fn secret(
        &self,
        reference: Option<&LocalObjectReference>,
        keys: [&str; 2],
    ) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(name) = reference.map(|reference| reference.name.as_str()) else {
            return Ok(None);
        };
        let failed = |reason: String| DiskError::Secret {
            name: name.to_owned(),
            volume: self.volume.name.clone(),
            reason,
        };
        let namespace = self.vmi.metadata.namespace.as_deref().unwrap_or_default();
        let secrets: Api<Secret> = Api::namespaced(self.context.client.clone(), namespace);
        let secret = secrets
            .get(name)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let data = secret.data.unwrap_or_default();
        keys.iter()
            .find_map(|key| data.get(*key))
            .map(|value| Some(value.0.clone()))
            .ok_or_else(|| failed(format!("it has neither {} nor {}", keys[0], keys[1])))
    }
}
