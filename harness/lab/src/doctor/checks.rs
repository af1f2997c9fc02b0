//! The checks, in the order in which they are shown.

use std::fmt::Write as _;

use super::{Access, Check, CheckId, Facts, KernelModule, Status};

pub(super) enum Rule {
    Always(fn(&Facts) -> Check),
    /// Does not apply to everybody, or needs a fact that cannot be had everywhere.
    Sometimes(fn(&Facts) -> Option<Check>),
}

pub(super) const ALL: &[Rule] = &[
    Rule::Always(namespaces),
    Rule::Always(privileges),
    Rule::Sometimes(user_namespaces),
    Rule::Sometimes(apparmor),
    Rule::Sometimes(subordinate_ids),
    Rule::Sometimes(id_map_helpers),
    Rule::Sometimes(proc),
    Rule::Always(tun),
    Rule::Always(overlay),
    Rule::Always(network_devices),
    Rule::Always(root_fs_builder),
    Rule::Sometimes(disk_space),
    Rule::Sometimes(memory),
    Rule::Sometimes(inotify),
    Rule::Always(kvm),
];

impl Rule {
    pub(super) fn apply(&self, facts: &Facts) -> Option<Check> {
        match self {
            Self::Always(check) => Some(check(facts)),
            Self::Sometimes(check) => check(facts),
        }
    }
}

const NO_LAB: &str = "no lab can start";
const NO_LAB_FOR_USERS: &str = "no lab can start without root";

/// Every system user and `nobody`; and what distributions give to a user.
const SUBORDINATE_IDS: u32 = 65_534;
const USUAL_RANGE: u32 = 65_536;

const MIB: u64 = 1 << 20;
/// Both root file systems while they are unpacked, and images.
const DISK_NEEDED: u64 = 3072 * MIB;
/// A lab of three nodes with pods, and its build of root file systems.
const MEMORY_NEEDED: u64 = 1024 * MIB;
/// The first kernel that lets user namespaces mount overlayfs.
const OVERLAY_FOR_USERS: (u32, u32) = (5, 11);
const INOTIFY_INSTANCES: u64 = 128;
const INOTIFY_WATCHES: u64 = 8192;

/// A command that needs root, as this user types it.
fn as_root(facts: &Facts, command: &str) -> String {
    if facts.is_root() {
        command.to_owned()
    } else {
        format!("sudo {command}")
    }
}

fn namespaces(facts: &Facts) -> Check {
    const NEEDED: [&str; 6] = ["ipc", "mnt", "net", "pid", "user", "uts"];
    let (id, title) = (CheckId::Namespaces, "kernel namespaces");
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|name| !facts.namespaces.contains(*name))
        .collect();
    if missing.is_empty() {
        Check::ok(id, title, NEEDED.join(" "))
    } else {
        let found = format!("this kernel has no {} namespaces", missing.join(", "));
        Check::ok(id, title, found).bad(Status::Failed, NO_LAB, None)
    }
}

/// Being root may mean little in a container.
fn privileges(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Privileges, "privileges");
    if !facts.is_root() {
        let user = facts.user.clone().unwrap_or_else(|| facts.uid.to_string());
        Check::ok(id, title, format!("ordinary user {user}"))
    } else if facts.administers {
        Check::ok(id, title, "root")
    } else {
        let found = "root without CAP_SYS_ADMIN or CAP_NET_ADMIN, as in an unprivileged container";
        Check::ok(id, title, found).bad(Status::Failed, NO_LAB, None)
    }
}

fn user_namespaces(facts: &Facts) -> Option<Check> {
    if facts.is_root() {
        return None;
    }
    let (id, title) = (CheckId::UserNamespaces, "user namespaces");
    let switches = &facts.user_namespaces;
    let (found, command) = if switches.max == Some(0) {
        (
            "switched off (user.max_user_namespaces=0)",
            "sysctl -w user.max_user_namespaces=15000",
        )
    } else if switches.unprivileged == Some(0) {
        (
            "switched off for users (kernel.unprivileged_userns_clone=0)",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        )
    } else {
        return Some(Check::ok(id, title, "allowed"));
    };
    Some(Check::ok(id, title, found).bad(Status::Failed, NO_LAB_FOR_USERS, as_root(facts, command)))
}

fn apparmor(facts: &Facts) -> Option<Check> {
    if facts.is_root() {
        return None;
    }
    let (id, title) = (CheckId::AppArmor, "AppArmor");
    Some(match facts.user_namespaces.apparmor_restricts {
        None | Some(0) => Check::ok(id, title, "does not restrict user namespaces"),
        Some(_) => Check::ok(
            id,
            title,
            "takes all power from user namespaces (kernel.apparmor_restrict_unprivileged_userns=1)",
        )
        .bad(
            Status::Failed,
            NO_LAB_FOR_USERS,
            as_root(
                facts,
                "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
        ),
    })
}

fn subordinate_ids(facts: &Facts) -> Option<Check> {
    if facts.is_root() {
        return None;
    }
    let (id, title) = (CheckId::SubordinateIds, "subordinate ids");
    let (users, groups) = (facts.subuid, facts.subgid);
    let found = format!("{users} in /etc/subuid, {groups} in /etc/subgid");
    if users >= SUBORDINATE_IDS && groups >= SUBORDINATE_IDS {
        return Some(Check::ok(id, title, found));
    }
    let first = facts.free_subordinate;
    let last = first.saturating_add(USUAL_RANGE - 1);
    let mut command = "usermod".to_owned();
    for (count, option) in [(users, "--add-subuids"), (groups, "--add-subgids")] {
        if count < SUBORDINATE_IDS {
            // Writing to a String cannot fail.
            let _ = write!(command, " {option} {first}-{last}");
        }
    }
    let user = facts.user.clone().unwrap_or_else(|| facts.uid.to_string());
    Some(
        Check::ok(
            id,
            title,
            format!("{found}; {SUBORDINATE_IDS} of each are needed"),
        )
        .bad(
            Status::Failed,
            NO_LAB_FOR_USERS,
            as_root(facts, &format!("{command} {user}")),
        ),
    )
}

fn id_map_helpers(facts: &Facts) -> Option<Check> {
    if facts.is_root() {
        return None;
    }
    let (id, title) = (CheckId::IdMapHelpers, "newuidmap and newgidmap");
    Some(match (&facts.helpers.newuidmap, &facts.helpers.newgidmap) {
        (Some(path), Some(_)) => Check::ok(id, title, path.display().to_string()),
        _ => Check::ok(id, title, "not installed").bad(
            Status::Failed,
            NO_LAB_FOR_USERS,
            as_root(facts, "apt-get install --yes uidmap"),
        ),
    })
}

fn tun(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Tun, "/dev/net/tun");
    let failed = |found: String, fix| Check::ok(id, title, found).bad(Status::Failed, NO_LAB, fix);
    match &facts.tun {
        Access::Usable => Check::ok(id, title, "usable"),
        Access::Missing => failed("not there".into(), as_root(facts, "modprobe tun")),
        Access::Denied(mode) => failed(
            format!("not for this user (its mode is {mode:04o})"),
            as_root(facts, "chmod 0666 /dev/net/tun"),
        ),
        Access::Broken(error) => failed(
            format!("there, but it does not open: {error}"),
            as_root(facts, "modprobe tun"),
        ),
    }
}

/// A user namespace may not mount a /proc that shows more than the one it can see.
fn proc(facts: &Facts) -> Option<Check> {
    if facts.is_root() {
        return None;
    }
    let (id, title) = (CheckId::Proc, "/proc");
    let first = facts.masked.first();
    Some(first.map_or_else(
        || Check::ok(id, title, "whole"),
        |path| {
            let found = format!("parts are hidden ({path}), as in a container");
            let command = "docker run --security-opt systempaths=unconfined".to_owned();
            Check::ok(id, title, found).bad(Status::Failed, NO_LAB_FOR_USERS, command)
        },
    ))
}

fn overlay(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Overlay, "overlayfs");
    if !facts.is_root() && facts.kernel < OVERLAY_FOR_USERS {
        let (major, minor) = facts.kernel;
        let found = format!("Linux {major}.{minor} keeps it from users; 5.11 does not");
        return Check::ok(id, title, found).bad(Status::Failed, NO_LAB_FOR_USERS, None);
    }
    match facts.overlay {
        KernelModule::Present => Check::ok(id, title, "in the kernel"),
        // Mounting in a user namespace does not load modules.
        KernelModule::Loadable if !facts.is_root() => Check::ok(id, title, "not loaded").bad(
            Status::Failed,
            NO_LAB_FOR_USERS,
            as_root(facts, "modprobe overlay"),
        ),
        KernelModule::Loadable => Check::ok(id, title, "a module"),
        KernelModule::Missing | KernelModule::Unlisted => Check::ok(
            id,
            title,
            "not in this kernel",
        )
        .bad(Status::Failed, NO_LAB, as_root(facts, "modprobe overlay")),
    }
}

fn network_devices(facts: &Facts) -> Check {
    let (id, title) = (CheckId::NetworkDevices, "veth and bridge devices");
    let in_state = |wanted: KernelModule| -> Vec<&str> {
        let devices = [("veth", facts.veth), ("bridge", facts.bridge)];
        devices
            .into_iter()
            .filter(|(_, state)| *state == wanted)
            .map(|(name, _)| name)
            .collect()
    };
    let missing = in_state(KernelModule::Missing);
    let unlisted = in_state(KernelModule::Unlisted);
    if missing.is_empty() && unlisted.is_empty() {
        Check::ok(id, title, "in the kernel, or modules")
    } else if missing.is_empty() {
        // As with a kernel that is not the distribution's.
        let found = format!(
            "this kernel does not tell whether it has {}",
            unlisted.join(" and ")
        );
        Check::info(id, title, found)
    } else {
        let found = format!("this kernel does not have {}", missing.join(" and "));
        let command = format!("modprobe --all {}", missing.join(" "));
        Check::ok(id, title, found).bad(
            Status::Warning,
            "nodes cannot be connected",
            as_root(facts, &command),
        )
    }
}

fn root_fs_builder(facts: &Facts) -> Check {
    let (id, title) = (CheckId::RootFsBuilder, "mmdebstrap and the Debian keyring");
    let mut missing = Vec::new();
    if facts.mmdebstrap.is_none() {
        missing.push("mmdebstrap");
    }
    if !facts.debian_keyring {
        missing.push("debian-archive-keyring");
    }
    if missing.is_empty() {
        Check::ok(id, title, "installed")
    } else {
        let command = format!("apt-get install --yes {}", missing.join(" "));
        Check::ok(
            id,
            title,
            format!("{} not installed", missing.join(" and ")),
        )
        .bad(
            Status::Failed,
            "the lab's root file systems cannot be built (those already in the cache work)",
            as_root(facts, &command),
        )
    }
}

fn disk_space(facts: &Facts) -> Option<Check> {
    let (id, title) = (CheckId::DiskSpace, "disk space of the cache");
    let free = facts.cache_free?;
    let cache = facts.cache.display();
    let check = Check::ok(id, title, format!("{} MiB free in {cache}", free / MIB));
    Some(if free >= DISK_NEEDED {
        check
    } else {
        // Which data may go only its owner knows; moving the cache always works.
        check.bad(
            Status::Warning,
            "the lab's root file systems may not fit (3 GiB are needed to build them)",
            "export TRUNKLINE_CACHE=/a/larger/disk/trunkline".to_owned(),
        )
    })
}

fn memory(facts: &Facts) -> Option<Check> {
    let (id, title) = (CheckId::Memory, "memory");
    let available = facts.memory_available?;
    let check = Check::ok(id, title, format!("{} MiB available", available / MIB));
    Some(if available >= MEMORY_NEEDED {
        check
    } else {
        check.bad(
            Status::Warning,
            "a lab needs about 1 GiB with pods in it",
            None,
        )
    })
}

fn inotify(facts: &Facts) -> Option<Check> {
    let (id, title) = (CheckId::Inotify, "inotify limits");
    let (instances, watches) = (facts.inotify_instances?, facts.inotify_watches?);
    let check = Check::ok(
        id,
        title,
        format!("{instances} instances, {watches} watches"),
    );
    Some(
        if instances >= INOTIFY_INSTANCES && watches >= INOTIFY_WATCHES {
            check
        } else {
            check.bad(
            Status::Warning,
            "several labs at once may run out of them",
            as_root(
                facts,
                "sysctl -w fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288",
            ),
        )
        },
    )
}

fn kvm(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Kvm, "/dev/kvm");
    let found = match &facts.kvm {
        Access::Usable => "opens; whether guests run on it is tried when the first one starts",
        Access::Missing => "not there: guests are emulated, which is slower",
        Access::Denied(_) => "not for this user: guests are emulated, which is slower",
        Access::Broken(_) => "does not open: guests are emulated, which is slower",
    };
    Check::info(id, title, found)
}

#[cfg(test)]
mod tests;
