//! The kernel's own file systems.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::log;

fn mount_at(target: &str, kind: &str, flags: MsFlags, options: Option<&str>) {
    let _exists = fs::create_dir_all(target);
    match mount(Some(kind), target, Some(kind), flags, options) {
        // It was there before us.
        Ok(()) | Err(Errno::EBUSY) => {}
        Err(error) => log::error(&format!("cannot mount {kind} at {target}: {error}")),
    }
}

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

/// What the way to the root needs.
pub fn first() {
    if !fs::exists("/dev/null").unwrap_or(false) {
        mount_at("/dev", "devtmpfs", MsFlags::MS_NOSUID, Some("mode=0755"));
    }
    if !fs::exists("/proc/self").unwrap_or(false) {
        mount_at("/proc", "proc", quiet(), None);
    }
    if !fs::exists("/sys/class").unwrap_or(false) {
        mount_at("/sys", "sysfs", quiet(), None);
    }
}

/// What programs expect.
pub fn second() {
    mount_at(
        "/run",
        "tmpfs",
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=0755"),
    );
    mount_at(
        "/dev/pts",
        "devpts",
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        Some("ptmxmode=0666,mode=0620,gid=5"),
    );
    mount_at(
        "/dev/shm",
        "tmpfs",
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777"),
    );
    for (link, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        let _exists = symlink(target, link);
    }
    for (directory, mode) in [
        ("/tmp", 0o1777),
        ("/var/tmp", 0o1777),
        ("/var/log", 0o755),
        ("/var/lib/cloud", 0o755),
        ("/run/lock", 0o1777),
        ("/run/cloud-init", 0o755),
    ] {
        let _exists = fs::create_dir_all(directory);
        let _best_effort = fs::set_permissions(directory, fs::Permissions::from_mode(mode));
    }
    // As on Fedora: everybody may ping.
    let _best_effort = fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    for (link, target) in [("/var/run", "/run"), ("/var/lock", "/run/lock")] {
        if !fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
            let _absent = fs::remove_dir_all(link);
            if let Err(error) = symlink(target, link) {
                log::error(&format!("cannot link {link} to {target}: {error}"));
            }
        }
    }
}
