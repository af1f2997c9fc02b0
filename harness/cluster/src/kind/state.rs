//! What is remembered of a cluster between two commands.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Cluster, KindError};
use crate::component::{ComponentName, NodeImage, Profile};

/// How long an `up` or `down` waits for another one of the same cluster. A `kind` whose parent was killed ends with its
/// next line of output, and until then it holds the lock that it inherited.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user's state directory: `$TRUNKLINE_STATE`, else `$XDG_STATE_HOME/trunkline`, else `~/.local/state/trunkline`.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// The directory of one cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterDir {
    name: String,
    path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub profile: Profile,
    pub workers: u8,
    pub nodes: NodeImage,
    pub components: Vec<ComponentName>,
    pub started: Timestamp,
    pub phase: Phase,
}

/// How far an `up` got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// kind makes the nodes; what is there is of no use yet.
    Creating,
    /// The nodes stand, and components are being installed.
    Installing,
    Ready,
}

/// Held while a command works on the cluster; also by a `kind` it started and what that started in turn. Nothing unlocks
/// it: it is free when the last of them has ended.
pub(super) type Lock = File;

impl Home {
    pub fn locate() -> Result<Self, KindError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = if let Some(path) = set("TRUNKLINE_STATE") {
            PathBuf::from(path)
        } else if let Some(path) = set("XDG_STATE_HOME") {
            PathBuf::from(path).join("trunkline")
        } else if let Some(path) = set("HOME") {
            PathBuf::from(path).join(".local/state/trunkline")
        } else {
            return Err(KindError::NoHome);
        };
        std::path::absolute(&path)
            .map(Self)
            .map_err(KindError::state("find", &path))
    }

    /// State kept elsewhere, as tests do.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(super) fn cluster(&self, name: &str) -> Result<ClusterDir, KindError> {
        check_name(name)?;
        Ok(ClusterDir {
            name: name.to_owned(),
            path: self.0.join("clusters").join(name),
        })
    }
}

/// kind makes container names of it, and we make a directory.
fn check_name(name: &str) -> Result<(), KindError> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let good = !name.is_empty()
        && name.len() <= 40
        && name.chars().all(fits)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(KindError::BadName(name.to_owned()))
    }
}

impl ClusterDir {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    pub(super) fn owner(&self) -> PathBuf {
        self.path.join("owner")
    }

    pub(super) fn cluster(&self, record: &Record) -> Cluster {
        Cluster {
            name: record.name.clone(),
            profile: record.profile,
            kubeconfig: self.kubeconfig(),
            workers: record.workers,
        }
    }

    /// Makes the directory, for this user alone: credentials are kept there.
    pub(super) fn make(&self) -> Result<(), KindError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(KindError::state("create", &self.path))?;
        self.write(
            "owner",
            "This directory belongs to a cluster that trunkline made.\n",
        )
    }

    /// Waits for whoever works on this cluster, but not forever.
    pub(super) async fn lock(&self) -> Result<Lock, KindError> {
        match tokio::time::timeout(PATIENCE, self.take()).await {
            Ok(lock) => lock,
            Err(_) => Err(KindError::Busy {
                name: self.name.clone(),
            }),
        }
    }

    async fn take(&self) -> Result<Lock, KindError> {
        let path = self.path.join("lock");
        loop {
            self.make()?;
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(KindError::state("open", &path))?;
            let lock = locked(file)
                .await
                .map_err(KindError::state("lock", &path))?;
            // Who had it may have removed the directory with it; then others lock another file.
            let inode = |meta: fs::Metadata| (meta.dev(), meta.ino());
            let mine = lock.metadata().map(inode).ok();
            if mine.is_some() && mine == fs::metadata(&path).map(inode).ok() {
                return Ok(lock);
            }
        }
    }

    pub(super) fn record(&self) -> Result<Option<Record>, KindError> {
        let path = self.path.join("cluster.json");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KindError::state("read", &path)(error)),
        };
        // One that cannot be understood is none: the nodes tell whose they are.
        Ok(serde_json::from_str(&text)
            .inspect_err(|error| tracing::warn!("{} is not understood: {error}", path.display()))
            .ok())
    }

    pub(super) fn save(&self, record: &Record) -> Result<(), KindError> {
        let text = serde_json::to_string_pretty(record)
            .map_err(|error| KindError::state("write", &self.path)(error.into()))?;
        self.write("cluster.json", &text)
    }

    /// Whole or not at all, readable by this user alone.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), KindError> {
        let path = self.path.join(name);
        let fresh = self.path.join(format!(".{name}.new"));
        let written = (|| {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(text.as_bytes())?;
            // The mark is mounted into nodes by its inode; the same content keeps its file.
            if fs::read_to_string(&path).is_ok_and(|old| old == text) {
                return fs::remove_file(&fresh);
            }
            fs::rename(&fresh, &path)
        })();
        written.map_err(KindError::state("write", &path))
    }

    /// Nothing remains to be remembered.
    pub(super) fn forget(&self) -> Result<(), KindError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(KindError::state("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Waits on a thread of its own: one that belonged to the runtime would keep the program from ending meanwhile.
async fn locked(file: File) -> std::io::Result<Lock> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let locked = file.lock().map(|()| file);
        drop(sender.send(locked));
    });
    receiver
        .await
        .unwrap_or_else(|_| Err(std::io::Error::other("the thread that waited is gone")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(home: &Path) -> ClusterDir {
        Home::at(home).cluster("c").unwrap()
    }

    #[tokio::test]
    async fn a_lock_whose_directory_was_removed_is_none() {
        let home = tempfile::tempdir().unwrap();
        let dir = dir(home.path());
        let first = dir.lock().await.unwrap();
        let second = tokio::spawn({
            let dir = dir.clone();
            async move { dir.lock().await }
        });
        // It waits for the file that now goes.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!second.is_finished());
        dir.forget().unwrap();
        drop(first);
        let _second = second.await.unwrap().unwrap();
        let third = tokio::time::timeout(Duration::from_millis(200), dir.lock()).await;
        assert!(third.is_err(), "the second holds the file that is there");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        for name in ["", "../x", "A", "a/b", "-a"] {
            assert!(
                matches!(Home::at("/state").cluster(name), Err(KindError::BadName(_))),
                "{name}"
            );
        }
        assert!(Home::at("/state").cluster("tl-1.x").is_ok());
    }

    #[test]
    fn what_is_written_is_this_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = dir(home.path());
        dir.make().unwrap();
        dir.write("kubeconfig", "secret").unwrap();
        for path in [dir.path().to_owned(), dir.kubeconfig()] {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}
