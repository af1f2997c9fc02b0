//! A container's directory: its configuration and its root file system.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::RuntimeError;
use crate::oci::Spec;

/// An overlay of an image's layers with a writable layer of its own, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Bundle {
    id: String,
    path: PathBuf,
}

impl Bundle {
    /// Mounts the root file system in `parent/id`. `layers` are the image's, top first.
    pub(crate) fn create(
        parent: &Path,
        id: &str,
        layers: &[PathBuf],
    ) -> Result<Self, RuntimeError> {
        let bundle = Self {
            id: id.to_owned(),
            path: parent.join(id),
        };
        for dir in ["rootfs", "upper", "work"] {
            let dir = bundle.path.join(dir);
            fs::create_dir_all(&dir)
                .map_err(RuntimeError::io(format!("create {}", dir.display())))?;
        }
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower(layers),
            escape(&bundle.path.join("upper")),
            escape(&bundle.path.join("work"))
        );
        if in_user_namespace() {
            // trusted attributes are for the initial user namespace
            options.push_str(",userxattr");
        }
        mount(
            Some("overlay"),
            &bundle.rootfs(),
            Some("overlay"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .map_err(RuntimeError::nix(format!(
            "mount a root file system with {options}"
        )))?;
        Ok(bundle)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("runc.log")
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.path.join("pid")
    }

    /// The file behind the container's termination message path.
    pub(crate) fn termination_message(&self) -> PathBuf {
        self.path.join("termination-message")
    }

    pub(crate) fn write(&self, spec: &Spec) -> Result<(), RuntimeError> {
        let path = self.path.join("config.json");
        let json = serde_json::to_vec(spec).map_err(|e| RuntimeError::Runc(e.to_string()))?;
        fs::write(&path, json).map_err(RuntimeError::io(format!("write {}", path.display())))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        // what remains after a failure vanishes with the lab's mount namespace and tmpfs
        if let Err(error) = umount2(&self.rootfs(), MntFlags::MNT_DETACH) {
            tracing::debug!(%error, id = self.id, "root file system not unmounted");
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, id = self.id, "bundle not removed");
        }
    }
}

fn lower(layers: &[PathBuf]) -> String {
    let layers: Vec<_> = layers.iter().map(|layer| escape(layer)).collect();
    layers.join(":")
}

/// Overlay options are separated by commas and lower layers by colons.
fn escape(path: &Path) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ':' | ',' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let fields: Vec<_> = map.split_whitespace().collect();
    fields != ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    #[test]
    fn escapes_layers() {
        let layers = [
            PathBuf::from("/cache/a,b"),
            PathBuf::from("/cache/sha256:1"),
        ];
        assert_eq!(super::lower(&layers), r"/cache/a\,b:/cache/sha256\:1");
    }
}
