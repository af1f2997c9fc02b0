//! Launcher pods, held against the recorded ones: `recorded/pod-differences.txt` lists what differs and why.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use trunkline_kubevirt::types::VirtualMachineInstance;

use crate::cluster::Cluster;
use crate::flat;
use crate::record::Known;

const KNOWN: &str = include_str!("../recorded/pod-differences.txt");

/// The pod of the machine that a recorded object describes.
async fn pod_of(cluster: &Cluster, recorded: &str, namespace: &str) -> Value {
    let recorded: Value = serde_yaml::from_str(recorded).unwrap();
    let mut annotations = recorded["metadata"]["annotations"].clone();
    annotations
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !key.contains("observed-api-version"));
    let mut labels = recorded["metadata"]["labels"].clone();
    labels
        .as_object_mut()
        .unwrap()
        .remove("kubevirt.io/nodeName");
    let vmi = serde_json::from_value(json!({
        "metadata": {"name": recorded["metadata"]["name"], "labels": labels, "annotations": annotations},
        "spec": recorded["spec"],
    }))
    .unwrap();
    let api: Api<VirtualMachineInstance> = Api::namespaced(cluster.controller.clone(), namespace);
    let vmi = api.create(&PostParams::default(), &vmi).await.unwrap();
    let name = vmi.name_any();
    cluster.event(&format!("{name} SuccessfulCreate")).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let selector = format!("kubevirt.io/created-by={}", vmi.uid().unwrap());
    let found = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .unwrap();
    let text = json!(found.items[0]).to_string();
    serde_json::from_str(&text.replace(&vmi.uid().unwrap(), "<uid>")).unwrap()
}

fn recorded_pod(text: &str) -> Value {
    let pod: Value = serde_yaml::from_str(text).unwrap();
    let uid = pod["metadata"]["labels"]["kubevirt.io/created-by"]
        .as_str()
        .unwrap()
        .to_owned();
    serde_json::from_str(&pod.to_string().replace(&uid, "<uid>")).unwrap()
}

fn differences(recorded: &Value, here: &Value) -> BTreeMap<String, (String, String)> {
    let fields = |pod: &Value| {
        let mut fields = flat::fields(pod);
        // what the cluster adds, and what the scheduler and the network did later
        let later = [
            "status.",
            "metadata.creationTimestamp",
            "metadata.uid",
            "metadata.name",
            "metadata.generation",
            "metadata.annotations.k8s.ovn.org",
            "metadata.annotations.k8s.v1.cni.cncf.io/network-status",
            "metadata.labels.kubevirt.io/nodeName",
            "spec.nodeName",
        ];
        fields.retain(|path, value| !later.iter().any(|l| path.starts_with(l)) && !value.is_null());
        fields
    };
    let (recorded, here) = (fields(recorded), fields(here));
    let mut found = BTreeMap::new();
    for path in recorded.keys().chain(here.keys()) {
        if recorded.get(path) != here.get(path) {
            let say = |fields: &flat::Fields| {
                fields
                    .get(path)
                    .map_or_else(|| "none".to_owned(), Value::to_string)
            };
            // containers that there are not, and volumes, are one difference each
            let short = [
                "spec.containers[volumeroot]",
                "spec.initContainers[guest-console-log]",
                "spec.initContainers[container-disk-binary]",
                "spec.initContainers[volumeroot-init]",
            ]
            .into_iter()
            .find(|part| path.starts_with(part));
            match short {
                Some(part) => found.insert(
                    part.to_owned(),
                    ("a container".to_owned(), "none".to_owned()),
                ),
                None => found.insert(path.clone(), (say(&recorded), say(&here))),
            };
        }
    }
    // drawn for every pod
    let timeout = "spec.containers[compute].command[2]";
    if let Some((recorded, here)) = found.remove(timeout) {
        for text in [recorded, here] {
            let seconds: u32 = text
                .trim_matches('"')
                .strip_suffix('s')
                .unwrap()
                .parse()
                .unwrap();
            assert!((240..360).contains(&seconds), "{text}");
        }
    }
    found
}

async fn check(name: &str, vmi: &str, pod: &str, namespace: &str) {
    let cluster = Cluster::start().await;
    if namespace != "default" {
        let namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cluster.client.clone());
        api.create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }
    cluster.network(namespace, "shared-net").await;
    let here = pod_of(&cluster, vmi, namespace).await;
    Known::read(KNOWN).check(name, &differences(&recorded_pod(pod), &here));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_masquerade() {
    let vmi = include_str!("../recorded/objects/s1-vmi-1-running.yaml");
    check(
        "tiny",
        vmi,
        include_str!("../recorded/pods/tiny.yaml"),
        "default",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_cloud_init_and_a_mac() {
    let vmi = include_str!("../recorded/objects/s3-vmi-noagent.yaml");
    check(
        "noagent",
        vmi,
        include_str!("../recorded/pods/noagent.yaml"),
        "default",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_secondary_network() {
    let vmi = include_str!("../recorded/objects/ovnk-1-vmi-1-running.yaml");
    check(
        "vm-client",
        vmi,
        include_str!("../recorded/pods/vm-client.yaml"),
        "tenantblue",
    )
    .await;
}
