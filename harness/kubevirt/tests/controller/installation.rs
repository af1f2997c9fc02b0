//! KubeVirt itself, and its nodes.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;
use trunkline_kubevirt::types::{KubeVirt, KubeVirtPhase};

use crate::cluster::Cluster;
use crate::site::NODE;

#[tokio::test(flavor = "multi_thread")]
async fn kubevirt_is_deployed() {
    let cluster = Cluster::start().await;
    let api: Api<KubeVirt> = Api::namespaced(cluster.client.clone(), "kubevirt");
    let deployed = |kv: Option<&KubeVirt>| {
        kv.and_then(|kv| kv.status.as_ref()).and_then(|s| s.phase) == Some(KubeVirtPhase::Deployed)
    };
    let kv = await_condition(api.clone(), "kubevirt", deployed)
        .await
        .unwrap()
        .unwrap();
    let status = json!(kv.status);
    let conditions: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"]))
        .collect();
    let recorded = [
        r#""Available"="True" "AllComponentsReady""#,
        r#""Progressing"="False" "AllComponentsReady""#,
        r#""Degraded"="False" "AllComponentsReady""#,
        r#""Created"="True" "AllResourcesCreated""#,
    ];
    assert_eq!(conditions, recorded);
    assert_eq!(status["observedKubeVirtVersion"], "v1.8.4");
    assert_eq!(status["observedKubeVirtRegistry"], "kvlab");
    // a changed configuration is deployed as well
    let generation = kv.metadata.generation.unwrap();
    let patch = json!({"spec": {"configuration": {"evictionStrategy": "LiveMigrate"}}});
    api.patch("kubevirt", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
    let observed = |kv: Option<&KubeVirt>| {
        kv.and_then(|kv| kv.status.as_ref()?.observed_generation)
            .is_some_and(|g| g > generation)
    };
    await_condition(api.clone(), "kubevirt", observed)
        .await
        .unwrap();
    api.delete("kubevirt", &DeleteParams::default())
        .await
        .unwrap();
    let uid = kv.metadata.uid.unwrap();
    let gone = conditions::is_deleted(&uid);
    await_condition(api, "kubevirt", gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_get_kubevirts_roles() {
    let cluster = Cluster::start().await;
    let api: Api<ClusterRole> = Api::all(cluster.client.clone());
    let there = |role: Option<&ClusterRole>| role.is_some();
    for name in [
        "kubevirt.io:admin",
        "kubevirt.io:edit",
        "kubevirt.io:view",
        "kubevirt.io:default",
    ] {
        await_condition(api.clone(), name, there).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_say_what_they_can_run() {
    let cluster = Cluster::start().await;
    let api: Api<Node> = Api::all(cluster.client.clone());
    let labelled = |node: Option<&Node>| {
        let node = json!(node);
        node["metadata"]["labels"]["kubevirt.io/schedulable"] == "true"
            && node["status"]["allocatable"]["devices.kubevirt.io/tun"] == "1k"
    };
    let node = await_condition(api, NODE, labelled).await.unwrap();
    let node = json!(node);
    let labels = &node["metadata"]["labels"];
    assert_eq!(labels["machine-type.node.kubevirt.io/q35"], "true");
    assert!(node["metadata"]["annotations"]["kubevirt.io/heartbeat"].is_string());
    assert_eq!(node["status"]["capacity"]["devices.kubevirt.io/kvm"], "0");
}
