//! Root file systems from one pinned Debian release.
//!
//! ```text
//! rootfs/lab-<key>/root/          the tree
//! rootfs/lab-<key>/manifest.json  what it is; written last
//! rootfs/lab-<key>.building/      while it is being built
//! rootfs/lab.lock                 held by whoever builds
//! rootfs/lab.log                  output of the last build
//! debs/                           packages, kept for the next build
//! ```

mod build;
mod error;
mod manifest;
mod mmdebstrap;
mod recipe;

use std::path::PathBuf;
use std::thread;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

pub use self::error::RootFsError;
pub use self::manifest::Manifest;
use crate::cache::Cache;
use crate::contain::Stop;
use crate::progress::{Observer, Progress};

/// Which of them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// What nodes need: OVN, Open vSwitch, runc.
    Lab,
    /// What workloads need: a shell and network tools.
    Workload,
    /// What runs virtual machines: QEMU.
    Launcher,
    /// What virtual machines are: a kernel, a shell, tools and services.
    Guest,
}

impl RootKind {
    pub const ALL: [Self; 4] = [Self::Lab, Self::Workload, Self::Launcher, Self::Guest];
}

/// A complete root file system in the cache; never written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFs {
    pub path: PathBuf,
    /// Names everything it was made from.
    pub key: String,
}

/// The root file system when it is already there and complete. Takes about a millisecond.
pub fn find(cache: &Cache, kind: RootKind) -> Result<Option<RootFs>, RootFsError> {
    Ok(inspect(cache, kind)?.found())
}

/// What there is of the root file system.
pub fn inspect(cache: &Cache, kind: RootKind) -> Result<Look, RootFsError> {
    let (_, key) = kind.recipe()?;
    Ok(look(cache, kind, &key))
}

/// Finds the root file system or builds it. Two processes may call this at once: one builds, the
/// other waits. Dropping the future stops the build; what was downloaded is kept.
///
/// An ordinary user needs the package uidmap and subordinate identities.
pub async fn ensure(
    cache: &Cache,
    kind: RootKind,
    progress: Observer<'_>,
) -> Result<RootFs, RootFsError> {
    let (recipe, key) = kind.recipe()?;
    match look(cache, kind, &key) {
        Look::Found(found) => return Ok(found),
        Look::Damaged(damage) => progress(Progress {
            what: format!("root file system {}", kind.name()),
            phase: format!("the one in the cache is damaged ({damage}); building it again"),
            fraction: Some(0.0),
        }),
        Look::Absent => {}
    }

    let stop = Stop::default();
    let _cancel = stop.on_drop();
    let (reports, mut reported) = mpsc::unbounded_channel();
    let (done, mut result) = oneshot::channel();
    let cache = cache.clone();
    // A thread of its own, because the kernel ends what it starts together with it.
    thread::spawn(move || {
        let build = build::Build {
            cache: &cache,
            kind,
            recipe,
            key,
            stop,
            // Without a listener the build is being cancelled.
            report: &|report| drop(reports.send(report)),
        };
        drop(done.send(build.run()));
    });
    loop {
        tokio::select! {
            biased;
            Some(report) = reported.recv() => progress(report),
            result = &mut result => return result.unwrap_or(Err(RootFsError::Cancelled)),
        }
    }
}

/// What lies in the cache under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    Found(RootFs),
    /// Something is there and cannot be used, for this reason; [`ensure`] builds it again.
    Damaged(String),
    Absent,
}

impl Look {
    fn found(self) -> Option<RootFs> {
        match self {
            Self::Found(found) => Some(found),
            _ => None,
        }
    }
}

fn look(cache: &Cache, kind: RootKind, key: &str) -> Look {
    let directory = directory(cache, kind, key);
    if !directory.exists() {
        return Look::Absent;
    }
    let path = directory.join("root");
    let damage = match Manifest::read(&directory) {
        Ok(manifest) => manifest.damage(&path, key),
        Err(error) => Some(format!("its manifest cannot be read: {error}")),
    };
    match damage {
        Some(damage) => Look::Damaged(damage),
        None => Look::Found(RootFs {
            path,
            key: key.to_owned(),
        }),
    }
}

fn directory(cache: &Cache, kind: RootKind, key: &str) -> PathBuf {
    cache
        .root()
        .join("rootfs")
        .join(format!("{}-{key}", kind.name()))
}
