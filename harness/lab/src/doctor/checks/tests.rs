use std::path::PathBuf;

use rstest::rstest;

use super::super::{Access, Check, CheckId, Facts, Helpers, KernelModule, Status, UserNamespaces};
use super::super::{examine_facts, suspects};
use crate::boot::Step;

/// A user's machine on which everything is right.
fn good() -> Facts {
    Facts {
        uid: 1000,
        user: Some("alice".into()),
        namespaces: ["ipc", "mnt", "net", "pid", "user", "uts"]
            .map(String::from)
            .into(),
        administers: false,
        user_namespaces: UserNamespaces {
            max: Some(1000),
            unprivileged: Some(1),
            apparmor_restricts: Some(0),
        },
        subuid: 65_536,
        subgid: 65_536,
        free_subordinate: 165_536,
        helpers: Helpers {
            newuidmap: Some(PathBuf::from("/usr/bin/newuidmap")),
            newgidmap: Some(PathBuf::from("/usr/bin/newgidmap")),
        },
        tun: Access::Usable,
        kvm: Access::Missing,
        kernel: (6, 8),
        masked: Vec::new(),
        overlay: KernelModule::Present,
        veth: KernelModule::Loadable,
        bridge: KernelModule::Present,
        mmdebstrap: Some(PathBuf::from("/usr/bin/mmdebstrap")),
        debian_keyring: true,
        cache: PathBuf::from("/home/alice/.cache/trunkline"),
        cache_free: Some(10 << 30),
        memory_available: Some(4 << 30),
        inotify_instances: Some(128),
        inotify_watches: Some(524_288),
    }
}

fn find(facts: &Facts, id: CheckId) -> Check {
    let all = examine_facts(facts);
    all.into_iter().find(|check| check.id == id).unwrap()
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    let checks = examine_facts(&good());
    assert_eq!(checks.len(), super::ALL.len());
    for check in checks {
        assert!(
            matches!(check.status, Status::Ok | Status::Info),
            "{check:?}"
        );
        assert_eq!((check.breaks, check.fix), ("", None));
    }
}

#[test]
fn root_is_not_asked_about_user_namespaces() {
    let facts = Facts {
        uid: 0,
        administers: true,
        subuid: 0,
        helpers: Helpers::default(),
        ..good()
    };
    let checks = examine_facts(&facts);
    assert!(checks.iter().all(|check| check.status != Status::Failed));
    assert!(
        checks
            .iter()
            .all(|check| check.id != CheckId::SubordinateIds)
    );
}

#[rstest]
#[case::switched_off(
    |facts: &mut Facts| facts.user_namespaces.unprivileged = Some(0),
    CheckId::UserNamespaces,
    "sudo sysctl -w kernel.unprivileged_userns_clone=1"
)]
#[case::no_user_namespaces(
    |facts: &mut Facts| facts.user_namespaces.max = Some(0),
    CheckId::UserNamespaces,
    "sudo sysctl -w user.max_user_namespaces=15000"
)]
#[case::ubuntu(
    |facts: &mut Facts| facts.user_namespaces.apparmor_restricts = Some(1),
    CheckId::AppArmor,
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
)]
#[case::no_subuids(
    |facts: &mut Facts| facts.subuid = 0,
    CheckId::SubordinateIds,
    "sudo usermod --add-subuids 165536-231071 alice"
)]
#[case::no_subordinate_ids(
    |facts: &mut Facts| { facts.subuid = 0; facts.subgid = 0; },
    CheckId::SubordinateIds,
    "sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 alice"
)]
#[case::no_uidmap(
    |facts: &mut Facts| facts.helpers.newuidmap = None,
    CheckId::IdMapHelpers,
    "sudo apt-get install --yes uidmap"
)]
#[case::closed_tun(
    |facts: &mut Facts| facts.tun = Access::Denied(0o600),
    CheckId::Tun,
    "sudo chmod 0666 /dev/net/tun"
)]
#[case::no_tun(
    |facts: &mut Facts| facts.tun = Access::Missing,
    CheckId::Tun,
    "sudo modprobe tun"
)]
#[case::in_a_container(
    |facts: &mut Facts| facts.masked.push("/proc/kcore".into()),
    CheckId::Proc,
    "docker run --security-opt systempaths=unconfined"
)]
#[case::overlay_not_loaded(
    |facts: &mut Facts| facts.overlay = KernelModule::Loadable,
    CheckId::Overlay,
    "sudo modprobe overlay"
)]
#[case::no_builder(
    |facts: &mut Facts| { facts.mmdebstrap = None; facts.debian_keyring = false; },
    CheckId::RootFsBuilder,
    "sudo apt-get install --yes mmdebstrap debian-archive-keyring"
)]
fn names_the_command(#[case] spoil: fn(&mut Facts), #[case] id: CheckId, #[case] fix: &str) {
    let mut facts = good();
    spoil(&mut facts);
    let check = find(&facts, id);
    assert_eq!(check.status, Status::Failed);
    assert_eq!(check.fix.as_deref(), Some(fix));
    assert!(!check.breaks.is_empty());
    let failed = examine_facts(&facts)
        .into_iter()
        .filter(|check| check.status == Status::Failed);
    assert_eq!(failed.count(), 1);
}

#[test]
fn root_needs_no_sudo() {
    let facts = Facts {
        uid: 0,
        administers: true,
        tun: Access::Missing,
        ..good()
    };
    assert_eq!(
        find(&facts, CheckId::Tun).fix.as_deref(),
        Some("modprobe tun")
    );
}

#[test]
fn overlayfs_for_users_needs_a_kernel() {
    let facts = Facts {
        kernel: (5, 4),
        ..good()
    };
    let check = find(&facts, CheckId::Overlay);
    assert_eq!(check.status, Status::Failed);
    assert!(check.found.starts_with("Linux 5.4 "), "{}", check.found);
}

#[test]
fn little_space_is_a_warning() {
    let facts = Facts {
        cache_free: Some(1 << 30),
        ..good()
    };
    let check = find(&facts, CheckId::DiskSpace);
    assert_eq!(check.status, Status::Warning);
    assert!(check.found.starts_with("1024 MiB free"));
}

#[test]
fn apparmor_is_suspected_when_namespaces_fail() {
    assert_eq!(suspects(Step::Namespaces)[0], CheckId::AppArmor);
}

/// A fresh Ubuntu runner gets what the doctor would say there.
#[test]
fn the_workflows_mend_what_ubuntu_restricts() {
    let mut facts = good();
    facts.user_namespaces.apparmor_restricts = Some(1);
    let fix = find(&facts, CheckId::AppArmor).fix.unwrap();
    let action = include_str!("../../../../../.github/actions/prepare/action.yml");
    assert!(action.contains(&fix), "{fix}");
}
