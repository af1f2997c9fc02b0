//! The lab's file system: the pinned root file system under a tmpfs, fresh kernel file systems, a few devices.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::CACHE_INSIDE;
use super::error::{Failure, Step};

/// Exists everywhere; only the lab's own mount namespace sees what is mounted over it.
const STAGE: &str = "/tmp";

/// Builds the tree and makes it this mount namespace's root. Runs as the namespace's first process.
pub(super) fn build(rootfs: &Path, cache: &Path, user_namespace: bool) -> Result<(), Failure> {
    // Nothing done here may travel back to the host.
    attach(
        None,
        Path::new("/"),
        None,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None,
    )
    .map_err(|errno| Failure::new(Step::Tree, errno, "making mounts private"))?;
    // Opened before anything covers the directories they may lie in.
    let rootfs = Source::open(rootfs, Step::Overlay)?;
    let cache = Source::open(cache, Step::Cache)?;
    let root = overlay(&rootfs, user_namespace)?;
    let fresh = [
        ("proc", "proc", MsFlags::empty(), None, Step::Proc),
        // Read-only: as root this is the machine's own.
        ("sysfs", "sys", MsFlags::MS_RDONLY, None, Step::Sys),
        (
            "tmpfs",
            "run",
            MsFlags::empty(),
            Some("mode=0755"),
            Step::Tree,
        ),
        (
            "tmpfs",
            "tmp",
            MsFlags::empty(),
            Some("mode=1777"),
            Step::Tree,
        ),
    ];
    for (kind, dir, flags, data, step) in fresh {
        let target = root.join(dir);
        let flags = flags | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        directory(&target, step)?;
        attach(Some(kind), &target, Some(kind), flags, data)
            .map_err(|errno| Failure::new(step, errno, ""))?;
    }
    directory(&root.join("run/lab"), Step::Tree)?;
    devices(&root.join("dev"))?;
    show_cache(&cache, &root.join(CACHE_INSIDE.trim_start_matches('/')))?;
    enter(&root).map_err(|errno| Failure::new(Step::PivotRoot, errno, ""))
}

/// `mount` with the one set of types used here.
fn attach(
    source: Option<&str>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    data: Option<&str>,
) -> Result<(), Errno> {
    mount(source, target, kind, flags, data)
}

fn directory(path: &Path, step: Step) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|e| Failure::io(step, &e, path.display().to_string()))
}

/// A directory of the host, reachable even when something is mounted over its path.
struct Source {
    path: PathBuf,
    fd: OwnedFd,
}

impl Source {
    fn open(path: &Path, step: Step) -> Result<Self, Failure> {
        let fd = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_PATH | OFlag::O_DIRECTORY).bits())
            .open(path)
            .map_err(|e| Failure::io(step, &e, path.display().to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            fd: fd.into(),
        })
    }

    /// Recursively, as a mount namespace of lesser privilege must not uncover what a mount hides.
    fn bind(&self, target: &Path, step: Step) -> Result<(), Failure> {
        directory(target, step)?;
        let source = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        attach(
            Some(&source),
            target,
            None,
            MsFlags::MS_BIND | MsFlags::MS_REC,
            None,
        )
        .map_err(|errno| Failure::new(step, errno, self.path.display().to_string()))
    }
}

/// Mounts the root file system, writable in memory only.
fn overlay(rootfs: &Source, user_namespace: bool) -> Result<PathBuf, Failure> {
    let stage = Path::new(STAGE);
    attach(
        Some("tmpfs"),
        stage,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .map_err(|errno| Failure::new(Step::Tree, errno, "tmpfs"))?;
    rootfs.bind(&stage.join("lower"), Step::Overlay)?;
    for dir in ["upper", "work", "root"] {
        directory(&stage.join(dir), Step::Tree)?;
    }
    let root = stage.join("root");
    let layers = format!("lowerdir={STAGE}/lower,upperdir={STAGE}/upper,workdir={STAGE}/work");
    let mount_with = |options: &str| {
        attach(
            Some("overlay"),
            &root,
            Some("overlay"),
            MsFlags::empty(),
            Some(options),
        )
    };
    // In a user namespace overlayfs may only keep its notes in user.* attributes, which tmpfs has since Linux 6.6;
    // before that it works without notes, which costs renames of directories from the layer below.
    let mounted = if user_namespace {
        mount_with(&format!("{layers},userxattr")).or_else(|_| mount_with(&layers))
    } else {
        mount_with(&layers)
    };
    mounted.map_err(|errno| {
        Failure::new(
            Step::Overlay,
            errno,
            format!("overlay over {}", rootfs.path.display()),
        )
    })?;
    Ok(root)
}

/// Devices every container engine gives, and those that OVS and QEMU open.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const OPTIONAL_DEVICES: [&str; 2] = ["kvm", "vhost-net"];
const TUN: &str = "net/tun";
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

fn devices(dev: &Path) -> Result<(), Failure> {
    let failed =
        |what: &Path, errno| Failure::new(Step::Devices, errno, what.display().to_string());
    directory(dev, Step::Devices)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    attach(Some("tmpfs"), dev, Some("tmpfs"), flags, Some("mode=0755"))
        .map_err(|errno| failed(dev, errno))?;
    for name in DEVICES {
        device(dev, name)?;
    }
    directory(&dev.join("net"), Step::Devices)?;
    device(dev, TUN).map_err(|failure| Failure {
        step: Step::Tun,
        ..failure
    })?;
    for name in OPTIONAL_DEVICES {
        if Path::new("/dev").join(name).exists() {
            device(dev, name)?;
        }
    }
    let pts = dev.join("pts");
    directory(&pts, Step::Devices)?;
    let options = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    attach(Some("devpts"), &pts, Some("devpts"), flags, Some(options))
        .map_err(|errno| failed(&pts, errno))?;
    let shm = dev.join("shm");
    directory(&shm, Step::Devices)?;
    attach(
        Some("tmpfs"),
        &shm,
        Some("tmpfs"),
        flags | MsFlags::MS_NODEV,
        Some("mode=1777"),
    )
    .map_err(|errno| failed(&shm, errno))?;
    for (target, name) in LINKS {
        symlink(target, dev.join(name))
            .map_err(|e| Failure::io(Step::Devices, &e, dev.join(name).display().to_string()))?;
    }
    fs::set_permissions(dev, fs::Permissions::from_mode(0o755))
        .map_err(|e| Failure::io(Step::Devices, &e, dev.display().to_string()))
}

/// A device of the host, bound: making nodes is not allowed in a user namespace.
fn device(dev: &Path, name: &str) -> Result<(), Failure> {
    let host = Path::new("/dev").join(name);
    let target = dev.join(name);
    let told = || host.display().to_string();
    File::create(&target).map_err(|e| Failure::io(Step::Devices, &e, told()))?;
    let source = told();
    attach(Some(&source), &target, None, MsFlags::MS_BIND, None)
        .map_err(|errno| Failure::new(Step::Devices, errno, told()))
}

fn show_cache(cache: &Source, target: &Path) -> Result<(), Failure> {
    cache.bind(target, Step::Cache)?;
    let failed = |errno| Failure::new(Step::Cache, errno, cache.path.display().to_string());
    // A user namespace may add restrictions to a mount but must repeat those it has.
    let flags = statvfs(target).map_err(failed)?.flags();
    let kept = [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = kept
        .into_iter()
        .filter(|(have, _)| flags.contains(*have))
        .fold(MsFlags::empty(), |all, (_, flag)| all | flag);
    let flags = kept | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    attach(None, target, None, flags, None).map_err(failed)
}

fn enter(root: &Path) -> Result<(), Errno> {
    chdir(root)?;
    // The old root ends up under the new one at the same place and is taken off from there.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
