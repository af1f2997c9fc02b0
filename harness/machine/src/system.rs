//! Programs, limits, space.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub name: Option<String>,
}

impl User {
    pub fn current() -> Self {
        let uid = nix::unistd::Uid::effective();
        let user = nix::unistd::User::from_uid(uid).ok().flatten();
        Self {
            uid: uid.as_raw(),
            name: user.map(|user| user.name),
        }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The name, or the number of a user without one.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }

    /// A command that needs root, as this user types it.
    pub fn as_root(&self, command: &str) -> String {
        if self.is_root() {
            command.to_owned()
        } else {
            format!("sudo {command}")
        }
    }
}

/// A number of /proc or /sys; `None` where there is no such file.
pub fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

pub fn names_in(directory: &str) -> BTreeSet<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// Administrators' programs count, whatever the user's PATH says.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| {
            fs::metadata(file)
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

/// Of the file system that holds the path or will hold it.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|dir| dir.exists())?;
    let stat = statvfs(existing).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

pub fn memory_available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

pub fn inotify_instances() -> Option<u64> {
    number("/proc/sys/fs/inotify/max_user_instances")
}

pub fn inotify_watches() -> Option<u64> {
    number("/proc/sys/fs/inotify/max_user_watches")
}
