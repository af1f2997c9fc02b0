//! What the scheduler, the kubelet and virt-handler were recorded to write, as one stand-in that follows the API.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use trunkline_kubevirt::controller::events::{Recorder, Severity, Source, reference};
use trunkline_kubevirt::types::{Conditions, VirtualMachineInstance, VmiPhase};

/// How the stand-ins behave.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// The scheduler finds no node, and says this.
    pub unschedulable: Option<String>,
    /// The kubelet cannot have an image: reason and message.
    pub image: Option<(String, String)>,
    /// Claims cannot be filled.
    pub import_fails: bool,
    /// The launcher ends before the machine runs.
    pub launcher_dies: bool,
    /// A machine that is told to shut down takes its time.
    pub slow: bool,
}

pub type Behaviours = Arc<Mutex<Behaviour>>;

pub const NODE: &str = "kv-worker";

/// Follows pods and machines until it is dropped.
pub async fn run(client: Client, behaviour: Behaviours) {
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let machines = watcher(
        Api::<VirtualMachineInstance>::all(client.clone()),
        watcher::Config::default(),
    );
    let changes = stream::select(
        pods.default_backoff()
            .touched_objects()
            .map(|p| p.map(|_| ()).map_err(|_| ())),
        machines
            .default_backoff()
            .touched_objects()
            .map(|m| m.map(|_| ()).map_err(|_| ())),
    );
    let mut changes = changes.boxed();
    let site = Site {
        recorder: Recorder::start(client.clone()),
        client,
        behaviour,
        transitions: AtomicU64::new(0),
    };
    while changes.next().await.is_some() {
        site.settle().await;
    }
}

struct Site {
    client: Client,
    recorder: Recorder,
    behaviour: Behaviours,
    transitions: AtomicU64,
}

impl Site {
    /// One round over everything: whatever is written here is seen again, and then nothing is left to write.
    async fn settle(&self) {
        let behaviour = self.behaviour.lock().unwrap().clone();
        let machines = Api::<VirtualMachineInstance>::all(self.client.clone());
        let machines: BTreeMap<String, VirtualMachineInstance> = machines
            .list(&ListParams::default())
            .await
            .into_iter()
            .flatten()
            .map(|vmi| (vmi.uid().unwrap(), vmi))
            .collect();
        let pods = Api::<Pod>::all(self.client.clone());
        for pod in pods
            .list(&ListParams::default())
            .await
            .into_iter()
            .flatten()
        {
            let Some(machine) = pod.labels().get("kubevirt.io/created-by") else {
                self.importer(&pod, &behaviour).await;
                continue;
            };
            let vmi = machines.get(machine);
            self.pod(&pod, vmi, &behaviour).await;
        }
        for vmi in machines.values() {
            self.machine(vmi, &behaviour).await;
        }
    }

    /// A pod that fills a claim.
    async fn importer(&self, pod: &Pod, behaviour: &Behaviour) {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        if pod.spec.as_ref().unwrap().node_name.is_none() {
            bind(&self.client, pod).await;
        } else if phase == Some("Pending") {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
            let (phase, state) = if behaviour.import_fails {
                let last =
                    json!({"terminated": {"exitCode": 1, "message": "no space left on device\n"}});
                let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                ("Running", json!({"state": waiting, "lastState": last}))
            } else {
                (
                    "Succeeded",
                    json!({"state": {"terminated": {"exitCode": 0}}}),
                )
            };
            let mut container = state;
            for (key, value) in [
                ("name", json!("importer")),
                ("image", json!("")),
                ("imageID", json!("")),
                ("ready", json!(false)),
                ("restartCount", json!(0)),
            ] {
                container[key] = value;
            }
            let status = json!({"phase": phase, "containerStatuses": [container]});
            patch_pod(&api, &pod.name_any(), status).await;
        }
    }

    /// No two transitions are at the same time.
    fn later(&self) -> String {
        let second = self.transitions.fetch_add(1, Ordering::Relaxed);
        format!("2026-11-21T12:{:02}:{:02}Z", second / 60 % 60, second % 60)
    }

    async fn pod(&self, pod: &Pod, vmi: Option<&VirtualMachineInstance>, behaviour: &Behaviour) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        let name = pod.name_any();
        let status = json!(pod.status);
        let compute = &status["containerStatuses"][0]["state"];
        let ended = vmi.is_none_or(|vmi| phase(vmi).is_some_and(VmiPhase::is_final));
        let condition = |type_: &str| {
            let all = status["conditions"].as_array().cloned().unwrap_or_default();
            all.into_iter().find(|c| c["type"] == type_)
        };
        let scheduled = pod.spec.as_ref().unwrap().node_name.is_some();
        if pod.metadata.deletion_timestamp.is_some() {
            // a machine that virt-handler does not have yet ends with its pod
            let unclaimed =
                vmi.is_some_and(|vmi| vmi.status.as_ref().is_none_or(|s| s.node_name.is_none()));
            // the controllers have long seen it when a real pod goes
            let seen = vmi.is_none_or(is_seen_ending);
            if (ended && seen) || unclaimed {
                if scheduled {
                    let terminated = json!({"name": "compute", "image": "", "imageID": "", "ready": false,
                        "restartCount": 0,
                        "state": {"running": null, "waiting": null, "terminated": {"exitCode": 0}}});
                    let status = json!({"phase": "Succeeded", "containerStatuses": [terminated]});
                    patch_pod(&api, &name, status).await;
                }
                let now = DeleteParams::default().grace_period(0);
                let _ = api.delete(&name, &now).await;
            }
            return;
        }
        if !scheduled {
            match &behaviour.unschedulable {
                Some(message) if condition("PodScheduled").is_none() => {
                    patch_pod(&api, &name, json!({"conditions": [{
                        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                        "lastProbeTime": null, "lastTransitionTime": "2026-11-21T12:00:00Z",
                    }]})).await;
                }
                Some(_) => {}
                None => bind(&self.client, pod).await,
            }
            return;
        }
        let waiting = compute["waiting"]["reason"].as_str();
        let image = behaviour.image.as_ref().map(|(reason, _)| reason.as_str());
        match (waiting, image) {
            (None, _) if compute.is_null() => {
                patch_pod(&api, &name, waiting_status("ContainerCreating", None)).await;
            }
            (Some(waiting), Some(reason)) if waiting != reason => {
                let message = behaviour
                    .image
                    .as_ref()
                    .map(|(_, message)| message.as_str());
                patch_pod(&api, &name, waiting_status(reason, message)).await;
            }
            (Some(_), None) if behaviour.launcher_dies => {
                patch_pod(&api, &name, json!({"phase": "Failed", "containerStatuses": [
                    {"name": "compute", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                     "state": {"waiting": null, "terminated": {"exitCode": 1}}}]})).await;
            }
            (Some(_), None) => {
                self.attach(pod).await;
                patch_pod(&api, &name, json!({
                    "phase": "Running", "podIP": "10.245.2.7",
                    "containerStatuses": [{
                        "name": "compute", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                        "started": true,
                        "state": {"waiting": null, "running": {"startedAt": "2026-11-21T12:00:00Z"}},
                    }],
                })).await;
            }
            _ => {}
        }
        if compute["running"].is_object() {
            let gate = condition("kubevirt.io/virtual-machine-unpaused");
            let open = gate.as_ref().is_some_and(|c| c["status"] == "True");
            let is = condition("Ready").map(|c| c["status"] == "True");
            if is != Some(open) {
                let mut ready = json!({"type": "Ready", "status": if open { "True" } else { "False" },
                    "lastProbeTime": null, "lastTransitionTime": self.later()});
                if open {
                    ready["reason"] = Value::Null;
                    ready["message"] = Value::Null;
                } else {
                    let gate = "\"kubevirt.io/virtual-machine-unpaused\"";
                    let message = format!(
                        "the status of pod readiness gate {gate} is not \"True\", but False"
                    );
                    ready["reason"] = json!("ReadinessGatesNotReady");
                    ready["message"] = json!(message);
                }
                patch_pod(&api, &name, json!({"conditions": [ready]})).await;
            }
        }
    }

    /// What Multus writes of a pod with more than one network.
    async fn attach(&self, pod: &Pod) {
        let Some(networks) = pod.annotations().get("k8s.v1.cni.cncf.io/networks") else {
            return;
        };
        let networks: Vec<Value> = serde_json::from_str(networks).unwrap();
        let mut status =
            vec![json!({"name": "ovn-kubernetes", "interface": "eth0", "default": true})];
        status.extend(
            networks
                .iter()
                .map(|n| json!({"interface": n["interface"]})),
        );
        let status = json!(status).to_string();
        let patch =
            json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": status}}});
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        let params = PatchParams::default();
        api.patch(&pod.name_any(), &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    async fn machine(&self, vmi: &VirtualMachineInstance, behaviour: &Behaviour) {
        let status = vmi.status.clone().unwrap_or_default();
        let deleted = vmi.metadata.deletion_timestamp.is_some();
        match phase(vmi) {
            Some(VmiPhase::Scheduled) if status.conditions.find("LiveMigratable").is_none() => {
                self.event(
                    vmi,
                    Severity::Normal,
                    "Created",
                    "VirtualMachineInstance defined.",
                );
                let mut conditions = status.conditions.clone();
                for type_ in ["LiveMigratable", "StorageLiveMigratable"] {
                    conditions.push(
                        serde_json::from_value(json!({"type": type_, "status": "True"})).unwrap(),
                    );
                }
                let mut volumes = status.volume_status.clone();
                for volume in volumes.iter_mut().filter(|v| v.name == "root") {
                    volume.container_disk_volume = Some(
                        serde_json::from_value(json!({"checksum": 3_774_988_973_u32})).unwrap(),
                    );
                }
                self.patch(vmi, json!({"status": {
                    "conditions": conditions, "volumeStatus": volumes, "migrationMethod": "BlockMigration",
                    "selinuxContext": "none",
                }})).await;
            }
            Some(VmiPhase::Scheduled) => {
                let mut interfaces = json!(status.interfaces);
                for (index, interface) in interfaces.as_array_mut().unwrap().iter_mut().enumerate()
                {
                    let multus = interface["infoSource"]
                        .as_str()
                        .map_or(String::new(), |m| format!(", {m}"));
                    interface["infoSource"] = json!(format!("domain{multus}"));
                    let mac = vmi.spec.domain.devices.interfaces[index]
                        .mac_address
                        .clone();
                    interface["mac"] = json!(mac.unwrap_or_else(|| "2a:6d:a9:a8:7d:ca".to_owned()));
                    interface["linkState"] = json!("up");
                    interface["queueCount"] = json!(1);
                }
                interfaces[0]["ipAddress"] = json!("10.245.2.7");
                interfaces[0]["ipAddresses"] = json!(["10.245.2.7"]);
                let mut volumes = status.volume_status.clone();
                for volume in &mut volumes {
                    if volume.name == "root" {
                        "vda".clone_into(&mut volume.target);
                    } else {
                        "vdb".clone_into(&mut volume.target);
                        volume.size = 1_048_576;
                    }
                }
                self.advance(vmi, "Running", json!({
                    "interfaces": interfaces, "volumeStatus": volumes, "machine": {"type": "pc-q35-10.0"},
                })).await;
                self.event(
                    vmi,
                    Severity::Normal,
                    "Started",
                    "VirtualMachineInstance started.",
                );
            }
            Some(VmiPhase::Running) if deleted => {
                self.event(
                    vmi,
                    Severity::Normal,
                    "ShuttingDown",
                    "Signaled Graceful Shutdown",
                );
                // a guest takes longer than the controllers do
                if behaviour.slow || !is_terminating(vmi) {
                    return;
                }
                self.event(
                    vmi,
                    Severity::Normal,
                    "Deleted",
                    "VirtualMachineInstance stopping",
                );
                self.event(vmi, Severity::Normal, "Deleted", "Signaled Deletion");
                self.end(vmi, false).await;
            }
            _ => {}
        }
    }

    fn event(&self, vmi: &VirtualMachineInstance, severity: Severity, reason: &str, message: &str) {
        event(&self.recorder, vmi, severity, reason, message);
    }

    async fn end(&self, vmi: &VirtualMachineInstance, well: bool) {
        end(&self.client, &self.recorder, vmi, well).await;
    }

    async fn patch(&self, vmi: &VirtualMachineInstance, patch: Value) {
        patch_machine(&self.client, vmi, patch).await;
    }

    async fn advance(&self, vmi: &VirtualMachineInstance, phase: &str, status: Value) {
        advance(&self.client, vmi, phase, status).await;
    }
}

/// Both controllers have noted what there is to note of its end.
fn is_seen_ending(vmi: &VirtualMachineInstance) -> bool {
    let held = vmi
        .finalizers()
        .iter()
        .any(|f| f == "kubevirt.io/virtualMachineControllerFinalize");
    is_terminating(vmi) && (vmi.owner_references().is_empty() || !held)
}

fn is_terminating(vmi: &VirtualMachineInstance) -> bool {
    let status = vmi.status.as_ref();
    let ready = status.and_then(|s| s.conditions.find("Ready"));
    ready.and_then(|c| c.reason.as_deref()) == Some("PodTerminating")
}

fn phase(vmi: &VirtualMachineInstance) -> Option<VmiPhase> {
    vmi.status.as_ref()?.phase
}

pub fn event(
    recorder: &Recorder,
    vmi: &VirtualMachineInstance,
    severity: Severity,
    reason: &str,
    message: &str,
) {
    let source = Source {
        component: "virt-handler",
        host: Some(NODE.to_owned()),
    };
    recorder.record(&source, reference(vmi), severity, reason, message);
}

/// The machine is no more: it was shut down, or it crashed.
pub async fn end(client: &Client, recorder: &Recorder, vmi: &VirtualMachineInstance, well: bool) {
    let status = vmi.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.clone();
    conditions.unset("AgentConnected");
    let mut interfaces = json!(status.interfaces);
    interfaces[0]["ipAddress"] = json!("10.0.2.2");
    interfaces[0]["ipAddresses"] = json!(["10.0.2.2"]);
    let phase = if well { "Succeeded" } else { "Failed" };
    let patch = json!({"conditions": conditions, "interfaces": interfaces});
    if advance(client, vmi, phase, patch).await {
        if well {
            event(
                recorder,
                vmi,
                Severity::Normal,
                "Stopped",
                "The VirtualMachineInstance was shut down.",
            );
        } else {
            event(
                recorder,
                vmi,
                Severity::Warning,
                "Stopped",
                "The VirtualMachineInstance crashed.",
            );
        }
    }
}

/// False if somebody else wrote in between.
pub async fn advance(
    client: &Client,
    vmi: &VirtualMachineInstance,
    phase: &str,
    mut status: Value,
) -> bool {
    let mut transitions = json!(
        vmi.status
            .clone()
            .unwrap_or_default()
            .phase_transition_timestamps
    );
    let transition = json!({"phase": phase, "phaseTransitionTimestamp": "2026-11-21T12:09:55Z"});
    transitions.as_array_mut().unwrap().push(transition);
    status["phase"] = json!(phase);
    status["phaseTransitionTimestamps"] = transitions;
    patch_machine(client, vmi, json!({"status": status})).await
}

pub async fn patch_machine(
    client: &Client,
    vmi: &VirtualMachineInstance,
    mut patch: Value,
) -> bool {
    let api: Api<VirtualMachineInstance> =
        Api::namespaced(client.clone(), &vmi.namespace().unwrap());
    patch["metadata"] = json!({"resourceVersion": vmi.metadata.resource_version});
    let params = PatchParams::default();
    // a version that is no longer the newest is seen again
    api.patch(&vmi.name_any(), &params, &Patch::Merge(patch))
        .await
        .is_ok()
}

fn waiting_status(reason: &str, message: Option<&str>) -> Value {
    json!({"phase": "Pending", "qosClass": "Burstable", "containerStatuses": [
        {"name": "compute", "image": "", "imageID": "", "ready": false, "restartCount": 0,
         "state": {"waiting": {"reason": reason, "message": message}}}]})
}

async fn patch_pod(api: &Api<Pod>, name: &str, status: Value) {
    let patch = Patch::Strategic(json!({"status": status}));
    // gone meanwhile
    let _ = api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
}

async fn bind(client: &Client, pod: &Pod) {
    let (namespace, name) = (pod.namespace().unwrap(), pod.name_any());
    let body = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "namespace": namespace},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/binding");
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .unwrap();
    let _ = client.request::<Value>(request).await;
}
