//! The recorded lives of machines, lived again: every field of VM and VMI takes the same values one after the other, and
//! the same events are written. What differs is listed with its reason in `recorded/timeline-differences.txt`.

use serde_json::{Value, json};
use trunkline_kubevirt::controller::events::{Recorder, Severity};
use trunkline_kubevirt::types::{VirtualMachine, VirtualMachineInstance};

use crate::cluster::Cluster;
use crate::record::{self, Known};
use crate::site;

const KNOWN: &str = include_str!("../recorded/timeline-differences.txt");

async fn compare(cluster: &Cluster, mark: usize, name: &str, recorded: &str) {
    let recorded = record::read(recorded);
    let known = Known::read(KNOWN);
    let seen = cluster
        .seen(mark, |here| {
            let found = record::differences(&recorded, here);
            known.explains(name, &found)
        })
        .await;
    known.check(name, &record::differences(&recorded, &seen));
}

fn tiny() -> Value {
    json!({
        "metadata": {"name": "tiny"},
        "spec": {"runStrategy": "Always", "template": {
            "metadata": {"labels": {"app": "tiny"}},
            "spec": {
                "evictionStrategy": "LiveMigrate", "terminationGracePeriodSeconds": 5,
                "domain": {
                    "cpu": {"cores": 1}, "memory": {"guest": "128Mi"},
                    "devices": {
                        "disks": [{"name": "root", "disk": {"bus": "virtio"}}], "rng": {},
                        "interfaces": [
                            {"name": "default", "masquerade": {}, "ports": [{"name": "http", "port": 80}]},
                        ],
                    },
                },
                "networks": [{"name": "default", "pod": {}}],
                "volumes": [{"name": "root", "containerDisk":
                    {"image": "kvlab/tiny-guest:v1", "imagePullPolicy": "IfNotPresent"}}],
            },
        }},
    })
}

/// The guest agent answers.
async fn agent(cluster: &Cluster) {
    cluster
        .until::<VirtualMachineInstance>("tiny", "ready", |vmi| {
            let conditions = vmi["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
        .await;
    let connected = json!({
        "type": "AgentConnected", "status": "True", "lastProbeTime": "2026-11-21T12:10:04Z", "lastTransitionTime": null,
    });
    write(cluster, |status| {
        status["conditions"]
            .as_array_mut()
            .unwrap()
            .push(connected.clone());
    })
    .await;
    write(cluster, |status| {
        status["interfaces"][0]["infoSource"] = json!("domain, guest-agent");
        status["interfaces"][0]["interfaceName"] = json!("eth0");
        status["guestOSInfo"] = json!({
            "id": "tinyguest", "kernelRelease": "6.1.0-56-cloud-amd64", "machine": "x86_64", "name": "Tiny Guest",
            "kernelVersion": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)", "prettyName": "Tiny Guest 1",
            "version": "1", "versionId": "1",
        });
    })
    .await;
}

/// virt-handler changes the status, again if somebody was faster.
async fn write(cluster: &Cluster, change: impl Fn(&mut Value)) {
    loop {
        let vmi = cluster
            .api::<VirtualMachineInstance>()
            .get("tiny")
            .await
            .unwrap();
        let mut status = json!(vmi.status);
        change(&mut status);
        if site::patch_machine(&cluster.handler, &vmi, json!({"status": status})).await {
            return;
        }
    }
}

async fn end(cluster: &Cluster, well: bool) {
    let recorder = Recorder::start(cluster.client.clone());
    write(cluster, |status| {
        let conditions = status["conditions"].as_array_mut().unwrap();
        conditions.retain(|c| c["type"] != "AgentConnected");
    })
    .await;
    let vmi = cluster
        .api::<VirtualMachineInstance>()
        .get("tiny")
        .await
        .unwrap();
    site::event(
        &recorder,
        &vmi,
        Severity::Normal,
        "Deleted",
        "Signaled Deletion",
    );
    loop {
        let vmi = cluster
            .api::<VirtualMachineInstance>()
            .get("tiny")
            .await
            .unwrap();
        if vmi
            .status
            .as_ref()
            .and_then(|s| s.phase)
            .is_some_and(trunkline_kubevirt::types::VmiPhase::is_final)
        {
            return;
        }
        site::end(&cluster.handler, &recorder, &vmi, well).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_lives_as_recorded() {
    let cluster = Cluster::start().await;
    let mark = cluster.mark();
    cluster.create::<VirtualMachine>(tiny()).await;
    agent(&cluster).await;
    compare(
        &cluster,
        mark,
        "create",
        include_str!("../recorded/timelines/create.txt"),
    )
    .await;

    let mark = cluster.mark();
    let recorder = Recorder::start(cluster.client.clone());
    let vmi = cluster
        .api::<VirtualMachineInstance>()
        .get("tiny")
        .await
        .unwrap();
    site::event(
        &recorder,
        &vmi,
        Severity::Normal,
        "Paused",
        "VirtualMachineInstance paused",
    );
    let paused = json!({
        "type": "Paused", "status": "True", "reason": "PausedByUser", "message": "VMI was paused by user",
        "lastProbeTime": "2026-11-21T12:12:57Z", "lastTransitionTime": "2026-11-21T12:12:57Z",
    });
    write(&cluster, |status| {
        status["conditions"]
            .as_array_mut()
            .unwrap()
            .push(paused.clone());
    })
    .await;
    cluster
        .until::<VirtualMachine>("tiny", "not ready", |vm| vm["status"]["ready"] != true)
        .await;
    site::event(
        &recorder,
        &vmi,
        Severity::Normal,
        "Unpaused",
        "VirtualMachineInstance unpaused",
    );
    write(&cluster, |status| {
        status["conditions"]
            .as_array_mut()
            .unwrap()
            .retain(|c| c["type"] != "Paused");
    })
    .await;
    cluster
        .until::<VirtualMachine>("tiny", "ready", |vm| vm["status"]["ready"] == true)
        .await;
    compare(
        &cluster,
        mark,
        "pause",
        include_str!("../recorded/timelines/pause.txt"),
    )
    .await;

    let mark = cluster.mark();
    end(&cluster, true).await;
    again(&cluster, &vmi.metadata.uid.unwrap()).await;
    agent(&cluster).await;
    compare(
        &cluster,
        mark,
        "poweroff",
        include_str!("../recorded/timelines/poweroff.txt"),
    )
    .await;

    let mark = cluster.mark();
    let vmi = cluster
        .api::<VirtualMachineInstance>()
        .get("tiny")
        .await
        .unwrap();
    end(&cluster, false).await;
    again(&cluster, &vmi.metadata.uid.unwrap()).await;
    agent(&cluster).await;
    compare(
        &cluster,
        mark,
        "crash",
        include_str!("../recorded/timelines/crash.txt"),
    )
    .await;

    let mark = cluster.mark();
    cluster.behaviour.lock().unwrap().slow = true;
    let vmi = cluster
        .api::<VirtualMachineInstance>()
        .get("tiny")
        .await
        .unwrap();
    let uid = vmi.metadata.uid.unwrap();
    let restart = json!([{"action": "Stop", "uid": uid}, {"action": "Start"}]);
    cluster
        .patch_status::<VirtualMachine>("tiny", json!({"stateChangeRequests": restart}))
        .await;
    compare(
        &cluster,
        mark,
        "restart",
        include_str!("../recorded/timelines/restart.txt"),
    )
    .await;
    let mark = cluster.mark();
    cluster.behaviour.lock().unwrap().slow = false;
    let touch = json!({"metadata": {"annotations": {"look": "again"}}});
    cluster.patch::<VirtualMachineInstance>("tiny", touch).await;
    again(&cluster, &uid).await;
    agent(&cluster).await;
    let agent_is_seen = |seen: &record::Sequences| {
        let is = |path: &str, value: &str| {
            let values = seen.get(&format!("vm/tiny status.{path}"));
            values
                .and_then(|v| v.last())
                .is_some_and(|last| last == value)
        };
        seen.contains_key("vmi/tiny status.guestOSInfo.id")
            && is("conditions[AgentConnected].status", "\"True\"")
            && is("ready", "true")
    };
    cluster.seen(mark, agent_is_seen).await;

    let mark = cluster.mark();
    cluster
        .patch::<VirtualMachine>("tiny", json!({"spec": {"runStrategy": "Halted"}}))
        .await;
    cluster
        .until::<VirtualMachine>("tiny", "stopped", |vm| {
            vm["status"]["conditions"][0]["reason"] == "VMINotExists"
        })
        .await;
    cluster
        .patch::<VirtualMachine>("tiny", json!({"spec": {"runStrategy": "Always"}}))
        .await;
    cluster
        .until::<VirtualMachine>("tiny", "ready", |vm| vm["status"]["ready"] == true)
        .await;
    compare(
        &cluster,
        mark,
        "stop-start",
        include_str!("../recorded/timelines/stop-start.txt"),
    )
    .await;
}

/// Another instance than this one is there.
async fn again(cluster: &Cluster, uid: &str) {
    cluster
        .until::<VirtualMachineInstance>("tiny", "another", |vmi| {
            vmi["metadata"]["uid"].is_string() && vmi["metadata"]["uid"] != uid
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_of_its_own_lives_as_recorded() {
    let cluster = Cluster::start().await;
    let mark = cluster.mark();
    cluster
        .create::<VirtualMachineInstance>(json!({
            "metadata": {"name": "noagent", "labels": {"app": "noagent"}, "annotations": {"example.com/mine": "1"}},
            "spec": {
                "evictionStrategy": "None", "terminationGracePeriodSeconds": 0,
                "domain": {
                    "memory": {"guest": "96Mi"},
                    "devices": {
                        "disks": [{"name": "root", "disk": {"bus": "virtio"}}, {"name": "ci", "disk": {"bus": "virtio"}}],
                        "interfaces": [{"name": "default", "masquerade": {}, "macAddress": "02:00:00:aa:bb:01"}],
                    },
                },
                "networks": [{"name": "default", "pod": {"vmNetworkCIDR": "10.11.12.0/24"}}],
                "volumes": [
                    {"name": "root", "containerDisk":
                        {"image": "kvlab/tiny-guest:v1", "imagePullPolicy": "IfNotPresent"}},
                    {"name": "ci", "cloudInitNoCloud":
                        {"userData": "#!/bin/sh\nrm -f /usr/sbin/qemu-ga; killall qemu-ga; echo user-data ran\n"}},
                ],
            },
        }))
        .await;
    cluster.phase("noagent", "Running").await;
    compare(
        &cluster,
        mark,
        "alone",
        include_str!("../recorded/timelines/alone.txt"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_on_a_secondary_network_lives_as_recorded() {
    let cluster = Cluster::start().await;
    let recorded = include_str!("../recorded/timelines/secondary.txt");
    let text = |path: &str| -> Value {
        let line = recorded
            .lines()
            .find_map(|l| l.strip_prefix(&format!("  = {path}: ")));
        serde_json::from_str(line.unwrap()).unwrap()
    };
    cluster.network("default", "shared-net").await;
    let cloud_init = "spec.template.spec.volumes[cloudinit].cloudInitNoCloud";
    let mark = cluster.mark();
    cluster
        .create::<VirtualMachine>(json!({
            "metadata": {"name": "vm-client"},
            "spec": {"runStrategy": "Always", "template": {
                "metadata": {"labels": {"app": "vm-client"}},
                "spec": {
                    "evictionStrategy": "LiveMigrate", "terminationGracePeriodSeconds": 0,
                    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                        "weight": 100, "preference": {"matchExpressions": [
                            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["lab-worker2"]},
                        ]},
                    }]}},
                    "domain": {
                        "cpu": {"cores": 1}, "memory": {"guest": "128Mi"},
                        "devices": {
                            "disks": [
                                {"name": "root", "disk": {"bus": "virtio"}},
                                {"name": "cloudinit", "disk": {"bus": "virtio"}},
                            ],
                            "interfaces": [
                                {"name": "default", "masquerade": {}}, {"name": "shared-network", "bridge": {}},
                            ],
                            "rng": {},
                        },
                    },
                    "networks": [
                        {"name": "default", "pod": {}},
                        {"name": "shared-network", "multus": {"networkName": "shared-net"}},
                    ],
                    "volumes": [
                        {"name": "root", "containerDisk":
                            {"image": "kvlab/tiny-guest:v1", "imagePullPolicy": "IfNotPresent"}},
                        {"name": "cloudinit", "cloudInitNoCloud": {
                            "networkData": text(&format!("{cloud_init}.networkData")),
                            "userData": text(&format!("{cloud_init}.userData")),
                        }},
                    ],
                },
            }},
        }))
        .await;
    cluster.printable("vm-client", "Running").await;
    compare(&cluster, mark, "secondary", recorded).await;
}
