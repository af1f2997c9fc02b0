//! Changes of instances, migrations and evictions.

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use serde_json::{Value, json};

use crate::cluster::{CONTROLLER, Cluster, USER, instance, spec};

#[tokio::test]
async fn only_kubevirt_changes_an_instance() {
    let cluster = Cluster::start();
    let kind = "VirtualMachineInstance";
    cluster.create(kind, instance(spec(|_| {}))).await.unwrap();
    let changed = json!({"spec": {"terminationGracePeriodSeconds": 1}});
    let status = cluster
        .merge_as(USER, kind, "vmi", changed)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "admission webhook \"virtualmachineinstances-update-validator.kubevirt.io\" denied the request: update of VMI object is restricted"
    );
    let status = json!({"status": {"phase": "Running"}});
    let after = cluster
        .merge_as(USER, kind, "vmi", status.clone())
        .await
        .unwrap();
    assert_eq!(
        after["status"]["phase"], "Pending",
        "a user's word about the status is ignored"
    );
    let after = cluster
        .merge_as(CONTROLLER, kind, "vmi", status)
        .await
        .unwrap();
    assert_eq!(after["status"]["phase"], "Running");
    assert_eq!(
        after["metadata"]["generation"], 2,
        "the status counts as in a real KubeVirt"
    );
    let label = json!({"metadata": {"labels": {"kubevirt.io/nodeName": "a"}}});
    let status = cluster
        .merge_as(USER, kind, "vmi", label)
        .await
        .unwrap_err();
    assert!(
        status
            .message
            .contains("modification of the following reserved"),
        "{}",
        status.message
    );
    let label = json!({"metadata": {"labels": {"mine": "a"}}});
    cluster.merge_as(USER, kind, "vmi", label).await.unwrap();
}

fn migration(name: &str, vmi: &str) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": name},
        "spec": {"vmiName": vmi},
    })
}

#[tokio::test]
async fn migrations_are_refused_as_recorded() {
    let cluster = Cluster::start();
    let denied =
        "admission webhook \"migration-create-validator.kubevirt.io\" denied the request: ";
    let kind = "VirtualMachineInstanceMigration";
    let refused = |status: kube::core::Status| {
        let told = status
            .message
            .strip_prefix(denied)
            .unwrap_or_else(|| panic!("{status:?}"));
        (status.code, told.to_owned())
    };
    let status = cluster
        .create(kind, migration("m", "none"))
        .await
        .unwrap_err();
    assert_eq!(
        refused(status),
        (400, "the VMI \"default/none\" does not exist".to_owned())
    );
    cluster
        .create("VirtualMachineInstance", instance(spec(|_| {})))
        .await
        .unwrap();
    let created = cluster.create(kind, migration("m", "vmi")).await.unwrap();
    assert_eq!(
        created["metadata"]["labels"],
        json!({"kubevirt.io/vmi-name": "vmi"})
    );
    assert_eq!(
        created["metadata"]["finalizers"],
        json!(["kubevirt.io/migrationJobFinalize"])
    );
    // observed/kubevirt/s3-second-vmim.txt
    let status = cluster
        .create(kind, migration("n", "vmi"))
        .await
        .unwrap_err();
    let uid = created["metadata"]["uid"].as_str().unwrap();
    assert_eq!(
        refused(status).1,
        format!(
            "in-flight migration detected. Active migration job ({uid}) is currently already in progress for VMI vmi."
        )
    );
    // observed/kubevirt/s4-bridge-migration-refused.txt
    let condition = json!({
        "type": "LiveMigratable", "status": "False", "reason": "InterfaceNotLiveMigratable",
        "message": "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network",
    });
    let patch = json!({"status": {"conditions": [condition]}});
    cluster
        .merge_as(CONTROLLER, "VirtualMachineInstance", "vmi", patch)
        .await
        .unwrap();
    let status = cluster
        .create(kind, migration("n", "vmi"))
        .await
        .unwrap_err();
    assert_eq!(
        refused(status).1,
        "Cannot migrate VMI, Reason: InterfaceNotLiveMigratable, Message: cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network"
    );
    let patch = json!({"spec": {"vmiName": "other"}});
    let status = cluster.merge_as(USER, kind, "m", patch).await.unwrap_err();
    assert!(
        status
            .message
            .ends_with("update of Migration object's spec is restricted"),
        "{}",
        status.message
    );
    let patch = json!({"metadata": {"labels": {"kubevirt.io/vmi-name": "b"}}});
    let status = cluster.merge_as(USER, kind, "m", patch).await.unwrap_err();
    assert!(
        status
            .message
            .ends_with("selector label can't be modified on an in-flight migration"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn evictions_of_machines_are_answered_as_recorded() {
    let cluster = Cluster::start();
    let asked = instance(spec(|spec| spec["evictionStrategy"] = json!("LiveMigrate")));
    cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    for node in ["kv-worker", "kv-worker2"] {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": format!("virt-launcher-{node}"),
                "labels": {"kubevirt.io": "virt-launcher"},
                "annotations": {"kubevirt.io/domain": "vmi"},
            },
            "spec": {"nodeName": node, "containers": [{"name": "compute", "image": "launcher"}]},
        });
        cluster.create("Pod", pod).await.unwrap();
    }
    let denied =
        "admission webhook \"virt-launcher-eviction-interceptor.kubevirt.io\" denied the request: ";
    let evict = async |pod: &str| {
        let api = Api::<Pod>::namespaced(cluster.0.client(USER), "default");
        let error = api
            .evict(pod, &kube::api::EvictParams::default())
            .await
            .unwrap_err();
        let kube::Error::Api(status) = error else {
            panic!("{error}")
        };
        assert_eq!(status.code, 429, "{status:?}");
        status
            .message
            .strip_prefix(denied)
            .unwrap_or_else(|| panic!("{status:?}"))
            .to_owned()
    };
    assert_eq!(
        evict("virt-launcher-kv-worker").await,
        "VMI vmi is configured with an eviction strategy but is not live-migratable"
    );
    let patch = json!({"status": {
        "nodeName": "kv-worker2",
        "conditions": [{"type": "LiveMigratable", "status": "True"}],
    }});
    cluster
        .merge_as(CONTROLLER, "VirtualMachineInstance", "vmi", patch)
        .await
        .unwrap();
    // observed/kubevirt/s2-eviction-response.txt, s3-eviction-response.txt, s3-eviction-response-2.txt
    assert_eq!(
        evict("virt-launcher-kv-worker").await,
        "Eviction request for target Pod"
    );
    assert_eq!(
        evict("virt-launcher-kv-worker2").await,
        "Eviction triggered evacuation of VMI \"default/vmi\""
    );
    assert_eq!(
        evict("virt-launcher-kv-worker2").await,
        "Evacuation in progress: Eviction triggered evacuation of VMI \"default/vmi\""
    );
    let instance = cluster
        .api("VirtualMachineInstance", USER)
        .get("vmi")
        .await
        .unwrap();
    assert_eq!(instance.data["status"]["evacuationNodeName"], "kv-worker2");
}
