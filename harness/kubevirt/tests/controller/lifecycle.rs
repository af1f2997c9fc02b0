//! Run strategies, requests, deletion.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};
use trunkline_kubevirt::controller::events::Recorder;
use trunkline_kubevirt::types::{
    VirtualMachine, VirtualMachineInstance, VirtualMachineInstanceMigration,
};

use crate::cluster::Cluster;
use crate::site;

pub fn machine(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "metadata": {"name": name},
        "spec": {"template": {"spec": {
            "terminationGracePeriodSeconds": 0,
            "domain": {"memory": {"guest": "64Mi"}, "devices": {"interfaces": [{"name": "default", "masquerade": {}}]}},
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [{"name": "root", "containerDisk": {"image": "kvlab/tiny-guest:v1"}}],
        }}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

async fn uid(cluster: &Cluster, name: &str) -> Value {
    json!(
        cluster
            .api::<VirtualMachineInstance>()
            .get(name)
            .await
            .unwrap()
            .metadata
            .uid
    )
}

async fn gone(cluster: &Cluster, name: &str) {
    cluster
        .until::<VirtualMachineInstance>(name, "gone", Value::is_null)
        .await;
}

/// The guest shuts itself down, or dies.
async fn end(cluster: &Cluster, name: &str, well: bool) {
    let recorder = Recorder::start(cluster.client.clone());
    loop {
        let vmi = cluster
            .api::<VirtualMachineInstance>()
            .get(name)
            .await
            .unwrap();
        let final_ =
            ["Succeeded", "Failed"].contains(&json!(vmi)["status"]["phase"].as_str().unwrap());
        if final_ {
            return;
        }
        site::end(&cluster.handler, &recorder, &vmi, well).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn running_starts_and_stops() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"running": false})))
        .await;
    let vm = cluster.printable("vm", "Stopped").await;
    assert_eq!(vm["status"]["created"], Value::Null);
    cluster
        .patch::<VirtualMachine>("vm", json!({"spec": {"running": true}}))
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(vm["status"]["runStrategy"], "Always");
    cluster
        .patch::<VirtualMachine>("vm", json!({"spec": {"running": false}}))
        .await;
    gone(&cluster, "vm").await;
    let stopped = |vm: &Value| {
        vm["status"]["ready"].is_null() && vm["status"]["printableStatus"] == "Stopped"
    };
    cluster
        .until::<VirtualMachine>("vm", "stopped", stopped)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_obeys_requests() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Manual"})))
        .await;
    cluster.printable("vm", "Stopped").await;
    let start = json!({"stateChangeRequests": [{"action": "Start"}]});
    cluster
        .patch_status::<VirtualMachine>("vm", start.clone())
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(vm["status"]["stateChangeRequests"], Value::Null);
    // a guest that ends stays ended
    end(&cluster, "vm", true).await;
    cluster.printable("vm", "Stopped").await;
    cluster.phase("vm", "Succeeded").await;
    cluster
        .api::<VirtualMachineInstance>()
        .delete("vm", &DeleteParams::default())
        .await
        .unwrap();
    gone(&cluster, "vm").await;
    // restart: stop this instance, then start another
    cluster.patch_status::<VirtualMachine>("vm", start).await;
    cluster.printable("vm", "Running").await;
    let first = uid(&cluster, "vm").await;
    let restart = json!([{"action": "Stop", "uid": first}, {"action": "Start"}]);
    cluster
        .patch_status::<VirtualMachine>("vm", json!({"stateChangeRequests": restart}))
        .await;
    cluster
        .until::<VirtualMachineInstance>("vm", "another, running", |vmi| {
            vmi["metadata"]["uid"] != first && vmi["status"]["phase"] == "Running"
        })
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(vm["status"]["stateChangeRequests"], Value::Null);
    let stop = json!([{"action": "Stop", "uid": uid(&cluster, "vm").await}]);
    cluster
        .patch_status::<VirtualMachine>("vm", json!({"stateChangeRequests": stop}))
        .await;
    gone(&cluster, "vm").await;
    cluster.printable("vm", "Stopped").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rerun_on_failure_reruns_only_failures() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "RerunOnFailure"})))
        .await;
    cluster.printable("vm", "Running").await;
    let first = uid(&cluster, "vm").await;
    end(&cluster, "vm", false).await;
    cluster
        .until::<VirtualMachineInstance>("vm", "another, running", |vmi| {
            vmi["metadata"]["uid"].is_string()
                && vmi["metadata"]["uid"] != first
                && vmi["status"]["phase"] == "Running"
        })
        .await;
    cluster.printable("vm", "Running").await;
    end(&cluster, "vm", true).await;
    gone(&cluster, "vm").await;
    let vm = cluster.printable("vm", "Stopped").await;
    assert_eq!(vm["status"]["stateChangeRequests"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_once() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Once"})))
        .await;
    cluster.printable("vm", "Running").await;
    let first = uid(&cluster, "vm").await;
    end(&cluster, "vm", false).await;
    cluster.printable("vm", "Stopped").await;
    assert_eq!(uid(&cluster, "vm").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_can_start_paused() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Halted"})))
        .await;
    cluster.printable("vm", "Stopped").await;
    let start = json!({"stateChangeRequests": [{"action": "Start", "data": {"paused": "true"}}]});
    cluster.patch_status::<VirtualMachine>("vm", start).await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(vm["spec"]["runStrategy"], "Always");
    let vmi = cluster.phase("vm", "Running").await;
    assert_eq!(vmi["spec"]["startStrategy"], "Paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_takes_everything_along() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Always"})))
        .await;
    cluster.printable("vm", "Running").await;
    let revisions = cluster
        .api::<ControllerRevision>()
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(revisions.items.len(), 1);
    assert_eq!(
        revisions.items[0].data.as_ref().unwrap().0["spec"]["runStrategy"],
        "Always"
    );
    cluster
        .api::<VirtualMachine>()
        .delete("vm", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .until::<VirtualMachine>("vm", "gone", Value::is_null)
        .await;
    gone(&cluster, "vm").await;
    let pods = cluster
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(pods.items.len(), 0);
    cluster
        .until::<ControllerRevision>(
            &revisions.items[0].metadata.name.clone().unwrap(),
            "gone",
            Value::is_null,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_machine_can_be_deleted_at_any_time() {
    let cluster = Cluster::start().await;
    let object = json!({"metadata": {"name": "vmi"}, "spec": machine("x", json!({}))["spec"]["template"]["spec"]});
    cluster.behaviour.lock().unwrap().unschedulable = Some("0/1 nodes are available".to_owned());
    cluster
        .create::<VirtualMachineInstance>(object.clone())
        .await;
    cluster.phase("vmi", "Scheduling").await;
    cluster
        .api::<VirtualMachineInstance>()
        .delete("vmi", &DeleteParams::default())
        .await
        .unwrap();
    gone(&cluster, "vmi").await;
    cluster.behaviour.lock().unwrap().unschedulable = None;
    cluster.create::<VirtualMachineInstance>(object).await;
    cluster.phase("vmi", "Running").await;
    cluster
        .api::<VirtualMachineInstance>()
        .delete("vmi", &DeleteParams::default())
        .await
        .unwrap();
    gone(&cluster, "vmi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_a_running_machine_ask_for_a_restart() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Always"})))
        .await;
    cluster.printable("vm", "Running").await;
    let change = |memory: &str| json!({"spec": {"template": {"spec": {"domain": {"memory": {"guest": memory}}}}}});
    cluster.patch::<VirtualMachine>("vm", change("128Mi")).await;
    let restart = |vm: &Value| vm.to_string().contains("RestartRequired");
    let vm = cluster
        .until::<VirtualMachine>("vm", "waiting for a restart", restart)
        .await;
    assert_eq!(
        (
            &vm["status"]["observedGeneration"],
            &vm["status"]["desiredGeneration"]
        ),
        (&json!(1), &json!(2))
    );
    // back to what runs
    cluster.patch::<VirtualMachine>("vm", change("64Mi")).await;
    let vm = cluster
        .until::<VirtualMachine>("vm", "as it runs", |vm| !restart(vm))
        .await;
    assert_eq!(vm["metadata"]["generation"], 3);
    cluster
        .until::<VirtualMachine>("vm", "observed", |vm| {
            vm["status"]["observedGeneration"] == 3
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_fails_its_machine() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Manual"})))
        .await;
    cluster.printable("vm", "Stopped").await;
    let start = json!({"stateChangeRequests": [{"action": "Start"}]});
    cluster.patch_status::<VirtualMachine>("vm", start).await;
    cluster.printable("vm", "Running").await;
    let pods = cluster
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let name = pods.items[0].metadata.name.clone().unwrap();
    let now = DeleteParams::default().grace_period(0);
    cluster.api::<Pod>().delete(&name, &now).await.unwrap();
    let vmi = cluster.phase("vm", "Failed").await;
    assert!(vmi.to_string().contains("PodNotExists") || vmi.to_string().contains("PodTerminating"));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_restarts_leave_one_of_everything() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"runStrategy": "Always"})))
        .await;
    for _ in 0..20 {
        cluster.printable("vm", "Running").await;
        let this = uid(&cluster, "vm").await;
        let restart = json!([{"action": "Stop", "uid": this}, {"action": "Start"}]);
        cluster
            .patch_status::<VirtualMachine>("vm", json!({"stateChangeRequests": restart}))
            .await;
        cluster
            .until::<VirtualMachineInstance>("vm", "another, running", |vmi| {
                vmi["metadata"]["uid"].is_string()
                    && vmi["metadata"]["uid"] != this
                    && vmi["status"]["phase"] == "Running"
            })
            .await;
    }
    cluster
        .until::<VirtualMachine>("vm", "without requests", |vm| {
            vm["status"]["stateChangeRequests"].is_null()
        })
        .await;
    let pods = cluster
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .unwrap();
    let revisions = cluster
        .api::<ControllerRevision>()
        .list(&ListParams::default())
        .await
        .unwrap();
    assert_eq!((pods.items.len(), revisions.items.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_fails_at_once_and_holds_nobody_up() {
    let cluster = Cluster::start().await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"running": true})))
        .await;
    cluster.printable("vm", "Running").await;
    cluster
        .create::<VirtualMachineInstanceMigration>(json!({
            "metadata": {"name": "away", "finalizers": ["kubevirt.io/migrationJobFinalize"]},
            "spec": {"vmiName": "vm"},
        }))
        .await;
    let failed = |migration: &Value| migration["status"]["phase"] == "Failed";
    cluster
        .until::<VirtualMachineInstanceMigration>("away", "failed", failed)
        .await;
    let migrations = cluster.api::<VirtualMachineInstanceMigration>();
    migrations
        .delete("away", &DeleteParams::default())
        .await
        .unwrap();
    let gone = kube::runtime::wait::await_condition(
        migrations,
        "away",
        |found: Option<&VirtualMachineInstanceMigration>| found.is_none(),
    );
    tokio::time::timeout(std::time::Duration::from_secs(20), gone)
        .await
        .expect("the finalizer goes")
        .unwrap();
}
