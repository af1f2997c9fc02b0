use std::collections::BTreeSet;

use k8s_openapi::{api::apps::v1::DaemonSet, apimachinery::pkg::version::Info};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Component,
    facts::{Facts, Seen},
    judge::judge,
};

fn all<T: DeserializeOwned>(objects: Vec<Value>) -> Seen<T> {
    let objects = objects
        .into_iter()
        .map(|one| serde_json::from_value(one).unwrap());
    Seen::Yes(objects.collect())
}

fn facts(kinds: &[(&str, &str)]) -> Facts {
    let kinds = kinds
        .iter()
        .map(|(group, plural)| ((*group).into(), (*plural).into()));
    Facts {
        kinds: kinds.collect::<BTreeSet<_>>(),
        daemon_sets: all(vec![]),
        nodes: all(vec![]),
        storage_classes: all(vec![]),
        kubevirts: all(vec![]),
        nmstates: all(vec![]),
    }
}

fn version() -> Info {
    Info {
        major: "1".into(),
        minor: "34+".into(),
        git_version: "v1.34.4".into(),
        ..Info::default()
    }
}

fn daemon_set(namespace: &str, name: &str, ready: i32) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name},
        "status": {"desiredNumberScheduled": 3, "numberReady": ready, "currentNumberScheduled": 3, "numberMisscheduled": 0}})
}

fn node(name: &str, ready: &str, taints: &Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

const OVN: &[(&str, &str)] = &[
    ("k8s.ovn.org", "userdefinednetworks"),
    ("k8s.cni.cncf.io", "network-attachment-definitions"),
    ("k8s.cni.cncf.io", "multi-networkpolicies"),
];

#[test]
fn a_bare_cluster_has_nodes_and_perhaps_storage() {
    let mut facts = facts(&[]);
    facts.nodes = all(vec![
        node(
            "cp",
            "True",
            &json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]),
        ),
        node("a", "True", &json!([])),
        node("b", "False", &json!([])),
        json!({"metadata": {"name": "c"}, "spec": {"unschedulable": true}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        node(
            "d",
            "True",
            &json!([{"key": "x", "effect": "PreferNoSchedule"}]),
        ),
    ]);
    facts.storage_classes = all(vec![
        json!({"provisioner": "x", "metadata": {"name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
    ]);
    let found = judge(&facts, &version());
    assert_eq!(found.capabilities.workers, 2);
    assert!(found.capabilities.storage);
    assert_eq!(found.capabilities.sdn, None);
    assert!(found.components.is_empty() && found.hidden.is_empty());
    assert_eq!((found.version.major, found.version.minor), (1, 34));
}

#[test]
fn a_whole_ovn_kubernetes_has_no_trouble() {
    let mut facts = facts(OVN);
    facts.daemon_sets = all(vec![
        daemon_set("ovn-kubernetes", "ovnkube-node", 3),
        daemon_set("kube-system", "kube-multus-ds", 3),
    ]);
    let found = judge(&facts, &version());
    assert_eq!(found.capabilities.sdn.as_deref(), Some("ovn-kubernetes"));
    assert!(found.capabilities.network_segmentation && found.capabilities.multi_network_policy);
    assert!(!found.capabilities.storage && !found.capabilities.vms);
    assert!(
        found.components.iter().all(|found| found.trouble.is_none()),
        "{found:?}"
    );
}

#[rstest::rstest]
#[case::crds_without_daemons(OVN, vec![], "the API serves k8s.ovn.org, but no daemon set is called ovnkube-node")]
#[case::daemons_without_crds(&[], vec![daemon_set("ovn-kubernetes", "ovnkube-node", 3)], "the API does not serve k8s.ovn.org")]
#[case::daemons_that_do_not_run(OVN, vec![daemon_set("o", "ovnkube-node", 1)], "1 of 3 pods of daemonset/o/ovnkube-node are ready")]
fn half_an_sdn_is_named(
    #[case] kinds: &[(&str, &str)],
    #[case] sets: Vec<Value>,
    #[case] trouble: &str,
) {
    let mut facts = facts(kinds);
    facts.daemon_sets = all(sets);
    let found = judge(&facts, &version());
    let ovn = found.found(Component::OvnKubernetes).unwrap();
    assert_eq!(ovn.trouble.as_deref(), Some(trouble));
}

#[test]
fn kubevirt_says_its_version_and_what_it_lacks() {
    let kinds = [
        ("kubevirt.io", "kubevirts"),
        ("kubevirt.io", "virtualmachineinstances"),
    ];
    let mut facts = facts(&kinds);
    facts.daemon_sets = all(vec![daemon_set("kubevirt", "virt-handler", 3)]);
    let none = judge(&facts, &version());
    let none = none
        .found(Component::KubeVirt)
        .unwrap()
        .trouble
        .clone()
        .unwrap();
    assert!(none.contains("no KubeVirt object"), "{none}");

    let kubevirt = |phase: &str, available: &str| {
        json!({"apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
            "status": {"phase": phase, "observedKubeVirtVersion": "v1.8.4",
                "conditions": [{"type": "Available", "status": available, "reason": "Deploying", "message": "an image is missing"}]}})
    };
    facts.kubevirts = all(vec![kubevirt("Deploying", "False")]);
    let begun = judge(&facts, &version());
    let begun = begun.found(Component::KubeVirt).unwrap();
    assert_eq!(begun.version.as_deref(), Some("v1.8.4"));
    assert_eq!(
        begun.trouble.as_deref(),
        Some("kubevirt/kubevirt/kubevirt is in phase Deploying")
    );
    facts.kubevirts = all(vec![kubevirt("Deployed", "False")]);
    let ill = judge(&facts, &version());
    assert_eq!(
        ill.found(Component::KubeVirt).unwrap().trouble.as_deref(),
        Some("kubevirt/kubevirt/kubevirt is not Available: Deploying: an image is missing")
    );
    facts.kubevirts = all(vec![kubevirt("Deployed", "True")]);
    let well = judge(&facts, &version());
    assert!(well.capabilities.vms);
    assert_eq!(well.found(Component::KubeVirt).unwrap().trouble, None);
}

#[test]
fn what_may_not_be_seen_is_not_called_missing() {
    let mut facts = facts(OVN);
    facts.nodes = Seen::Hidden("no".into());
    facts.daemon_sets = Seen::<DaemonSet>::Hidden("nodes is forbidden".into());
    facts.storage_classes = Seen::Hidden("no".into());
    let found = judge(&facts, &version());
    assert_eq!(found.capabilities.workers, u32::MAX);
    assert!(found.capabilities.storage);
    assert_eq!(found.found(Component::OvnKubernetes).unwrap().trouble, None);
    let hidden: Vec<_> = found.hidden.iter().map(|hidden| hidden.resource).collect();
    assert_eq!(hidden, ["daemonsets", "nodes", "storageclasses"]);
}
