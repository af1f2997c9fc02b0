//! The host's side of virtual machines: everything they need is found, built, pulled or booted here.

use trunkline_qemu::Accelerator;

use super::template::Wanted;
use super::{GuestImage, MachineError, MachineImage, Shape, Template, disk, guest, probe};
use crate::cache::Cache;
use crate::images::Images;
use crate::progress::Observer;
use crate::rootfs::{self, RootFs, RootKind};

/// Makes what virtual machines are started from.
#[derive(Clone, Debug)]
pub struct Workshop {
    cache: Cache,
    images: Images,
}

impl Workshop {
    pub fn new(cache: Cache, images: Images) -> Self {
        Self { cache, images }
    }

    /// What the image of a container disk holds.
    pub async fn provide(
        &self,
        reference: &str,
        progress: Observer<'_>,
    ) -> Result<MachineImage, MachineError> {
        if self.images.guest_of(reference)?.is_some() {
            return Ok(MachineImage::Guest(self.guest(progress).await?));
        }
        if self.images.is_offline() {
            return Err(MachineError::Unknown {
                reference: reference.to_owned(),
            });
        }
        let image = self.images.resolve(reference, progress).await?;
        disk::find(&image).map(MachineImage::Disk)
    }

    /// The guest of this repository, built unless it is there.
    pub async fn guest(&self, progress: Observer<'_>) -> Result<GuestImage, MachineError> {
        let root = rootfs::ensure(&self.cache, RootKind::Guest, progress).await?;
        let launcher = self.launcher(progress).await?;
        let cache = self.cache.clone();
        let built =
            tokio::task::spawn_blocking(move || guest::ensure(&cache, &root, &launcher)).await;
        built.unwrap_or_else(|error| Err(MachineError::Pack(error.to_string())))
    }

    /// A template of a guest, made first where there is none. Nothing for disks that boot by themselves: what is on
    /// them cannot be told who it is.
    pub async fn template(
        &self,
        image: &MachineImage,
        shape: Shape,
        progress: Observer<'_>,
    ) -> Result<Option<Template>, MachineError> {
        let MachineImage::Guest(guest) = image else {
            return Ok(None);
        };
        let launcher = self.launcher(progress).await?;
        let wanted = Wanted {
            cache: &self.cache,
            guest,
            launcher: &launcher,
            accelerator: probe::accelerator(&self.cache, &launcher).await,
            shape,
        };
        wanted.ensure().await.map(Some)
    }

    /// What machines can be run with here.
    pub async fn accelerator(&self, progress: Observer<'_>) -> Result<Accelerator, MachineError> {
        let launcher = self.launcher(progress).await?;
        Ok(probe::accelerator(&self.cache, &launcher).await)
    }

    async fn launcher(&self, progress: Observer<'_>) -> Result<RootFs, MachineError> {
        Ok(rootfs::ensure(&self.cache, RootKind::Launcher, progress).await?)
    }
}
