//! What there is to know about a machine.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::sys::utsname::uname;
use nix::unistd::{Uid, User};

use super::subordinate::SubordinateIds;

/// Facts about the machine and the user, as far as they can be read.
#[derive(Debug, Clone)]
pub struct Facts {
    pub uid: u32,
    pub user: Option<String>,
    /// Names in /proc/self/ns.
    pub namespaces: BTreeSet<String>,
    /// The caller may administer the system: effective CAP_SYS_ADMIN and CAP_NET_ADMIN.
    pub administers: bool,
    pub user_namespaces: UserNamespaces,
    /// Lengths of the user's ranges in /etc/subuid and /etc/subgid.
    pub subuid: u32,
    pub subgid: u32,
    /// Where a range that nobody has begins, in both files.
    pub free_subordinate: u32,
    pub helpers: Helpers,
    pub tun: Access,
    pub kvm: Access,
    /// Version of the kernel, major and minor.
    pub kernel: (u32, u32),
    /// What is mounted over parts of /proc and /sys, as container engines do.
    pub masked: Vec<String>,
    pub overlay: KernelModule,
    pub veth: KernelModule,
    pub bridge: KernelModule,
    pub mmdebstrap: Option<PathBuf>,
    pub debian_keyring: bool,
    pub cache: PathBuf,
    /// Bytes free where the cache is or will be; `None` when that cannot be told.
    pub cache_free: Option<u64>,
    /// Bytes.
    pub memory_available: Option<u64>,
    pub inotify_instances: Option<u64>,
    pub inotify_watches: Option<u64>,
}

/// Switches of the kernel; `None` where the kernel has no such switch.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserNamespaces {
    /// user.max_user_namespaces
    pub max: Option<u64>,
    /// kernel.unprivileged_userns_clone (Debian)
    pub unprivileged: Option<u64>,
    /// kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
    pub apparmor_restricts: Option<u64>,
}

/// The set-user-id programs of the uidmap package.
#[derive(Debug, Clone, Default)]
pub struct Helpers {
    pub newuidmap: Option<PathBuf>,
    pub newgidmap: Option<PathBuf>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Usable,
    Missing,
    /// There, but not for this user; its mode.
    Denied(u32),
    /// There, but opening it fails otherwise.
    Broken(String),
}

impl Access {
    fn of(path: &Path) -> Self {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(_) => Self::Usable,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Self::Denied(
                fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o7777),
            ),
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

/// A part of the kernel that may be a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelModule {
    /// Built in or loaded.
    Present,
    /// The kernel can load it.
    Loadable,
    Missing,
    /// The kernel came without the lists that would tell.
    Unlisted,
}

impl Facts {
    /// Reads everything; what cannot be read is left out.
    pub fn gather(cache: &Path) -> Self {
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
        let users = ids("/etc/subuid");
        let groups = ids("/etc/subgid");
        let modules = Modules::read();
        Self {
            uid: uid.as_raw(),
            namespaces: names_in("/proc/self/ns"),
            administers: administers(),
            user_namespaces: UserNamespaces {
                max: number("/proc/sys/user/max_user_namespaces"),
                unprivileged: number("/proc/sys/kernel/unprivileged_userns_clone"),
                apparmor_restricts: number(
                    "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                ),
            },
            free_subordinate: users.free_start().max(groups.free_start()),
            subuid: users.longest_of(user.as_deref(), uid.as_raw()),
            subgid: groups.longest_of(user.as_deref(), uid.as_raw()),
            user,
            helpers: Helpers {
                newuidmap: program("newuidmap"),
                newgidmap: program("newgidmap"),
            },
            tun: Access::of(Path::new("/dev/net/tun")),
            kvm: Access::of(Path::new("/dev/kvm")),
            kernel: kernel_version(),
            masked: masked(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()),
            overlay: modules.overlay(),
            veth: modules.find("veth"),
            bridge: modules.find("bridge"),
            mmdebstrap: program("mmdebstrap"),
            debian_keyring: Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
            cache: cache.to_owned(),
            cache_free: free_bytes(cache),
            memory_available: memory_available(),
            inotify_instances: number("/proc/sys/fs/inotify/max_user_instances"),
            inotify_watches: number("/proc/sys/fs/inotify/max_user_watches"),
        }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

fn ids(file: &str) -> SubordinateIds {
    SubordinateIds::read(Path::new(file)).unwrap_or_default()
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn names_in(directory: &str) -> BTreeSet<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

fn administers() -> bool {
    use caps::{CapSet, Capability, has_cap};
    [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN]
        .into_iter()
        .all(|cap| has_cap(None, CapSet::Effective, cap).unwrap_or(false))
}

/// Administrators' programs count: the lab calls them whatever the user's PATH says.
fn program(name: &str) -> Option<PathBuf> {
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
fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|dir| dir.exists())?;
    let stat = statvfs(existing).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

fn memory_available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn kernel_release() -> String {
    uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Mount points below /proc. File systems that belong there do not hide anything.
fn masked(mountinfo: &str) -> Vec<String> {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| path.starts_with("/proc/") && *path != "/proc/sys/fs/binfmt_misc")
        .map(str::to_owned)
        .collect()
}

/// The kernel's own lists of what it has.
struct Modules {
    file_systems: String,
    loaded: BTreeSet<String>,
    listed: Vec<String>,
}

impl Modules {
    fn read() -> Self {
        let release = kernel_release();
        let list = |file: &str| {
            let path = Path::new("/lib/modules").join(&release).join(file);
            fs::read_to_string(path).unwrap_or_default()
        };
        Self {
            file_systems: fs::read_to_string("/proc/filesystems").unwrap_or_default(),
            loaded: names_in("/sys/module"),
            listed: vec![list("modules.builtin"), list("modules.dep")],
        }
    }

    fn overlay(&self) -> KernelModule {
        let known = |line: &str| line.split_whitespace().last() == Some("overlay");
        if self.file_systems.lines().any(known) {
            KernelModule::Present
        } else {
            self.find("overlay")
        }
    }

    fn find(&self, name: &str) -> KernelModule {
        let file = format!("/{name}.ko");
        if self.loaded.contains(name) {
            KernelModule::Present
        } else if self.listed.iter().any(|list| list.contains(&file)) {
            KernelModule::Loadable
        } else if self.listed.iter().all(String::is_empty) {
            KernelModule::Unlisted
        } else {
            KernelModule::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_what_hides_parts_of_proc() {
        let info = "\
            22 1 0:20 / /proc rw shared:5 - proc proc rw\n\
            23 22 0:21 / /proc/sys/fs/binfmt_misc rw shared:6 - autofs systemd-1 rw\n\
            24 22 0:22 /null /proc/kcore rw - tmpfs tmpfs rw\n";
        assert_eq!(super::masked(info), ["/proc/kcore"]);
    }
}
