//! What a harness must recognise at once: machines that will never run as they are.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use trunkline_kubevirt::types::{KubeVirt, VirtualMachine, VirtualMachineInstance};

use crate::cluster::Cluster;
use crate::lifecycle::machine;
use crate::site::Behaviour;

fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    let conditions = conditions.map_or(&[][..], Vec::as_slice);
    conditions
        .iter()
        .find(|c| c["type"] == type_)
        .unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_node_has_room() {
    let message =
        "0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s).";
    let behaviour = Behaviour {
        unschedulable: Some(message.to_owned()),
        ..Behaviour::default()
    };
    let cluster = Cluster::with(behaviour).await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"running": true})))
        .await;
    let vm = cluster.printable("vm", "ErrorUnschedulable").await;
    assert_eq!(condition(&vm, "PodScheduled")["message"], message);
    assert_eq!(condition(&vm, "PodScheduled")["reason"], "Unschedulable");
    // room is made
    cluster.behaviour.lock().unwrap().unschedulable = None;
    cluster
        .patch::<VirtualMachineInstance>(
            "vm",
            json!({"metadata": {"annotations": {"look": "again"}}}),
        )
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(condition(&vm, "PodScheduled"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_cannot_be_had() {
    let behaviour = Behaviour {
        image: Some(("ErrImagePull".to_owned(), "no such image".to_owned())),
        ..Behaviour::default()
    };
    let cluster = Cluster::with(behaviour).await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"running": true})))
        .await;
    let vm = cluster.printable("vm", "ErrImagePull").await;
    assert_eq!(condition(&vm, "Synchronized")["message"], "no such image");
    let back_off = (
        "ImagePullBackOff".to_owned(),
        "Back-off pulling image".to_owned(),
    );
    cluster.behaviour.lock().unwrap().image = Some(back_off);
    cluster
        .patch::<VirtualMachineInstance>(
            "vm",
            json!({"metadata": {"annotations": {"look": "again"}}}),
        )
        .await;
    let vm = cluster.printable("vm", "ImagePullBackOff").await;
    assert_eq!(condition(&vm, "Synchronized")["reason"], "ImagePullBackOff");
    cluster.behaviour.lock().unwrap().image = None;
    cluster
        .patch::<VirtualMachineInstance>(
            "vm",
            json!({"metadata": {"annotations": {"look": "once more"}}}),
        )
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(condition(&vm, "Synchronized"), &Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_are_missing_are_waited_for() {
    let cluster = Cluster::start().await;
    let mut vm = machine("vm", json!({"running": true}));
    let volumes = vm["spec"]["template"]["spec"]["volumes"]
        .as_array_mut()
        .unwrap();
    volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": "late"}}));
    cluster.create::<VirtualMachine>(vm).await;
    let vm = cluster.printable("vm", "ErrorPvcNotFound").await;
    let message = "PVC default/late does not exist, waiting for it to appear";
    assert_eq!(condition(&vm, "Synchronized")["message"], message);
    assert_eq!(
        condition(&vm, "Synchronized")["reason"],
        "FailedPvcNotFound"
    );
    assert_eq!(
        vm["status"]["volumeSnapshotStatuses"][1]["reason"],
        "PVC not found"
    );
    cluster
        .event(&format!("vm FailedPvcNotFound: {message}"))
        .await;
    cluster
        .create::<PersistentVolumeClaim>(json!({
            "metadata": {"name": "late"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .await;
    let vm = cluster.printable("vm", "Running").await;
    assert_eq!(condition(&vm, "Synchronized"), &Value::Null);
    let vmi = cluster.phase("vm", "Running").await;
    let data = &vmi["status"]["volumeStatus"][0];
    assert_eq!(
        (
            &data["name"],
            &data["persistentVolumeClaimInfo"]["claimName"]
        ),
        (&json!("data"), &json!("late"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_must_be_registered() {
    let cluster = Cluster::start().await;
    let kubevirt: Api<KubeVirt> = Api::namespaced(cluster.client.clone(), "kubevirt");
    let there = |kv: Option<&KubeVirt>| kv.is_some();
    await_condition(kubevirt.clone(), "kubevirt", there)
        .await
        .unwrap();
    let mut vmi = machine("x", json!({}))["spec"]["template"].clone();
    vmi["metadata"] = json!({"name": "registered"});
    vmi["spec"]["domain"]["devices"]["interfaces"] =
        json!([{"name": "default", "binding": {"name": "l2bridge"}}]);
    cluster.create::<VirtualMachineInstance>(vmi.clone()).await;
    cluster.phase("registered", "Running").await;
    // the controller looks only when it makes a pod
    cluster.behaviour.lock().unwrap().unschedulable = Some("none".to_owned());
    vmi["metadata"] = json!({"name": "unknown"});
    let mut without = machine("x", json!({}))["spec"]["template"].clone();
    without["metadata"] = json!({"name": "unknown"});
    without["spec"]["volumes"] =
        json!([{"name": "root", "persistentVolumeClaim": {"claimName": "late"}}]);
    without["spec"]["domain"] = vmi["spec"]["domain"].clone();
    cluster.create::<VirtualMachineInstance>(without).await;
    cluster.event("unknown FailedPvcNotFound").await;
    let nothing = json!({"spec": {"configuration": {"network": {"binding": {"l2bridge": null}}}}});
    let params = PatchParams::default();
    kubevirt
        .patch("kubevirt", &params, &Patch::Merge(nothing))
        .await
        .unwrap();
    cluster.create::<PersistentVolumeClaim>(claim("late")).await;
    let vmi = cluster
        .until::<VirtualMachineInstance>("unknown", "refused", |vmi| {
            condition(vmi, "Synchronized")["reason"] == "FailedCreate"
        })
        .await;
    assert_eq!(
        condition(&vmi, "Synchronized")["message"],
        "failed to render launch manifest: unable to find the network binding plugin 'l2bridge' in Kubevirt configuration"
    );
}

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn launchers_that_die_are_a_crash_loop() {
    let behaviour = Behaviour {
        launcher_dies: true,
        ..Behaviour::default()
    };
    let cluster = Cluster::with(behaviour).await;
    cluster
        .create::<VirtualMachine>(machine("vm", json!({"running": true})))
        .await;
    let vm = cluster.printable("vm", "CrashLoopBackOff").await;
    let failure = &vm["status"]["startFailure"];
    assert_eq!(failure["consecutiveFailCount"], 1);
    assert!(failure["retryAfterTimestamp"].is_string());
    // the wait is kept
    cluster
        .until::<VirtualMachineInstance>("vm", "gone", Value::is_null)
        .await;
    let waiting = |vm: &Value| {
        vm["status"]["created"].is_null() && vm["status"]["printableStatus"] == "CrashLoopBackOff"
    };
    cluster
        .until::<VirtualMachine>("vm", "waiting", waiting)
        .await;
    // and over when the machine is no longer wanted
    cluster
        .patch::<VirtualMachine>("vm", json!({"spec": {"running": false}}))
        .await;
    let vm = cluster.printable("vm", "Stopped").await;
    assert_eq!(vm["status"]["startFailure"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_refused_says_why() {
    let cluster = Cluster::start().await;
    let mut vmi = machine("x", json!({}))["spec"]["template"].clone();
    // a priority class that there is not
    vmi["metadata"] = json!({"name": "vmi"});
    vmi["spec"]["priorityClassName"] = json!("no-such-class");
    cluster.create::<VirtualMachineInstance>(vmi).await;
    let vmi = cluster
        .until::<VirtualMachineInstance>("vmi", "refused", |vmi| {
            vmi.to_string().contains("FailedCreate")
        })
        .await;
    assert_eq!(vmi["status"]["phase"], "Pending");
    assert!(
        condition(&vmi, "Synchronized")["message"]
            .as_str()
            .unwrap()
            .starts_with("failed to create virtual machine pod")
    );
    cluster.event("vmi FailedCreate: Error creating pod:").await;
}
