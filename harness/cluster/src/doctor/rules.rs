//! The checks, in the order in which they are shown.
//!
//! What `up` refuses to start without is judged where `up` asks, by [`docker::check`]; here it is held against what each
//! profile demands when everything of it is installed.

use trunkline_machine::KernelModule;

use super::{
    Check, CheckId, Facts, Status, Tool,
    engine::{Engine, Privileged},
};
use crate::{
    component::{Needs, Profile, plan},
    docker::{self, Demands, Finding, Provider},
    kind,
};

pub(super) enum Rule {
    Always(fn(&Facts) -> Check),
    /// Needs an engine that answers, or a fact that cannot be had everywhere.
    Sometimes(fn(&Facts) -> Option<Check>),
}

pub(super) const ALL: &[Rule] = &[
    Rule::Always(engine),
    Rule::Sometimes(privileged),
    Rule::Sometimes(rootless),
    Rule::Sometimes(cgroups),
    Rule::Sometimes(disk_space),
    Rule::Sometimes(inotify),
    Rule::Sometimes(memory),
    Rule::Always(kind_program),
    Rule::Always(helm),
    Rule::Always(kvm),
    Rule::Always(vlan),
    Rule::Always(openvswitch),
    Rule::Always(geneve),
    Rule::Always(vrf),
    Rule::Always(registries),
];

impl Rule {
    pub(super) fn apply(&self, facts: &Facts) -> Option<Check> {
        match self {
            Self::Always(check) => Some(check(facts)),
            Self::Sometimes(check) => check(facts),
        }
    }
}

const NO_CLUSTER: &str = "no kind cluster can be made";

const MIB: u64 = 1 << 20;
/// Three nodes with Kubernetes in them, and pods.
const MEMORY_NEEDED: u64 = 3072 * MIB;
/// What kind's own list of known problems asks for; the nodes share one user's limits.
const INOTIFY: (u64, u64) = (512, 524_288);
/// The kind release whose node image the components pin.
const KIND_VERSION: &str = "v0.30.0";
const HELM_VERSION: &str = "v3.19.0";

/// What `up` would say about this, for the smallest profile that minds.
fn demanded(facts: &Facts, ids: &[docker::CheckId]) -> Option<(Profile, Finding)> {
    Profile::ALL.iter().find_map(|profile| {
        let demands = demands(*profile);
        docker::check(&facts.host, &demands)
            .into_iter()
            .find(|finding| ids.contains(&finding.id))
            .map(|finding| (*profile, finding))
    })
}

/// Of a cluster of the usual size with everything that the profile has.
fn demands(profile: Profile) -> Demands {
    plan(
        profile,
        &Needs::everything(profile),
        kind::DEFAULT_WORKERS,
        None,
    )
    .map(|plan| Demands::from(&plan))
    .unwrap_or_default()
}

/// As `up` judges it. What only a larger profile minds is no more than a warning.
fn judged(check: Check, demanded: Option<(Profile, Finding)>, fix: String) -> Check {
    let Some((profile, finding)) = demanded else {
        return check;
    };
    let (status, found) = match profile {
        Profile::Plain if finding.fatal => (Status::Failed, finding.found),
        Profile::Plain => (Status::Warning, finding.found),
        Profile::OvnKubernetes => (
            Status::Warning,
            format!("{} (profile {profile})", finding.found),
        ),
    };
    Check { found, ..check }.bad(status, finding.breaks, fix)
}

fn engine(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Engine, "container engine");
    let failed = |found: String, fix: String| {
        Check::ok(id, title, found).bad(Status::Failed, NO_CLUSTER, fix)
    };
    let as_root = |command: &str| facts.user.as_root(command);
    match &facts.engine {
        Engine::Absent => failed(
            "neither Docker nor Podman is installed".to_owned(),
            as_root("apt-get install --yes docker.io"),
        ),
        Engine::Silent(provider) => {
            let command = match provider {
                Provider::Docker => as_root("systemctl start docker"),
                Provider::Podman => as_root("systemctl enable --now podman.socket"),
            };
            let found = format!("{} is installed and does not answer", provider.as_str());
            failed(found, command)
        }
        Engine::Denied(why) => failed(
            format!("it does not talk to this user ({why})"),
            format!(
                "{} && newgrp docker",
                as_root(&format!(
                    "usermod --append --groups docker {}",
                    facts.user.label()
                ))
            ),
        ),
        Engine::Broken(error) => failed(error.clone(), as_root("systemctl restart docker")),
        Engine::Answers { says, .. } => {
            Check::ok(id, title, format!("{} {}", says.provider, says.version))
        }
    }
}

/// Asking is not enough: a container around this machine may have taken the power away.
fn privileged(facts: &Facts) -> Option<Check> {
    let Engine::Answers { privileged, .. } = &facts.engine else {
        return None;
    };
    let (id, title) = (CheckId::Privileged, "privileged containers");
    Some(match privileged {
        Privileged::Runs => Check::ok(id, title, "run"),
        Privileged::Refused(error) => Check::ok(id, title, error.clone()).bad(
            Status::Failed,
            NO_CLUSTER,
            "run this machine's container with: docker run --privileged".to_owned(),
        ),
    })
}

fn rootless(facts: &Facts) -> Option<Check> {
    let Engine::Answers { .. } = &facts.engine else {
        return None;
    };
    let check = Check::ok(CheckId::Rootless, "rights of the engine", "root's");
    let demanded = demanded(facts, &[docker::CheckId::Rootless]);
    Some(judged(
        check,
        demanded,
        "docker context use default".to_owned(),
    ))
}

fn cgroups(facts: &Facts) -> Option<Check> {
    let Engine::Answers { says, .. } = &facts.engine else {
        return None;
    };
    let found = format!("version {}", says.cgroup_version);
    let check = Check::ok(CheckId::Cgroups, "cgroups", found);
    let fix = format!(
        "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX systemd.unified_cgroup_hierarchy=1\"' | {} && {} && {}",
        facts.user.as_root("tee /etc/default/grub.d/cgroups.cfg"),
        facts.user.as_root("update-grub"),
        facts.user.as_root("reboot")
    );
    Some(judged(
        check,
        demanded(facts, &[docker::CheckId::Cgroups]),
        fix,
    ))
}

fn disk_space(facts: &Facts) -> Option<Check> {
    let Engine::Answers { says, .. } = &facts.engine else {
        return None;
    };
    let found = format!("{} MiB free in {}", says.free_mib?, says.root.display());
    let check = Check::ok(CheckId::DiskSpace, "disk space of the engine", found);
    // What may go only its owner knows; what nobody uses can be told.
    let fix = "docker system prune --all".to_owned();
    Some(judged(
        check,
        demanded(facts, &[docker::CheckId::Disk]),
        fix,
    ))
}

fn inotify(facts: &Facts) -> Option<Check> {
    let limits = facts.host.inotify?;
    let found = format!("{} instances, {} watches", limits.instances, limits.watches);
    let check = Check::ok(CheckId::Inotify, "inotify limits", found);
    let ids = [
        docker::CheckId::InotifyInstances,
        docker::CheckId::InotifyWatches,
    ];
    let (instances, watches) = Profile::ALL.iter().fold(INOTIFY, |most, profile| {
        let wanted = demands(*profile).inotify;
        (most.0.max(wanted.instances), most.1.max(wanted.watches))
    });
    let fix = facts.user.as_root(&format!(
        "sysctl -w fs.inotify.max_user_instances={instances} fs.inotify.max_user_watches={watches}"
    ));
    Some(judged(check, demanded(facts, &ids), fix))
}

fn kind_program(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Kind, "kind");
    let install = format!(
        "{} && {}",
        facts.user.as_root(&format!(
            "curl -fsSL --output /usr/local/bin/kind https://kind.sigs.k8s.io/dl/{KIND_VERSION}/kind-linux-amd64"
        )),
        facts.user.as_root("chmod +x /usr/local/bin/kind")
    );
    match &facts.kind {
        Tool::Installed(version) if older(version, KIND_VERSION) => {
            Check::ok(id, title, format!("{version}, older than {KIND_VERSION}")).bad(
                Status::Warning,
                "the pinned node image may not start",
                install,
            )
        }
        Tool::Installed(version) => Check::ok(id, title, version.clone()),
        Tool::Missing => judged(
            Check::ok(id, title, "not installed"),
            demanded(facts, &[docker::CheckId::Kind]),
            install,
        ),
    }
}

fn helm(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Helm, "helm");
    let install = format!(
        "curl -fsSL https://get.helm.sh/helm-{HELM_VERSION}-linux-amd64.tar.gz | {}",
        facts
            .user
            .as_root("tar -xz -C /usr/local/bin --strip-components=1 linux-amd64/helm")
    );
    match &facts.helm {
        Tool::Installed(version) => Check::ok(id, title, version.clone()),
        Tool::Missing => judged(
            Check::ok(id, title, "not installed"),
            demanded(facts, &[docker::CheckId::Helm]),
            install,
        ),
    }
}

fn memory(facts: &Facts) -> Option<Check> {
    let available = facts.memory_available?;
    let found = format!("{} MiB available", available / MIB);
    let check = Check::ok(CheckId::Memory, "memory", found);
    Some(if available >= MEMORY_NEEDED {
        check
    } else {
        check.bad(
            Status::Warning,
            "a cluster of three nodes may not become ready (3 GiB are needed, more with machines)",
            "trunkline up kind --workers 1".to_owned(),
        )
    })
}

fn kvm(facts: &Facts) -> Check {
    let check = Check::ok(CheckId::Kvm, "/dev/kvm", "there");
    let fix = facts.user.as_root("modprobe --all kvm_intel kvm_amd");
    judged(check, demanded(facts, &[docker::CheckId::Kvm]), fix)
}

fn vlan(facts: &Facts) -> Check {
    module(
        facts,
        CheckId::Module8021q,
        "kernel module 8021q",
        facts.modules.vlan,
        "nmstate makes no VLANs in the nodes; outside hosts take a slower userspace switch for theirs",
        "8021q",
    )
}

fn openvswitch(facts: &Facts) -> Check {
    module(
        facts,
        CheckId::ModuleOpenvswitch,
        "kernel module openvswitch",
        facts.modules.openvswitch,
        "OVN-Kubernetes has no datapath: its pods get no network",
        "openvswitch",
    )
}

fn geneve(facts: &Facts) -> Check {
    module(
        facts,
        CheckId::ModuleGeneve,
        "kernel module geneve",
        facts.modules.geneve,
        "OVN-Kubernetes has no tunnels: pods of different nodes do not reach each other",
        "geneve",
    )
}

fn vrf(facts: &Facts) -> Check {
    module(
        facts,
        CheckId::ModuleVrf,
        "kernel module vrf",
        facts.modules.vrf,
        "primary user defined networks reach no Service, no node and nothing outside",
        "vrf",
    )
}

fn module(
    facts: &Facts,
    id: CheckId,
    title: &'static str,
    state: KernelModule,
    breaks: &'static str,
    name: &str,
) -> Check {
    let as_root = |command: &str| facts.user.as_root(command);
    match state {
        KernelModule::Present => Check::ok(id, title, "in the kernel"),
        // The kernel loads it when the first such device is made.
        KernelModule::Loadable => Check::ok(id, title, "a module"),
        KernelModule::Missing => Check::ok(id, title, "not installed").bad(
            Status::Warning,
            breaks,
            format!(
                "{} && {}",
                as_root("apt-get install --yes linux-modules-extra-$(uname -r)"),
                as_root(&format!("modprobe {name}"))
            ),
        ),
        KernelModule::Unlisted => {
            Check::ok(id, title, "not loaded, and this kernel lists no modules").bad(
                Status::Warning,
                breaks,
                as_root(&format!("modprobe {name}")),
            )
        }
    }
}

fn registries(facts: &Facts) -> Check {
    let (id, title) = (CheckId::Registries, "registries");
    let silent: Vec<_> = facts
        .endpoints
        .iter()
        .filter_map(|one| Some((one, one.silent.as_ref()?)))
        .collect();
    let Some((_, why)) = silent.first() else {
        let found = format!("all {} answer", facts.endpoints.len());
        return Check::ok(id, title, found);
    };
    let hosts: Vec<&str> = silent.iter().map(|(one, _)| one.host.as_str()).collect();
    let found = format!("no answer from {} ({why})", hosts.join(", "));
    let breaks = if silent.iter().any(|(one, _)| one.profile == Profile::Plain) {
        "images cannot be pulled: no cluster without a directory of archives"
    } else {
        "the profile ovn-kubernetes needs a directory of archives"
    };
    let fix = "trunkline up kind --images DIR".to_owned();
    Check::ok(id, title, found).bad(Status::Warning, breaks, fix)
}

/// Whether a version, as a program says it, is below another. What has no number is not.
fn older(said: &str, wanted: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let version = text.split_whitespace().find(|word| {
            word.trim_start_matches('v')
                .starts_with(|c: char| c.is_ascii_digit())
        });
        version
            .unwrap_or_default()
            .trim_start_matches('v')
            .split(['.', '-', '+'])
            .map_while(|part| part.parse().ok())
            .collect()
    };
    let said = numbers(said);
    !said.is_empty() && said < numbers(wanted)
}
