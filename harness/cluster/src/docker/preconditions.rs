//! What a cluster in containers needs of the machine, judged before anything is started. `doctor` prints the same.

use std::fmt;

use serde::Serialize;

use super::HostFacts;
use crate::component::{Inotify, Plan};

/// What a planned cluster asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    pub disk_mib: u64,
    pub inotify: Inotify,
    pub helm: bool,
    /// Machines run slowly without /dev/kvm.
    pub machines: bool,
}

impl From<&Plan> for Demands {
    fn from(plan: &Plan) -> Self {
        Self {
            disk_mib: plan.disk_mib(),
            inotify: plan.inotify(),
            helm: plan.uses_helm(),
            machines: plan
                .components
                .iter()
                .any(|component| component.provides.contains(&crate::component::Feature::Vms)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckId {
    Docker,
    Rootless,
    Cgroups,
    Kind,
    Helm,
    Disk,
    InotifyInstances,
    InotifyWatches,
    Kvm,
}

/// Something that is missing or too small.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: CheckId,
    /// Nothing is started while such a one stands; the others only tell.
    pub fatal: bool,
    pub found: String,
    /// What does not work because of it.
    pub breaks: &'static str,
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.found, self.breaks, self.fix)
    }
}

/// Everything that stands in the way of such a cluster here, and what would only be slow.
pub fn check(facts: &HostFacts, demands: &Demands) -> Vec<Finding> {
    let mut findings = Vec::new();
    docker(facts, demands, &mut findings);
    programs(facts, demands, &mut findings);
    limits(facts, demands, &mut findings);
    if demands.machines && !facts.kvm {
        findings.push(Finding {
            id: CheckId::Kvm,
            fatal: false,
            found: "there is no /dev/kvm".into(),
            breaks: "virtual machines are emulated and boot many times slower",
            fix: "turn on virtualisation in the firmware or the hypervisor, and load kvm_intel or kvm_amd".into(),
        });
    }
    findings
}

fn docker(facts: &HostFacts, demands: &Demands, findings: &mut Vec<Finding>) {
    let docker = match &facts.docker {
        Ok(docker) => docker,
        Err(why) => {
            findings.push(Finding {
                id: CheckId::Docker,
                fatal: true,
                found: why.clone(),
                breaks: "kind runs every node as a container",
                fix: "see that `docker info` works for this user".into(),
            });
            return;
        }
    };
    if docker.rootless {
        findings.push(Finding {
            id: CheckId::Rootless,
            // Plain Kubernetes runs there; Open vSwitch in the nodes does not.
            fatal: demands.helm,
            found: format!("{} runs rootless", docker.provider),
            breaks: "nodes may not load or use what Open vSwitch and machines need of the kernel",
            fix: "use a Docker that runs as root, or the profile plain".into(),
        });
    }
    if docker.cgroup_version < 2 {
        findings.push(Finding {
            id: CheckId::Cgroups,
            fatal: false,
            found: "the machine uses cgroup version 1".into(),
            breaks: "the kubelet warns, and from Kubernetes 1.35 on does not start",
            fix: "boot with systemd.unified_cgroup_hierarchy=1".into(),
        });
    }
    if let Some(free) = docker.free_mib
        && free < demands.disk_mib
    {
        findings.push(Finding {
            id: CheckId::Disk,
            fatal: true,
            found: format!(
                "{} has {} free, and the cluster needs about {}",
                docker.root.display(),
                mib(free),
                mib(demands.disk_mib)
            ),
            breaks: "image layers would stop half way, and the kubelet evicts pods from full disks",
            fix: "free some room (`docker system df` shows what Docker keeps), or ask for fewer --workers".into(),
        });
    }
}

fn programs(facts: &HostFacts, demands: &Demands, findings: &mut Vec<Finding>) {
    if facts.kind.is_none() {
        findings.push(Finding {
            id: CheckId::Kind,
            fatal: true,
            found: "there is no `kind` in PATH".into(),
            breaks: "it makes the nodes",
            fix: "install v0.30 or later: https://kind.sigs.k8s.io/docs/user/quick-start/#installation".into(),
        });
    }
    if demands.helm && facts.helm.is_none() {
        findings.push(Finding {
            id: CheckId::Helm,
            fatal: true,
            found: "there is no `helm` in PATH".into(),
            breaks: "OVN-Kubernetes is installed from its chart",
            fix: "install helm 3: https://helm.sh/docs/intro/install/".into(),
        });
    }
}

fn limits(facts: &HostFacts, demands: &Demands, findings: &mut Vec<Finding>) {
    let Some(limits) = facts.inotify else { return };
    let wanted = demands.inotify;
    let pairs = [
        (
            CheckId::InotifyInstances,
            "fs.inotify.max_user_instances",
            limits.instances,
            wanted.instances,
            // What kind's own page of known issues recommends.
            512,
        ),
        (
            CheckId::InotifyWatches,
            "fs.inotify.max_user_watches",
            limits.watches,
            wanted.watches,
            524_288,
        ),
    ];
    for (id, name, has, needs, recommended) in pairs {
        if has < needs {
            findings.push(Finding {
                id,
                fatal: true,
                found: format!("{name} is {has}, and the cluster needs {needs}"),
                breaks: "nodes stop with \"too many open files\"",
                fix: format!("sudo sysctl {name}={}", needs.max(recommended)),
            });
        }
    }
}

fn mib(amount: u64) -> String {
    format!("{}.{} GiB", amount / 1024, amount % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        component::{Needs, Profile, plan},
        docker::{DockerFacts, Limits},
    };

    fn good() -> HostFacts {
        HostFacts {
            docker: Ok(DockerFacts {
                provider: "docker",
                version: "28".into(),
                rootless: false,
                cgroup_version: 2,
                root: "/var/lib/docker".into(),
                free_mib: Some(100_000),
            }),
            inotify: Some(Limits {
                instances: 8192,
                watches: 1_048_576,
            }),
            kind: Some("/usr/bin/kind".into()),
            helm: Some("/usr/bin/helm".into()),
            kvm: true,
        }
    }

    fn of(profile: Profile) -> Demands {
        (&plan(profile, &Needs::everything(profile), 2, None).unwrap()).into()
    }

    fn docker(facts: &mut HostFacts) -> &mut DockerFacts {
        facts.docker.as_mut().unwrap()
    }

    #[rstest]
    #[case(Profile::Plain)]
    #[case(Profile::OvnKubernetes)]
    fn a_good_machine_has_nothing_to_mend(#[case] profile: Profile) {
        assert_eq!(check(&good(), &of(profile)), []);
    }

    #[rstest]
    #[case(CheckId::Docker, true, |f: &mut HostFacts| f.docker = Err("no docker answers here".into()))]
    #[case(CheckId::Rootless, true, |f: &mut HostFacts| docker(f).rootless = true)]
    #[case(CheckId::Cgroups, false, |f: &mut HostFacts| docker(f).cgroup_version = 1)]
    #[case(CheckId::Disk, true, |f: &mut HostFacts| docker(f).free_mib = Some(3000))]
    #[case(CheckId::Kind, true, |f: &mut HostFacts| f.kind = None)]
    #[case(CheckId::Helm, true, |f: &mut HostFacts| f.helm = None)]
    #[case(CheckId::InotifyInstances, true, |f: &mut HostFacts| f.inotify = Some(Limits { instances: 128, watches: 1_048_576 }))]
    #[case(CheckId::InotifyWatches, true, |f: &mut HostFacts| f.inotify = Some(Limits { instances: 512, watches: 65_536 }))]
    #[case(CheckId::Kvm, false, |f: &mut HostFacts| f.kvm = false)]
    fn each_lack_is_found(
        #[case] id: CheckId,
        #[case] fatal: bool,
        #[case] break_it: fn(&mut HostFacts),
    ) {
        let mut facts = good();
        break_it(&mut facts);
        let findings = check(&facts, &of(Profile::OvnKubernetes));
        assert_eq!(
            findings
                .iter()
                .map(|finding| (finding.id, finding.fatal))
                .collect::<Vec<_>>(),
            [(id, fatal)]
        );
    }

    #[test]
    fn plain_asks_for_less() {
        let mut facts = good();
        facts.helm = None;
        facts.kvm = false;
        docker(&mut facts).free_mib = Some(4000);
        facts.inotify = Some(Limits {
            instances: 256,
            watches: 65_536,
        });
        assert_eq!(check(&facts, &of(Profile::Plain)), []);
    }

    #[test]
    fn a_finding_says_what_to_type() {
        let mut facts = good();
        facts.inotify = Some(Limits {
            instances: 128,
            watches: 1_048_576,
        });
        let text = check(&facts, &of(Profile::Plain))[0].to_string();
        assert_eq!(
            text,
            "fs.inotify.max_user_instances is 128, and the cluster needs 256: nodes stop with \"too many open files\"; \
             sudo sysctl fs.inotify.max_user_instances=512"
        );
    }
}
