//! DataVolumes: claims that are filled before a machine starts.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use trunkline_kubevirt::types::VirtualMachine;

use crate::cluster::Cluster;
use crate::lifecycle::machine;
use crate::site::Behaviour;

fn api(cluster: &Cluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cdi.kubevirt.io", "v1beta1", "DataVolume");
    let kind = ApiResource::from_gvk(&kind);
    Api::namespaced_with(cluster.client.clone(), "default", &kind)
}

async fn phase(cluster: &Cluster, name: &str, phase: &str) -> Value {
    let is =
        |volume: Option<&DynamicObject>| volume.is_some_and(|v| v.data["status"]["phase"] == phase);
    json!(await_condition(api(cluster), name, is).await.unwrap())
}

fn with_volume(source: Value) -> Value {
    let storage = json!({"resources": {"requests": {"storage": "1Gi"}}});
    let mut vm = machine(
        "vm",
        json!({"running": true, "dataVolumeTemplates": [
            {"metadata": {"name": "disk"}, "spec": {"source": source, "storage": storage}},
        ]}),
    );
    let volumes = vm["spec"]["template"]["spec"]["volumes"]
        .as_array_mut()
        .unwrap();
    volumes.push(json!({"name": "data", "dataVolume": {"name": "disk"}}));
    vm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_waits_for_its_disk() {
    let cluster = Cluster::start().await;
    let source = json!({"registry": {"url": "docker://registry.example/disk:1"}});
    cluster.create::<VirtualMachine>(with_volume(source)).await;
    let volume = phase(&cluster, "disk", "Succeeded").await;
    assert_eq!(volume["status"]["progress"], "100.0%");
    assert_eq!(
        volume["metadata"]["ownerReferences"][0]["kind"],
        "VirtualMachine"
    );
    let vm = cluster.printable("vm", "Running").await;
    let snapshots = vm["status"]["volumeSnapshotStatuses"].to_string();
    assert!(snapshots.contains("No VolumeSnapshotClass"), "{snapshots}");
    let claim = cluster
        .api::<PersistentVolumeClaim>()
        .get("disk")
        .await
        .unwrap();
    assert_eq!(claim.spec.unwrap().access_modes.unwrap(), ["ReadWriteOnce"]);
    cluster
        .event("vm SuccessfulDataVolumeCreate: Created DataVolume disk")
        .await;
    cluster
        .until::<Pod>("importer-disk", "gone", Value::is_null)
        .await;
    // all of it goes with the machine
    cluster
        .api::<VirtualMachine>()
        .delete("vm", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until::<PersistentVolumeClaim>("disk", "gone", Value::is_null)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_filled() {
    let cluster = Cluster::with(Behaviour {
        import_fails: true,
        ..Behaviour::default()
    })
    .await;
    cluster
        .create::<VirtualMachine>(with_volume(json!({"blank": {}})))
        .await;
    let vm = cluster.printable("vm", "DataVolumeError").await;
    assert_eq!(vm["status"]["created"], Value::Null);
    let volume = phase(&cluster, "disk", "ImportInProgress").await;
    assert!(
        volume["status"]["conditions"]
            .to_string()
            .contains("no space left")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_nobody_imports() {
    let cluster = Cluster::start().await;
    let volume = json!({
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": "web"},
        "spec": {
            "source": {"http": {"url": "https://registry.example/disk.img"}},
            "pvc": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    });
    let volume = serde_json::from_value(volume).unwrap();
    api(&cluster)
        .create(&PostParams::default(), &volume)
        .await
        .unwrap();
    let volume = phase(&cluster, "web", "Pending").await;
    assert!(
        volume["status"]["conditions"]
            .to_string()
            .contains("use registry, blank or pvc")
    );
}
