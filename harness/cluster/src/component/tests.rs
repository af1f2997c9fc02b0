//! The catalogue is whole, and plans follow from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rstest::rstest;

use super::*;

fn names(plan: &Plan) -> Vec<&str> {
    plan.components
        .iter()
        .map(|component| component.name.as_str())
        .collect()
}

fn needs(features: &[Feature]) -> Needs {
    Needs {
        features: features.iter().copied().collect(),
        ..Needs::default()
    }
}

#[test]
fn every_name_in_the_catalogue_leads_somewhere() {
    for component in all() {
        for profile in &component.profiles {
            for required in &component.requires {
                let found =
                    super::component(required).filter(|found| found.profiles.contains(profile));
                assert!(
                    found.is_some(),
                    "{} requires {required} in {profile}",
                    component.name
                );
            }
        }
        for action in &component.install {
            let (files, sources): (Vec<&String>, Vec<&String>) = match action {
                Action::Apply(Manifest::File(path)) => (vec![path], vec![]),
                Action::Apply(Manifest::Source(name)) => (vec![], vec![name]),
                Action::InNodes(script) => (vec![&script.run, &script.check], vec![]),
                Action::LabelNodes(_) => (vec![], vec![]),
                Action::Helm(helm) => (vec![&helm.values], vec![&helm.chart]),
            };
            for path in files {
                assert!(file(path).is_some(), "{}: {path}", component.name);
            }
            for name in sources {
                let found = component.sources.iter().any(|source| source.name == *name);
                assert!(found, "{} has no source {name}", component.name);
            }
        }
    }
    let names: BTreeSet<_> = all().iter().map(|component| &component.name).collect();
    assert_eq!(names.len(), all().len(), "a name stands for one component");
}

#[test]
fn every_source_is_pinned() {
    for source in all().iter().flat_map(|component| &component.sources) {
        match &source.checksum {
            Checksum::Sha256(sum) => assert!(
                sum.len() == 64 && hex::decode(sum).is_ok(),
                "{}",
                source.name
            ),
            Checksum::GitTree(id) => {
                assert!(id.len() == 40 && hex::decode(id).is_ok(), "{}", source.name);
                assert!(source.directory.is_some(), "{}", source.name);
            }
            Checksum::FirstDownload(why) => assert!(!why.is_empty(), "{}", source.name),
        }
        assert!(source.url.starts_with("https://"), "{}", source.url);
    }
}

#[test]
fn no_image_moves_by_itself() {
    for image in all().iter().flat_map(|component| &component.images) {
        let tag = image
            .reference
            .rsplit_once(':')
            .map_or("latest", |(_, tag)| tag);
        assert!(
            !["latest", "main", "master", "snapshot"].contains(&tag),
            "{}",
            image.reference
        );
    }
    let nodes = all()
        .iter()
        .find_map(|component| component.nodes.as_ref())
        .unwrap();
    assert!(nodes.image.contains("@sha256:"), "{}", nodes.image);
}

#[rstest]
#[case(Profile::Plain)]
#[case(Profile::OvnKubernetes)]
fn every_profile_has_nodes_and_an_order(#[case] of: Profile) {
    let plan = plan(of, &Needs::everything(of), 2, None).unwrap();
    assert_eq!(
        plan.components
            .iter()
            .filter(|component| component.nodes.is_some())
            .count(),
        1
    );
    let mut before = BTreeSet::new();
    for component in &plan.components {
        assert!(
            component.requires.iter().all(|name| before.contains(name)),
            "{}",
            component.name
        );
        before.insert(component.name.clone());
    }
    assert!(!of.title().is_empty());
}

#[test]
fn a_plain_cluster_is_its_node_image() {
    assert_eq!(
        names(&plan(Profile::Plain, &Needs::default(), 2, None).unwrap()),
        ["node-image"]
    );
}

#[test]
fn a_node_image_without_a_network_brings_the_bridge_in() {
    let nodes = NodeImage {
        image: "mine".into(),
        lacks: vec![Feature::DefaultNetwork, Feature::Storage],
        kubeadm_patches: vec![],
    };
    let bare = plan(Profile::Plain, &Needs::default(), 2, Some(nodes.clone())).unwrap();
    assert_eq!(names(&bare), ["node-image", "bridge-network"]);
    let all = plan(
        Profile::Plain,
        &Needs::everything(Profile::Plain),
        2,
        Some(nodes.clone()),
    )
    .unwrap();
    assert_eq!(names(&all), ["node-image", "bridge-network"]);
    let refusal = plan(Profile::Plain, &needs(&[Feature::Storage]), 2, Some(nodes)).unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("nothing that brings a default storage class"),
        "{refusal}"
    );
}

const BASE: &[&str] = &[
    "node-image",
    "multi-network-policy",
    "ipam-claim",
    "multus",
    "ovn-kubernetes",
];

#[rstest]
#[case::nothing_more(&[], &[])]
#[case::what_is_there_already(&[Feature::OvnKubernetes, Feature::MultiNetworkPolicy, Feature::NetworkSegmentation], &[])]
#[case::nmstate(&[Feature::Nmstate], &["node-network-manager", "nmstate"])]
#[case::machines(&[Feature::Vms], &["cert-manager", "ipam-extensions", "kubevirt"])]
fn only_what_is_needed_is_installed(#[case] features: &[Feature], #[case] more: &[&str]) {
    let plan = plan(Profile::OvnKubernetes, &needs(features), 2, None).unwrap();
    let expected: BTreeSet<&str> = BASE.iter().chain(more).copied().collect();
    assert_eq!(names(&plan).into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn what_a_profile_cannot_have_names_the_one_that_can() {
    let refusal = plan(Profile::Plain, &needs(&[Feature::Vms]), 2, None)
        .unwrap_err()
        .to_string();
    assert_eq!(
        refusal,
        "the profile `plain` has nothing that brings virtual machines; use --profile ovn-kubernetes"
    );
    let refusal = plan(Profile::OvnKubernetes, &needs(&[Feature::KubeOvn]), 2, None)
        .unwrap_err()
        .to_string();
    assert!(
        refusal.ends_with("run those scenarios on a site that has it"),
        "{refusal}"
    );
}

#[test]
fn scenarios_that_need_more_nodes_say_how_many() {
    let mut needs = Needs {
        workers: 3,
        ..Needs::default()
    };
    let refusal = plan(Profile::Plain, &needs, 2, None)
        .unwrap_err()
        .to_string();
    assert!(refusal.ends_with("ask for --workers 3"), "{refusal}");
    needs.workers = 1;
    assert!(
        plan(Profile::Plain, &needs, 0, None).is_ok(),
        "the control plane takes pods when it is alone"
    );
}

#[test]
fn needs_add_up_over_scenarios() {
    let scenario = |requires: &str| {
        let text = format!(
            "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: a}}\nspec:\n  title: t\n  requires: {requires}\n  \
             steps:\n  - title: s\n    delete: pod/default/x\n"
        );
        let suite = trunkline_scenario::Suite::from_text("a.yaml", text);
        suite.scenarios[0].spec.requires.clone()
    };
    let first = scenario("{vms: true, workers: 2, nmstate: false}");
    let second = scenario("{sdn: ovn-kubernetes, workers: 1}");
    let needs = Needs::of([&first, &second]);
    assert_eq!(
        needs.features,
        BTreeSet::from([Feature::Vms, Feature::OvnKubernetes])
    );
    assert_eq!(needs.workers, 2);
}

#[test]
fn what_a_profile_provides_is_what_its_components_bring() {
    let plain = provides(Profile::Plain);
    assert_eq!(
        (plain.sdn, plain.vms, plain.storage, plain.workers),
        (None, false, true, 2)
    );
    let ovn = provides(Profile::OvnKubernetes);
    assert_eq!(ovn.sdn.as_deref(), Some("ovn-kubernetes"));
    assert!(ovn.vms && ovn.nmstate && ovn.network_segmentation && ovn.multi_network_policy);
}

#[test]
fn a_node_image_description_is_read_and_its_mistakes_are_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.yaml");
    std::fs::write(&path, "image: mine\nlacks: [default-network]\n").unwrap();
    let image = NodeImage::read(&path).unwrap();
    assert!(!image.brings_network());
    std::fs::write(&path, "image: mine\nlack: [default-network]\n").unwrap();
    let refusal = NodeImage::read(&path).unwrap_err().to_string();
    assert!(
        refusal.contains("lack") && refusal.contains("kubeadm-patches"),
        "{refusal}"
    );
    assert!(
        NodeImage::read(Path::new("/nowhere.yaml"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere.yaml")
    );
}

#[test]
fn demands_grow_with_the_nodes() {
    let one = plan(Profile::Plain, &Needs::default(), 1, None).unwrap();
    let three = plan(Profile::Plain, &Needs::default(), 3, None).unwrap();
    assert_eq!(three.disk_mib(), 2 * one.disk_mib());
    let machines = plan(Profile::OvnKubernetes, &needs(&[Feature::Vms]), 1, None).unwrap();
    assert!(machines.inotify().watches > one.inotify().watches);
    assert!(machines.uses_helm() && !one.uses_helm());
}

#[test]
fn the_values_of_the_chart_are_yaml_once_filled_in() {
    let text = file("ovn-kubernetes/values.yaml")
        .unwrap()
        .replace("${api-server}", "https://172.18.0.2:6443");
    let values: BTreeMap<String, serde_json::Value> = serde_yaml::from_str(&text).unwrap();
    assert_eq!(values["k8sAPIServer"], "https://172.18.0.2:6443");
    for feature in [
        "enableMultiNetwork",
        "enableNetworkSegmentation",
        "enablePersistentIPs",
    ] {
        assert_eq!(values["global"][feature], true, "{feature}");
    }
}
