//! From what can be seen to what there is. Pure.

use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::Node},
    apimachinery::pkg::version::Info,
};
use kube::{ResourceExt as _, api::DynamicObject};
use serde_json::Value;
use trunkline_engine::Capabilities;

use super::{
    Component, Discovered, Found, Hidden, ServerVersion,
    facts::{Facts, Seen},
};

const CNI: &str = "k8s.cni.cncf.io";

pub(super) fn judge(facts: &Facts, version: &Info) -> Discovered {
    let components: Vec<Found> = Component::ALL
        .into_iter()
        .filter_map(|component| find(facts, component))
        .collect();
    let has = |component| components.iter().any(|found| found.component == component);
    let sdn = if has(Component::OvnKubernetes) {
        Some("ovn-kubernetes".to_owned())
    } else if has(Component::KubeOvn) {
        Some("kube-ovn".to_owned())
    } else {
        None
    };
    let capabilities = Capabilities {
        sdn,
        vms: has(Component::KubeVirt),
        nmstate: has(Component::Nmstate),
        storage: facts.storage_classes.list().is_none_or(|classes| {
            classes.iter().any(|class| {
                class
                    .annotations()
                    .get("storageclass.kubernetes.io/is-default-class")
                    .is_some_and(|value| value == "true")
            })
        }),
        network_segmentation: facts.serves("k8s.ovn.org", "userdefinednetworks"),
        multi_network_policy: has(Component::MultiNetworkPolicy),
        workers: facts.nodes.list().map_or(u32::MAX, |nodes| {
            let taking = nodes.iter().filter(|node| takes_pods(node)).count();
            u32::try_from(taking).unwrap_or(u32::MAX)
        }),
    };
    Discovered {
        capabilities,
        version: server_version(version),
        components,
        hidden: hidden(facts),
    }
}

fn find(facts: &Facts, component: Component) -> Option<Found> {
    let (served, crds, daemon) = match component {
        Component::OvnKubernetes => (
            facts.serves_group("k8s.ovn.org"),
            "k8s.ovn.org",
            Some("ovnkube-node"),
        ),
        Component::KubeOvn => (
            facts.serves_group("kubeovn.io"),
            "kubeovn.io",
            Some("kube-ovn-cni"),
        ),
        Component::Multus => (
            facts.serves(CNI, "network-attachment-definitions"),
            "network-attachment-definitions.k8s.cni.cncf.io",
            Some("multus"),
        ),
        // Whoever enforces the policies differs; that the SDN does it cannot be seen from outside.
        Component::MultiNetworkPolicy => (
            facts.serves(CNI, "multi-networkpolicies"),
            "multi-networkpolicies.k8s.cni.cncf.io",
            None,
        ),
        Component::Nmstate => (
            facts.serves("nmstate.io", "nodenetworkconfigurationpolicies"),
            "nodenetworkconfigurationpolicies.nmstate.io",
            Some("nmstate-handler"),
        ),
        Component::KubeVirt => (
            facts.serves("kubevirt.io", "virtualmachineinstances"),
            "virtualmachineinstances.kubevirt.io",
            Some("virt-handler"),
        ),
    };
    let running: Option<Vec<&DaemonSet>> = daemon.and_then(|daemon| {
        let sets = facts.daemon_sets.list()?;
        Some(
            sets.iter()
                .filter(|set| set.name_any().contains(daemon))
                .collect(),
        )
    });
    let runs = running.as_ref().is_some_and(|sets| !sets.is_empty());
    // KubeVirt's operator serves its kinds before KubeVirt itself is there, and its own one names the installation.
    let begun = component == Component::KubeVirt && facts.serves("kubevirt.io", "kubevirts");
    if !served && !runs && !begun {
        return None;
    }
    let (version, own) = match component {
        Component::KubeVirt => kubevirt(&facts.kubevirts),
        Component::Nmstate => (None, nmstate(&facts.nmstates)),
        _ => (None, None),
    };
    let trouble = own.or_else(|| {
        if !served {
            return Some(format!("the API does not serve {crds}"));
        }
        let daemon = daemon?;
        match running?.as_slice() {
            [] => Some(format!(
                "the API serves {crds}, but no daemon set is called {daemon}"
            )),
            sets => sets.iter().find_map(|set| unready(set)),
        }
    });
    Some(Found {
        component,
        version,
        trouble,
    })
}

/// What a daemon set lacks.
fn unready(set: &DaemonSet) -> Option<String> {
    let status = set.status.as_ref();
    let wanted = status.map_or(0, |status| status.desired_number_scheduled);
    let ready = status.map_or(0, |status| status.number_ready);
    (ready < wanted).then(|| {
        format!(
            "{ready} of {wanted} pods of daemonset/{}/{} are ready",
            set.namespace().unwrap_or_default(),
            set.name_any()
        )
    })
}

/// The version of KubeVirt, and what is wrong with it.
fn kubevirt(seen: &Seen<DynamicObject>) -> (Option<String>, Option<String>) {
    let Some(all) = seen.list() else {
        return (None, None);
    };
    let Some(one) = all.first() else {
        return (
            None,
            Some("its operator is there, but no KubeVirt object asks for an installation".into()),
        );
    };
    let status = &one.data["status"];
    let version = status["observedKubeVirtVersion"]
        .as_str()
        .map(str::to_owned);
    let phase = status["phase"].as_str().unwrap_or("none");
    if phase != "Deployed" {
        return (version, Some(format!("{} is in phase {phase}", name(one))));
    }
    (version, unmet(one, "Available"))
}

fn nmstate(seen: &Seen<DynamicObject>) -> Option<String> {
    match seen.list()? {
        [] => Some("its operator is there, but no NMState object asks for an installation".into()),
        [one, ..] => unmet(one, "Available"),
    }
}

/// The words of a condition that is there and not true.
fn unmet(object: &DynamicObject, wanted: &str) -> Option<String> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let condition = conditions
        .iter()
        .find(|condition| condition["type"].as_str() == Some(wanted))?;
    if condition["status"].as_str() == Some("True") {
        return None;
    }
    let words: Vec<&str> = ["reason", "message"]
        .into_iter()
        .filter_map(|key| condition.get(key).and_then(Value::as_str))
        .filter(|words| !words.is_empty())
        .collect();
    Some(format!(
        "{} is not {wanted}: {}",
        name(object),
        words.join(": ")
    ))
}

fn name(object: &DynamicObject) -> String {
    let kind = object
        .types
        .as_ref()
        .map_or_else(|| "object".into(), |types| types.kind.to_ascii_lowercase());
    match object.namespace() {
        Some(namespace) => format!("{kind}/{namespace}/{}", object.name_any()),
        None => format!("{kind}/{}", object.name_any()),
    }
}

/// Whether a pod that tolerates nothing may be put there, and would start.
fn takes_pods(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    let tainted = spec
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    let closed = spec.and_then(|spec| spec.unschedulable).unwrap_or(false);
    let ready = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && !tainted && !closed
}

fn server_version(info: &Info) -> ServerVersion {
    let number = |text: &str| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    ServerVersion {
        text: info.git_version.clone(),
        major: number(&info.major),
        // Some providers write `34+`.
        minor: number(&info.minor),
    }
}

fn hidden(facts: &Facts) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    let mut note = |group, resource, why: Option<&String>| {
        hidden.extend(why.map(|why| Hidden {
            group,
            resource,
            why: why.clone(),
        }));
    };
    note("apps", "daemonsets", why(&facts.daemon_sets));
    note("", "nodes", why(&facts.nodes));
    note(
        "storage.k8s.io",
        "storageclasses",
        why(&facts.storage_classes),
    );
    note("kubevirt.io", "kubevirts", why(&facts.kubevirts));
    note("nmstate.io", "nmstates", why(&facts.nmstates));
    hidden
}

fn why<T>(seen: &Seen<T>) -> Option<&String> {
    match seen {
        Seen::Yes(_) => None,
        Seen::Hidden(why) => Some(why),
    }
}
