//! Volumes of the type `image`: the files of an image, read-only.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, ImageVolumeSource, Pod};
use nix::mount::{MsFlags, mount};

use super::{PodVolumes, VolumeError};

impl PodVolumes {
    /// The images that a container mounts and that are not shown yet, by volume.
    pub(crate) fn missing_images(
        &self,
        pod: &Pod,
        container: &Container,
    ) -> Vec<(String, ImageVolumeSource)> {
        let wanted = |name: &str| {
            container
                .volume_mounts
                .iter()
                .flatten()
                .any(|m| m.name == name)
        };
        let shown = |name: &str| self.ready.get(name).is_some_and(|r| r.mounted);
        pod.spec
            .iter()
            .flat_map(|s| s.volumes.iter().flatten())
            .filter(|v| wanted(&v.name) && !shown(&v.name))
            .filter_map(|v| Some((v.name.clone(), v.image.clone()?)))
            .collect()
    }

    /// Shows an image in its volume.
    pub(crate) fn show_image(
        &mut self,
        volume: &str,
        directories: &[PathBuf],
    ) -> Result<(), VolumeError> {
        let Some(ready) = self.ready.get_mut(volume) else {
            return Err(VolumeError::set_up(volume, "the pod has no such volume"));
        };
        mount_read_only(&ready.path, directories).map_err(|e| VolumeError::set_up(volume, e))?;
        ready.mounted = true;
        Ok(())
    }
}

fn mount_read_only(path: &Path, directories: &[PathBuf]) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    if let [directory] = directories {
        // overlayfs wants two directories at least
        mount(Some(directory), path, NONE, MsFlags::MS_BIND, NONE)?;
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        return mount(NONE, path, NONE, flags, NONE);
    }
    let lower: Vec<_> = directories
        .iter()
        .map(|d| d.display().to_string())
        .collect();
    let options = format!("lowerdir={}", lower.join(":"));
    mount(
        Some("overlay"),
        path,
        Some("overlay"),
        MsFlags::MS_RDONLY,
        Some(options.as_str()),
    )
}
