//! runc without cgroups.
//!
//! runc 1.1 refuses to work where it finds no cgroup hierarchy at all. With `--rootless=true`, no limits and no
//! `cgroupsPath` it goes on when it may not create anything. So it is shown the unified hierarchy through a
//! read-only mount in the lab's own mount namespace: it sees one, can change nothing, and is content. The mount
//! is made from a cgroup namespace of its own, because a user namespace may mount cgroup2 only there.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::RuntimeError;

const ROOT: &str = "/sys/fs/cgroup";

/// Makes `/sys/fs/cgroup` such that runc works and cannot create a cgroup. Call once, before the first container.
///
/// # Errors
/// When a writable cgroup mount is visible: the machine's cgroups are not ours to touch.
pub(crate) fn shield() -> Result<(), RuntimeError> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")
        .map_err(RuntimeError::io("read /proc/self/mountinfo"))?;
    match cgroup_mounts(&mountinfo) {
        Mounts::None => {}
        Mounts::ReadOnly => return Ok(()),
        Mounts::Writable(path) => return Err(RuntimeError::WritableCgroups(path)),
    }
    let mounted = std::thread::spawn(|| {
        // of this thread only; the mount itself is visible to the whole process
        unshare(CloneFlags::CLONE_NEWCGROUP)?;
        mount(
            Some("cgroup2"),
            Path::new(ROOT),
            Some("cgroup2"),
            MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
            None::<&str>,
        )
    });
    match mounted.join() {
        Ok(result) => result.map_err(RuntimeError::nix(format!(
            "mount cgroup2 read-only at {ROOT}"
        ))),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Mounts {
    None,
    ReadOnly,
    Writable(PathBuf),
}

fn cgroup_mounts(mountinfo: &str) -> Mounts {
    let mut found = Mounts::None;
    for line in mountinfo.lines() {
        // "… mountpoint options [optional…] - fstype source superoptions"
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        if !matches!(right.split(' ').next(), Some("cgroup" | "cgroup2")) {
            continue;
        }
        let mut fields = left.split(' ').skip(4);
        let (Some(point), Some(options)) = (fields.next(), fields.next()) else {
            continue;
        };
        if options.split(',').any(|o| o == "ro") {
            found = Mounts::ReadOnly;
        } else {
            return Mounts::Writable(PathBuf::from(point));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Mounts, cgroup_mounts};

    #[test]
    fn tells_writable_from_read_only() {
        let none = "22 1 0:20 / /sys rw,relatime - sysfs sysfs rw";
        assert_eq!(cgroup_mounts(none), Mounts::None);
        let ro = "44 71 0:38 / /sys/fs/cgroup ro,relatime - cgroup2 none rw";
        assert_eq!(cgroup_mounts(ro), Mounts::ReadOnly);
        let rw = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:5 - cgroup2 cgroup2 rw";
        assert_eq!(
            cgroup_mounts(&format!("{ro}\n{rw}")),
            Mounts::Writable("/sys/fs/cgroup/unified".into())
        );
    }
}
