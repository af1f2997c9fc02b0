//! What is filled in.

use kube::api::PostParams;
use serde_json::json;

use crate::cluster::{Cluster, USER, instance, machine, recorded, spec, without};

#[tokio::test]
async fn a_machine_is_created_as_recorded() {
    let cluster = Cluster::start();
    let expected = recorded("s1-vm-2-ready");
    // What the user had written, without what KubeVirt has added.
    let asked = without(
        json!({
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachine",
            "metadata": {"name": "tiny"},
            "spec": expected["spec"],
        }),
        &[
            "/spec/template/metadata/annotations",
            "/spec/template/spec/architecture",
            "/spec/template/spec/domain/firmware",
            "/spec/template/spec/domain/machine",
            "/spec/template/spec/domain/resources",
        ],
    );
    let created = cluster.create("VirtualMachine", asked).await.unwrap();
    let firmware = created["spec"]["template"]["spec"]["domain"]["firmware"].clone();
    for name in ["uuid", "serial"] {
        assert!(
            uuid::Uuid::parse_str(firmware[name].as_str().unwrap()).is_ok(),
            "{firmware}"
        );
    }
    assert_ne!(firmware["uuid"], firmware["serial"]);
    let other = ["/spec/template/spec/domain/firmware"];
    assert_eq!(
        without(created, &other)["spec"],
        without(expected, &other)["spec"],
        "the recorded machine"
    );
}

#[tokio::test]
async fn an_instance_is_created_as_recorded() {
    let cluster = Cluster::start();
    for (name, added) in [
        (
            "s3-vmi-noagent",
            &[
                "/spec/architecture",
                "/spec/domain/cpu",
                "/spec/domain/features",
                "/spec/domain/firmware",
                "/spec/domain/machine",
                "/spec/domain/resources",
                "/spec/evictionStrategy",
            ][..],
        ),
        (
            "s4-vmi-bridge-running",
            &[
                "/spec/architecture",
                "/spec/domain/cpu",
                "/spec/domain/devices/interfaces",
                "/spec/domain/features",
                "/spec/domain/firmware",
                "/spec/domain/machine",
                "/spec/domain/resources",
                "/spec/evictionStrategy",
                "/spec/networks",
                "/spec/volumes/0/containerDisk/imagePullPolicy",
            ],
        ),
    ] {
        let expected = recorded(name);
        let asked = without(instance(expected["spec"].clone()), added);
        let mut asked = asked;
        asked["metadata"]["name"] = json!(name);
        let created = cluster
            .create("VirtualMachineInstance", asked)
            .await
            .unwrap();
        let other = ["/spec/domain/firmware"];
        assert_eq!(
            without(created.clone(), &other)["spec"],
            without(expected.clone(), &other)["spec"],
            "{name}"
        );
        let status = &created["status"];
        assert_eq!(status["phase"], "Pending");
        assert_eq!(status["phaseTransitionTimestamps"][0]["phase"], "Pending");
        assert_eq!(status["runtimeUser"], 107);
        assert_eq!(status["guestOSInfo"], json!({}));
        assert_eq!(status["memory"], expected["status"]["memory"]);
        assert_eq!(
            status["currentCPUTopology"],
            expected["status"]["currentCPUTopology"]
        );
        assert_eq!(
            created["metadata"]["finalizers"],
            json!(["kubevirt.io/foregroundDeleteVirtualMachine"])
        );
        assert_eq!(
            created["metadata"]["annotations"]["kubevirt.io/pci-topology-version"],
            "v3"
        );
    }
}

#[tokio::test]
async fn an_instance_gets_what_it_does_not_say() {
    let cluster = Cluster::start();
    let asked = instance(json!({
        "domain": {
            "devices": {"disks": [{"name": "cd", "cdrom": {}}]},
            "resources": {"requests": {"memory": "2048Mi"}, "limits": {"cpu": 2}},
        },
        "volumes": [
            {"name": "root", "containerDisk": {"image": "registry.example/guest"}},
            {"name": "cd", "containerDisk": {"image": "guest@sha256:00"}},
        ],
        "readinessProbe": {"guestAgentPing": {}},
    }));
    let created = cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    let spec = &created["spec"];
    let domain = &spec["domain"];
    assert_eq!(domain["memory"], json!({"guest": "2Gi", "maxGuest": "8Gi"}));
    assert_eq!(
        domain["cpu"],
        json!({"cores": 1, "sockets": 2, "threads": 1, "maxSockets": 8, "model": "host-model"})
    );
    assert_eq!(
        domain["resources"],
        json!({"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "2"}})
    );
    assert_eq!(
        domain["devices"]["disks"],
        json!([
            {"name": "cd", "cdrom": {"bus": "sata", "readonly": true, "tray": "closed"}},
            {"name": "root", "disk": {"bus": "sata"}},
        ])
    );
    assert_eq!(
        domain["devices"]["interfaces"],
        json!([{"name": "default", "bridge": {}}])
    );
    assert_eq!(
        spec["volumes"][0]["containerDisk"]["imagePullPolicy"],
        "Always"
    );
    assert_eq!(
        spec["volumes"][1]["containerDisk"]["imagePullPolicy"],
        "IfNotPresent"
    );
    assert_eq!(
        spec["readinessProbe"],
        json!({
            "guestAgentPing": {},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        })
    );
}

#[tokio::test]
async fn the_kubevirt_object_decides_on_defaults() {
    let cluster = Cluster::start();
    let namespace = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubevirt"},
    }))
    .unwrap();
    cluster
        .api("Namespace", USER)
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let kubevirt = serde_json::from_value(json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "KubeVirt",
        "metadata": {"name": "kubevirt"},
        "spec": {"configuration": {
            "evictionStrategy": "LiveMigrate",
            "cpuModel": "max",
            "machineType": "pc-q35-10.0",
            "vmRolloutStrategy": "Stage",
            "network": {"defaultNetworkInterface": "masquerade"},
        }},
    }))
    .unwrap();
    let kubevirts = cluster.api_in("KubeVirt", USER, "kubevirt");
    kubevirts
        .create(&PostParams::default(), &kubevirt)
        .await
        .unwrap();
    let asked = instance(json!({"domain": {"memory": {"guest": "1Gi"}, "devices": {}}}));
    let created = cluster
        .create("VirtualMachineInstance", asked)
        .await
        .unwrap();
    let spec = &created["spec"];
    assert_eq!(spec["evictionStrategy"], "LiveMigrate");
    assert_eq!(spec["domain"]["cpu"]["model"], "max");
    assert_eq!(spec["domain"]["cpu"].get("maxSockets"), None);
    assert_eq!(spec["domain"]["memory"], json!({"guest": "1Gi"}));
    assert_eq!(spec["domain"]["machine"]["type"], "pc-q35-10.0");
    assert_eq!(
        spec["domain"]["devices"]["interfaces"],
        json!([{"name": "default", "masquerade": {}}])
    );
}

#[tokio::test]
async fn a_machine_that_says_running_is_warned_about_and_kept() {
    let cluster = Cluster::start();
    let mut asked = machine(spec(|_| {}));
    asked["spec"]["runStrategy"].take();
    asked["spec"] = json!({"running": true, "template": asked["spec"]["template"]});
    let created = cluster.create("VirtualMachine", asked).await.unwrap();
    assert_eq!(created["spec"]["running"], true);
    assert_eq!(created["spec"].get("runStrategy"), None);
}
