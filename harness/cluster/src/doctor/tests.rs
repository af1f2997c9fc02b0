#![allow(clippy::unwrap_used, reason = "tests")]

use rstest::rstest;
use trunkline_machine::User;

use super::{
    Check, CheckId, Endpoint, Engine, Facts, KernelModule, ModuleStates, Privileged, Status, Tool,
    examine_facts,
};
use crate::{
    component::Profile,
    docker::{DockerFacts, HostFacts, Limits, Provider},
};

const GIB: u64 = 1 << 30;

/// A user's machine on which everything is right.
fn good() -> Facts {
    with_engine(says())
}

fn says() -> DockerFacts {
    DockerFacts {
        provider: "docker",
        version: "28.2.2".to_owned(),
        rootless: false,
        cgroup_version: 2,
        root: "/var/lib/docker".into(),
        free_mib: Some(100_000),
    }
}

fn with_engine(says: DockerFacts) -> Facts {
    Facts {
        user: User {
            uid: 1000,
            name: Some("alice".to_owned()),
        },
        engine: Engine::Answers {
            says: says.clone(),
            privileged: Privileged::Runs,
        },
        host: HostFacts {
            docker: Ok(says),
            inotify: Some(Limits {
                instances: 8192,
                watches: 1_048_576,
            }),
            kind: Some("/usr/local/bin/kind".into()),
            helm: Some("/usr/local/bin/helm".into()),
            kvm: true,
        },
        kind: Tool::Installed("0.30.0".to_owned()),
        helm: Tool::Installed("v3.19.0+g3d8990f".to_owned()),
        memory_available: Some(16 * GIB),
        modules: ModuleStates {
            vlan: KernelModule::Present,
            openvswitch: KernelModule::Loadable,
            geneve: KernelModule::Loadable,
            vrf: KernelModule::Present,
        },
        endpoints: vec![
            endpoint("registry-1.docker.io", Profile::Plain, None),
            endpoint("quay.io", Profile::OvnKubernetes, None),
        ],
    }
}

/// Without an answer from an engine.
fn silent(engine: Engine) -> Facts {
    let mut facts = good();
    facts.host.docker = Err("no container engine answers".to_owned());
    Facts { engine, ..facts }
}

fn endpoint(host: &str, profile: Profile, silent: Option<&str>) -> Endpoint {
    Endpoint {
        host: host.to_owned(),
        profile,
        silent: silent.map(str::to_owned),
    }
}

fn find(facts: &Facts, id: CheckId) -> Option<Check> {
    let all = examine_facts(facts);
    all.into_iter().find(|check| check.id == id)
}

#[test]
fn nothing_is_wrong_with_a_good_machine() {
    let checks = examine_facts(&good());
    assert_eq!(checks.len(), super::rules::ALL.len());
    for check in checks {
        assert_eq!(check.status, Status::Ok, "{check:?}");
        assert_eq!((check.breaks, check.fix), ("", None));
    }
}

/// What is missing, how bad that is, and the command that mends it.
#[rstest]
#[case::no_engine(
    |facts: &mut Facts| *facts = silent(Engine::Absent),
    CheckId::Engine, Status::Failed,
    "neither Docker nor Podman is installed",
    "sudo apt-get install --yes docker.io"
)]
#[case::docker_is_not_running(
    |facts: &mut Facts| *facts = silent(Engine::Silent(Provider::Docker)),
    CheckId::Engine, Status::Failed,
    "docker is installed and does not answer",
    "sudo systemctl start docker"
)]
#[case::podman_has_no_socket(
    |facts: &mut Facts| *facts = silent(Engine::Silent(Provider::Podman)),
    CheckId::Engine, Status::Failed,
    "podman is installed and does not answer",
    "sudo systemctl enable --now podman.socket"
)]
#[case::not_in_the_group(
    |facts: &mut Facts| *facts = silent(Engine::Denied("Permission denied".into())),
    CheckId::Engine, Status::Failed,
    "it does not talk to this user (Permission denied)",
    "sudo usermod --append --groups docker alice && newgrp docker"
)]
#[case::rootless(
    |facts: &mut Facts| *facts = with_engine(DockerFacts { rootless: true, ..says() }),
    CheckId::Rootless, Status::Warning,
    "docker runs rootless",
    "docker context use default"
)]
#[case::no_privileges(
    |facts: &mut Facts| facts.engine = Engine::Answers {
        says: says(),
        privileged: Privileged::Refused("unable to apply caps: operation not permitted".to_owned()),
    },
    CheckId::Privileged, Status::Failed,
    "unable to apply caps: operation not permitted",
    "docker run --privileged"
)]
#[case::no_kind(
    |facts: &mut Facts| { facts.kind = Tool::Missing; facts.host.kind = None; },
    CheckId::Kind, Status::Failed,
    "there is no `kind` in PATH",
    "sudo curl -fsSL --output /usr/local/bin/kind https://kind.sigs.k8s.io/dl/v0.30.0/kind-linux-amd64 && sudo chmod +x"
)]
#[case::old_kind(
    |facts: &mut Facts| facts.kind = Tool::Installed("0.27.0".to_owned()),
    CheckId::Kind, Status::Warning,
    "0.27.0, older than v0.30.0",
    "kind-linux-amd64"
)]
#[case::no_helm(
    |facts: &mut Facts| { facts.helm = Tool::Missing; facts.host.helm = None; },
    CheckId::Helm, Status::Warning,
    "there is no `helm` in PATH (profile ovn-kubernetes)",
    "| sudo tar -xz -C /usr/local/bin --strip-components=1 linux-amd64/helm"
)]
#[case::old_cgroups(
    |facts: &mut Facts| *facts = with_engine(DockerFacts { cgroup_version: 1, ..says() }),
    CheckId::Cgroups, Status::Warning,
    "cgroup version 1",
    "systemd.unified_cgroup_hierarchy=1"
)]
#[case::full_disk(
    |facts: &mut Facts| *facts = with_engine(DockerFacts { free_mib: Some(256), ..says() }),
    CheckId::DiskSpace, Status::Failed,
    "/var/lib/docker has 0.2 GiB free",
    "docker system prune --all"
)]
#[case::disk_for_plain_only(
    |facts: &mut Facts| *facts = with_engine(DockerFacts { free_mib: Some(5000), ..says() }),
    CheckId::DiskSpace, Status::Warning,
    "(profile ovn-kubernetes)",
    "docker system prune --all"
)]
#[case::little_memory(
    |facts: &mut Facts| facts.memory_available = Some(GIB),
    CheckId::Memory, Status::Warning,
    "1024 MiB available",
    "trunkline up kind --workers 1"
)]
#[case::few_watches(
    |facts: &mut Facts| facts.host.inotify = Some(Limits { instances: 64, watches: 1_048_576 }),
    CheckId::Inotify, Status::Failed,
    "fs.inotify.max_user_instances is 64",
    "sudo sysctl -w fs.inotify.max_user_instances=512"
)]
#[case::no_kvm(
    |facts: &mut Facts| facts.host.kvm = false,
    CheckId::Kvm, Status::Warning,
    "there is no /dev/kvm",
    "sudo modprobe --all kvm_intel kvm_amd"
)]
#[case::no_vlan(
    |facts: &mut Facts| facts.modules.vlan = KernelModule::Missing,
    CheckId::Module8021q, Status::Warning,
    "not installed",
    "sudo apt-get install --yes linux-modules-extra-$(uname -r) && sudo modprobe 8021q"
)]
#[case::unknown_openvswitch(
    |facts: &mut Facts| facts.modules.openvswitch = KernelModule::Unlisted,
    CheckId::ModuleOpenvswitch, Status::Warning,
    "not loaded, and this kernel lists no modules",
    "sudo modprobe openvswitch"
)]
#[case::no_geneve(
    |facts: &mut Facts| facts.modules.geneve = KernelModule::Missing,
    CheckId::ModuleGeneve, Status::Warning,
    "not installed",
    "sudo modprobe geneve"
)]
#[case::no_vrf(
    |facts: &mut Facts| facts.modules.vrf = KernelModule::Missing,
    CheckId::ModuleVrf, Status::Warning,
    "not installed",
    "sudo modprobe vrf"
)]
#[case::no_registry(
    |facts: &mut Facts| facts.endpoints[1].silent = Some("failed to lookup address".to_owned()),
    CheckId::Registries, Status::Warning,
    "no answer from quay.io (failed to lookup address)",
    "trunkline up kind --images DIR"
)]
fn what_is_missing_is_named_and_mended(
    #[case] spoil: fn(&mut Facts),
    #[case] id: CheckId,
    #[case] status: Status,
    #[case] found: &str,
    #[case] fix: &str,
) {
    let mut facts = good();
    spoil(&mut facts);
    let check = find(&facts, id).unwrap();
    assert_eq!(check.status, status, "{check:?}");
    assert!(check.found.contains(found), "{check:?}");
    assert!(check.fix.as_ref().unwrap().contains(fix), "{check:?}");
    assert!(!check.breaks.is_empty(), "{check:?}");
    // And nothing else is wrong.
    let others = examine_facts(&facts);
    for other in others.iter().filter(|other| other.id != id) {
        assert_eq!(other.status, Status::Ok, "{other:?}");
    }
}

#[test]
fn what_a_silent_registry_breaks_depends_on_who_needs_it() {
    let breaks = |index: usize| {
        let mut facts = good();
        facts.endpoints[index].silent = Some("no answer".to_owned());
        find(&facts, CheckId::Registries).unwrap().breaks
    };
    assert!(breaks(0).contains("no cluster"));
    assert!(breaks(1).contains("profile ovn-kubernetes"));
}

#[test]
fn without_an_engine_nothing_is_said_about_what_it_would_do() {
    let facts = silent(Engine::Absent);
    for id in [
        CheckId::Privileged,
        CheckId::Rootless,
        CheckId::Cgroups,
        CheckId::DiskSpace,
    ] {
        assert_eq!(find(&facts, id), None);
    }
}

#[test]
fn root_needs_no_sudo() {
    let facts = Facts {
        user: User {
            uid: 0,
            name: Some("root".to_owned()),
        },
        ..silent(Engine::Absent)
    };
    let fix = find(&facts, CheckId::Engine).unwrap().fix.unwrap();
    assert_eq!(fix, "apt-get install --yes docker.io");
}
