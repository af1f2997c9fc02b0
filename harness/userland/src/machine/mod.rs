//! What virtual machines are started from: guests that are built here, disks that come in images, and templates that
//! start in no time.
//!
//! ```text
//! guests/root-<key>/            kernel, root.erofs and modules of a root file system `guest`
//! guests/initrd-<key>           the guest's init with the modules it needs first
//! machines/<key>/ram, state     a guest that has booted and waits
//! machines/<key>/template.json  what it is; written last
//! machines/<key>/console        what it said while it booted
//! machines/kvm                  whether KVM works here, and for which boot of this machine that is known
//! ```

mod cpio;
mod disk;
mod error;
mod guest;
mod kernel;
mod probe;
mod prune;
mod qemu;
mod template;
mod workshop;

use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trunkline_qemu::{Accelerator, Format};

pub use self::error::MachineError;
pub use self::workshop::Workshop;
use crate::cache::Cache;
use crate::rootfs::{self, RootKind};

/// What the image of a container disk holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineImage {
    /// A guest of ours, whose kernel is started without firmware and whose root nobody writes to.
    Guest(GuestImage),
    /// A disk that boots by itself. It is never written to: a machine needs an overlay.
    Disk(DiskFile),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestImage {
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// The root file system, raw.
    pub root: PathBuf,
    /// Names everything the three were made from.
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    pub path: PathBuf,
    pub format: Format,
    /// Of the disk that the guest sees.
    pub size: u64,
}

/// What a template must have in common with the machines that are woken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    pub memory_mib: u32,
    pub vcpus: u32,
}

/// A guest that has booted and waits for its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its memory.
    pub ram: PathBuf,
    /// Everything else.
    pub state: PathBuf,
    pub shape: Shape,
    /// What it was booted with, and its copies must be started with.
    pub accelerator: Accelerator,
}

/// Gives the node what its machines are started from; all paths are as the node sees them.
#[async_trait]
pub trait MachineImages: Send + Sync {
    /// What the image of a container disk holds. The message names the image and what to do.
    async fn provide(&self, reference: &str) -> Result<MachineImage, String>;

    /// A template of a guest, made first where there is none. Nothing for what cannot have one; start the guest
    /// plainly then.
    async fn template(
        &self,
        image: &MachineImage,
        shape: Shape,
    ) -> Result<Option<Template>, String>;

    /// What machines can be run with here.
    async fn accelerator(&self) -> Accelerator;
}

/// Whether the guest that is built here is in the cache.
pub(crate) fn is_there(cache: &Cache) -> bool {
    let root = rootfs::find(cache, RootKind::Guest);
    root.ok()
        .flatten()
        .is_some_and(|root| guest::is_there(cache, &root))
}

impl MachineImage {
    /// The same image seen through another mount of the cache.
    #[must_use]
    pub fn rebase(mut self, from: &Cache, onto: &Cache) -> Self {
        let paths = match &mut self {
            Self::Guest(guest) => vec![&mut guest.kernel, &mut guest.initrd, &mut guest.root],
            Self::Disk(disk) => vec![&mut disk.path],
        };
        for path in paths {
            *path = from.rebase(path, onto);
        }
        self
    }
}

impl Template {
    /// The same template seen through another mount of the cache.
    #[must_use]
    pub fn rebase(mut self, from: &Cache, onto: &Cache) -> Self {
        for path in [&mut self.ram, &mut self.state] {
            *path = from.rebase(path, onto);
        }
        self
    }
}
