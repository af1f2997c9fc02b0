//! What there is to know about a machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use trunkline_machine::{
    Access, KernelModule, Modules, free_bytes, inotify_instances, inotify_watches, kernel_version,
    memory_available, names_in, number, program,
};

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
            overlay: modules.file_system("overlay"),
            veth: modules.find("veth"),
            bridge: modules.find("bridge"),
            mmdebstrap: program("mmdebstrap"),
            debian_keyring: Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
            cache: cache.to_owned(),
            cache_free: free_bytes(cache),
            memory_available: memory_available(),
            inotify_instances: inotify_instances(),
            inotify_watches: inotify_watches(),
        }
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

fn ids(file: &str) -> SubordinateIds {
    SubordinateIds::read(Path::new(file)).unwrap_or_default()
}

fn administers() -> bool {
    use caps::{CapSet, Capability, has_cap};
    [Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN]
        .into_iter()
        .all(|cap| has_cap(None, CapSet::Effective, cap).unwrap_or(false))
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
