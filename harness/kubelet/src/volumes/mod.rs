//! Volumes of pods: directories and files that containers bind-mount.

mod atomic;
mod claim;
mod host_path;
mod image;
mod ownership;
mod payload;
mod sources;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kube::ResourceExt;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tokio::time::Instant;

use crate::oci::{ConfigError, Facts, Mount, Propagation, VolumeMount};
use crate::quantity::Milli;

pub(crate) use sources::{Interest, interests};
use tokens::Tokens;

/// Why a volume is not there, in the words of a `FailedMount` event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct VolumeError(pub String);

impl VolumeError {
    fn set_up(volume: &str, reason: impl std::fmt::Display) -> Self {
        Self(format!(
            "MountVolume.SetUp failed for volume {volume:?} : {reason}"
        ))
    }
}

/// A pod's volumes, ready to be mounted. Dropping it removes what belongs to the pod.
#[derive(Debug)]
pub(crate) struct PodVolumes {
    dir: PathBuf,
    ready: BTreeMap<String, Ready>,
    tokens: Tokens,
}

#[derive(Debug)]
struct Ready {
    path: PathBuf,
    read_only: bool,
    mounted: bool,
}

/// The pod's node, as far as volumes are made from it.
pub(crate) struct Surroundings<'a> {
    pub client: &'a kube::Client,
    pub state: &'a Path,
    pub facts: &'a Facts,
}

/// Where files of volumes come from.
struct Origin<'a> {
    client: &'a kube::Client,
    facts: &'a Facts,
    tokens: &'a Tokens,
}

impl PodVolumes {
    /// Makes all volumes of the pod. What was made is removed again when one fails.
    pub(crate) async fn set_up(around: &Surroundings<'_>, pod: &Pod) -> Result<Self, VolumeError> {
        let uid = pod.uid().unwrap_or_default();
        let mut volumes = Self {
            dir: around.state.join("pods").join(uid),
            ready: BTreeMap::new(),
            tokens: Tokens::default(),
        };
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            let ready = volumes.make(&volumes.origin(around), pod, volume).await?;
            volumes.ready.insert(volume.name.clone(), ready);
        }
        Ok(volumes)
    }

    fn origin<'a>(&'a self, around: &Surroundings<'a>) -> Origin<'a> {
        Origin {
            client: around.client,
            facts: around.facts,
            tokens: &self.tokens,
        }
    }

    /// When a file in them will be too old to be of use.
    pub(crate) fn renewal(&self) -> Option<Instant> {
        self.tokens.renewal()
    }

    async fn make(
        &self,
        origin: &Origin<'_>,
        pod: &Pod,
        volume: &Volume,
    ) -> Result<Ready, VolumeError> {
        let path = self.dir.join("volumes").join(&volume.name);
        let failed = |reason: &dyn std::fmt::Display| VolumeError::set_up(&volume.name, reason);
        let fs_group = fs_group(pod);
        if let Some(host_path) = &volume.host_path {
            host_path::check(host_path).map_err(|e| failed(&e))?;
            return Ok(Ready {
                path: PathBuf::from(&host_path.path),
                read_only: false,
                mounted: false,
            });
        }
        if let Some(source) = &volume.persistent_volume_claim {
            let path = claim::resolve(origin.client, pod, &volume.name, source).await?;
            if let Some(gid) = fs_group {
                ownership::give_to_group(&path, gid, ownership::Access::Write)
                    .map_err(|e| failed(&e))?;
            }
            return Ok(Ready {
                path,
                read_only: source.read_only == Some(true),
                mounted: false,
            });
        }
        std::fs::create_dir_all(&path).map_err(|e| failed(&e))?;
        if let Some(empty_dir) = &volume.empty_dir {
            let memory = empty_dir.medium.as_deref() == Some("Memory");
            if memory {
                let limit = empty_dir.size_limit.as_ref().map(|q| Milli::of(q).units());
                mount_tmpfs(&path, limit).map_err(|e| failed(&e))?;
            }
            ownership::set_mode(&path, 0o777).map_err(|e| failed(&e))?;
            if let Some(gid) = fs_group {
                ownership::give_to_group(&path, gid, ownership::Access::Write)
                    .map_err(|e| failed(&e))?;
            }
            return Ok(Ready {
                path,
                read_only: false,
                mounted: memory,
            });
        }
        // an image is pulled when the first container that wants it starts
        if volume.image.is_none() {
            self.write(origin, pod, volume, &path).await?;
        }
        Ok(Ready {
            path,
            read_only: true,
            mounted: false,
        })
    }

    /// Writes a volume that is made of API objects; does nothing when it is as it should be.
    async fn write(
        &self,
        origin: &Origin<'_>,
        pod: &Pod,
        volume: &Volume,
        path: &Path,
    ) -> Result<(), VolumeError> {
        let failed = |reason: &dyn std::fmt::Display| VolumeError::set_up(&volume.name, reason);
        let payload = sources::payload(origin, pod, volume)
            .await
            .map_err(|e| failed(&e))?
            .ok_or_else(|| failed(&"volumes of this type are not supported by this kubelet"))?;
        let changed = atomic::write(path, &payload).map_err(|e| failed(&e))?;
        if let (true, Some(gid)) = (changed, fs_group(pod)) {
            ownership::give_to_group(path, gid, ownership::Access::Read).map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    /// Brings volumes that are made of API objects up to date. One that cannot be made any more stays as it is.
    pub(crate) async fn refresh(
        &self,
        around: &Surroundings<'_>,
        pod: &Pod,
    ) -> Result<(), VolumeError> {
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            if interests(volume).is_empty() && !tokens::are_in(volume) {
                continue;
            }
            if let Some(ready) = self.ready.get(&volume.name) {
                let origin = self.origin(around);
                self.write(&origin, pod, volume, &ready.path).await?;
            }
        }
        Ok(())
    }

    /// Where each of them lies.
    pub(crate) fn paths(&self) -> BTreeMap<String, PathBuf> {
        self.ready
            .iter()
            .map(|(name, ready)| (name.clone(), ready.path.clone()))
            .collect()
    }

    /// What a container mounts.
    pub(crate) fn mounts(
        &self,
        container: &Container,
        env: &[(String, String)],
    ) -> Result<Vec<Mount>, ConfigError> {
        let mut mounts = Vec::new();
        for wanted in container.volume_mounts.iter().flatten() {
            let ready = self.ready.get(&wanted.name).ok_or_else(|| {
                ConfigError(format!(
                    "cannot find volume {:?} to mount into container {:?}",
                    wanted.name, container.name
                ))
            })?;
            let sub_path = match (&wanted.sub_path, &wanted.sub_path_expr) {
                (Some(path), _) if !path.is_empty() => Some(path.clone()),
                (_, Some(expr)) if !expr.is_empty() => Some(crate::oci::expand_strict(expr, env)?),
                _ => None,
            };
            let source = match sub_path {
                None => ready.path.clone(),
                Some(sub) => sub_path_in(&ready.path, &sub, &wanted.name)?,
            };
            mounts.push(Mount::from(VolumeMount {
                source,
                destination: absolute(&wanted.mount_path),
                read_only: ready.read_only || wanted.read_only == Some(true),
                propagation: Propagation::parse(wanted.mount_propagation.as_deref()),
            }));
        }
        // what lies inside another mount must be mounted after it
        mounts.sort_by_key(|m| m.destination.components().count());
        Ok(mounts)
    }
}

impl Drop for PodVolumes {
    fn drop(&mut self) {
        for ready in self.ready.values().filter(|r| r.mounted) {
            if let Err(error) = umount2(&ready.path, MntFlags::MNT_DETACH) {
                tracing::debug!(%error, path = %ready.path.display(), "volume not unmounted");
            }
        }
        // what remains after a failure vanishes with the lab's tmpfs
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let gid = pod.spec.as_ref()?.security_context.as_ref()?.fs_group?;
    u32::try_from(gid).ok()
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

fn mount_tmpfs(path: &Path, limit: Option<i128>) -> nix::Result<()> {
    let options = limit.map(|bytes| format!("size={bytes}"));
    mount(
        Some("tmpfs"),
        path,
        Some("tmpfs"),
        MsFlags::empty(),
        options.as_deref(),
    )
}

/// A path inside a volume, made if it is missing. It must not lead out of the volume.
fn sub_path_in(volume: &Path, sub: &str, name: &str) -> Result<PathBuf, ConfigError> {
    let refuse = |why: &dyn std::fmt::Display| {
        ConfigError(format!(
            "failed to prepare subPath for volumeMount {name:?}: {why}"
        ))
    };
    let sub = Path::new(sub);
    if sub
        .components()
        .any(|c| !matches!(c, Component::Normal(_) | Component::CurDir))
    {
        return Err(refuse(&format!(
            "{:?} must stay inside the volume",
            sub.display()
        )));
    }
    let path = volume.join(sub);
    if !path.exists() {
        std::fs::create_dir_all(&path).map_err(|e| refuse(&e))?;
    }
    let real = path.canonicalize().map_err(|e| refuse(&e))?;
    let inside = volume.canonicalize().map_err(|e| refuse(&e))?;
    if real.starts_with(inside) {
        Ok(real)
    } else {
        Err(refuse(&format!(
            "{:?} leads out of the volume",
            sub.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::sub_path_in;

    #[test]
    fn sub_paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("link")).unwrap();
        assert!(sub_path_in(dir.path(), "a/b", "v").unwrap().is_dir());
        for outside in ["../x", "/etc", "link"] {
            assert!(sub_path_in(dir.path(), outside, "v").is_err(), "{outside}");
        }
    }
}
