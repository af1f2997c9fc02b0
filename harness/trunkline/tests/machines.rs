//! Lives of machines in a whole lab: how they begin, what they are told to do, and every way they end.

mod common;

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    time::{Duration, Instant},
};

use common::{Lab, process::family, runtime_dir};
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    runtime::wait::await_condition,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

/// For anything a machine does on a busy machine without KVM.
const LIMIT: Duration = Duration::from_secs(120);

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// The machines of a lab.
struct Machines {
    client: Client,
    instances: Api<DynamicObject>,
    /// The VirtualMachines that instances come from.
    owners: Api<DynamicObject>,
}

impl Machines {
    async fn of(lab: &Lab) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(lab.kubeconfig()).expect("a kubeconfig");
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a usable kubeconfig")).expect("a client");
        let api = |kind: &str| {
            let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("kubevirt.io", "v1", kind));
            Api::default_namespaced_with(client.clone(), &kind)
        };
        Self {
            instances: api("VirtualMachineInstance"),
            owners: api("VirtualMachine"),
            client,
        }
    }

    /// An instance that belongs to no machine, so that it stays as it ended.
    async fn create(&self, name: &str, commands: &[&str]) {
        self.create_with(name, commands, &json!({})).await;
    }

    async fn create_with(&self, name: &str, commands: &[&str], changes: &Value) {
        let mut spec = specification(commands);
        merge(&mut spec, changes);
        let instance = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": name}, "spec": spec,
        });
        let instance = serde_json::from_value(instance).expect("an object");
        let parameters = PostParams::default();
        let created = self.instances.create(&parameters, &instance);
        created.await.expect("an instance is accepted");
    }

    async fn until(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&DynamicObject) -> bool + Send,
    ) -> DynamicObject {
        let condition = |object: Option<&DynamicObject>| object.is_some_and(&holds);
        let waited = await_condition(self.instances.clone(), name, condition);
        if let Ok(found) = tokio::time::timeout(LIMIT, waited).await {
            return found.expect("a watch").expect("an instance");
        }
        let now = self.instances.get_opt(name).await.expect("an answer");
        let status = now.map(|now| now.data["status"].clone());
        panic!(
            "{name} is not {what}: {status:#?}\n{:#?}",
            self.events(name).await
        )
    }

    async fn until_phase(&self, name: &str, phase: &str) -> DynamicObject {
        self.until(name, phase, |object| {
            let now = object.data["status"]["phase"].as_str();
            let over = matches!(now, Some("Failed" | "Succeeded"));
            assert!(!over || now == Some(phase), "{name} is {now:?}");
            now == Some(phase)
        })
        .await
    }

    /// Running, and its guest says that it is configured.
    async fn until_up(&self, name: &str) -> DynamicObject {
        self.until(name, "connected", |object| {
            condition(object, "AgentConnected").is_some()
                && object.data["status"]["interfaces"][0]["interfaceName"] == "eth0"
        })
        .await
    }

    async fn until_gone(&self, name: &str) {
        let gone = |object: Option<&DynamicObject>| object.is_none();
        let waited = await_condition(self.instances.clone(), name, gone);
        let waited = tokio::time::timeout(LIMIT, waited).await;
        waited.expect("it goes").expect("a watch");
    }

    async fn delete(&self, name: &str) {
        let parameters = DeleteParams::default();
        let deleted = self.instances.delete(name, &parameters);
        deleted.await.expect("it can be deleted");
    }

    /// What was told of an instance, by reason.
    async fn events(&self, name: &str) -> BTreeMap<String, String> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let about =
            format!("involvedObject.kind=VirtualMachineInstance,involvedObject.name={name}");
        let listed = events.list(&ListParams::default().fields(&about)).await;
        let listed = listed.expect("events");
        let told = listed
            .into_iter()
            .filter_map(|event| Some((event.reason?, event.message?)));
        told.collect()
    }

    async fn until_told(&self, name: &str, reason: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(message) = self.events(name).await.remove(reason) {
                return message;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "no event {reason}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn order(&self, kind: &str, name: &str, order: &str) {
        let path =
            format!("/apis/subresources.kubevirt.io/v1/namespaces/default/{kind}/{name}/{order}");
        let request = http::Request::put(path)
            .body(b"{}".to_vec())
            .expect("a request");
        let answer = self.client.request_text(request).await;
        answer.unwrap_or_else(|error| panic!("{order}: {error}"));
    }

    async fn pods(&self) -> Vec<Pod> {
        let pods: Api<Pod> = Api::default_namespaced(self.client.clone());
        pods.list(&ListParams::default()).await.expect("pods").items
    }
}

fn specification(commands: &[&str]) -> Value {
    let commands = commands
        .iter()
        .map(|command| format!("- {command}"))
        .collect::<Vec<_>>()
        .join("\n");
    let user_data = format!("#cloud-config\nuser: fedora\npassword: fedora\nruncmd:\n{commands}");
    json!({
        "terminationGracePeriodSeconds": 30,
        "domain": {
            "memory": {"guest": "256Mi"},
            "devices": {
                "disks": [
                    {"name": "root", "disk": {"bus": "virtio"}}, {"name": "data", "disk": {"bus": "virtio"}}
                ],
                "interfaces": [{"name": "default", "masquerade": {}}],
            },
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [
            {"name": "root", "containerDisk": {"image": "quay.io/containerdisks/fedora:40"}},
            {"name": "data", "cloudInitNoCloud": {"userData": user_data}},
        ],
    })
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
        (into, change) => *into = change.clone(),
    }
}

fn condition<'a>(object: &'a DynamicObject, type_: &str) -> Option<&'a Value> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == type_)
}

/// QEMUs of the lab, by the names of their guests.
fn machines_of(lab: &Lab) -> BTreeMap<String, Pid> {
    let supervisor = lab.listed().and_then(|listed| listed["pid"].as_i64());
    let supervisor = supervisor
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("a lab");
    family(Pid::from_raw(supervisor))
        .into_iter()
        .filter_map(|process| {
            let line = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid)).ok()?;
            let name = line.split("guest=").nth(1)?.split(',').next()?.to_owned();
            Some((name, process.pid))
        })
        .collect()
}

#[test]
fn a_machine_runs_is_paused_and_shuts_down() {
    needs_lab!();
    let lab = Lab::up("vh-runs");
    block_on(async {
        let machines = Machines::of(&lab).await;
        machines.create("m", &["touch /tmp/done"]).await;
        machines.until_phase("m", "Running").await;
        let up = machines.until_up("m").await;
        let status = &up.data["status"];
        assert_eq!(status["machine"]["type"], "pc-q35-10.0");
        assert_eq!(status["volumeStatus"][0]["name"], "data");
        assert_eq!(status["volumeStatus"][0]["target"], "vdb");
        let interface = &status["interfaces"][0];
        assert_eq!(interface["infoSource"], "domain, guest-agent");
        let address = interface["ipAddress"].as_str().expect("an address");
        assert!(address.starts_with("10.244."), "{address}");
        machines
            .until("m", "known", |object| {
                object.data["status"]["guestOSInfo"]["id"] == "debian"
            })
            .await;

        machines
            .order("virtualmachineinstances", "m", "pause")
            .await;
        let paused = machines
            .until("m", "paused", |object| {
                condition(object, "Paused").is_some()
            })
            .await;
        assert_eq!(
            condition(&paused, "Paused").expect("it")["reason"],
            "PausedByUser"
        );
        machines
            .order("virtualmachineinstances", "m", "unpause")
            .await;
        machines
            .until("m", "unpaused", |object| {
                condition(object, "Paused").is_none()
            })
            .await;

        assert_eq!(
            machines_of(&lab).into_keys().collect::<Vec<_>>(),
            ["default_m"]
        );
        machines.delete("m").await;
        let stopped = machines.until_told("m", "Stopped").await;
        assert_eq!(stopped, "The VirtualMachineInstance was shut down.");
        machines.until_gone("m").await;
        let told = machines.events("m").await;
        let reasons = [
            "Created",
            "Deleted",
            "Paused",
            "ShuttingDown",
            "Started",
            "Unpaused",
        ];
        assert!(
            reasons.iter().all(|reason| told.contains_key(*reason)),
            "{told:?}"
        );
        assert_eq!(machines_of(&lab), BTreeMap::new());
        assert!(machines.pods().await.is_empty());
    });
}

#[test]
fn how_a_machine_ended_is_told() {
    needs_lab!();
    let lab = Lab::up("vh-ends");
    block_on(async {
        let machines = Machines::of(&lab).await;
        machines.create("powered-off", &["poweroff"]).await;
        machines.create("killed", &["true"]).await;
        machines
            .create("panicked", &["echo c > /proc/sysrq-trigger"])
            .await;

        machines.until_up("killed").await;
        let killed = machines_of(&lab)["default_killed"];
        kill(killed, Signal::SIGKILL).expect("it runs");
        for (name, phase, told) in [
            (
                "powered-off",
                "Succeeded",
                "The VirtualMachineInstance was shut down.",
            ),
            ("killed", "Failed", "The VirtualMachineInstance crashed."),
            ("panicked", "Failed", "The VirtualMachineInstance crashed."),
        ] {
            let ended = machines.until_phase(name, phase).await;
            assert_eq!(condition(&ended, "AgentConnected"), None, "{name}");
            assert_eq!(machines.until_told(name, "Stopped").await, told, "{name}");
        }
        // The guest's own last words.
        let panic = machines.until_told("panicked", "GuestPanicked").await;
        assert!(panic.starts_with("GuestPanicked\n"), "{panic}");
        assert!(
            panic.contains("BUG:") || panic.contains("Kernel panic"),
            "{panic}"
        );
        let told = machines.events("killed").await;
        assert!(!told.contains_key("GuestPanicked"), "{told:?}");
        assert_eq!(machines_of(&lab), BTreeMap::new());
    });
}

#[test]
fn a_machine_that_does_not_listen_is_killed() {
    needs_lab!();
    let lab = Lab::up("vh-deaf");
    block_on(async {
        let machines = Machines::of(&lab).await;
        let changes = json!({"terminationGracePeriodSeconds": 2});
        machines.create_with("deaf", &["true"], &changes).await;
        machines.until_up("deaf").await;
        // A guest that stands still hears no power button.
        machines
            .order("virtualmachineinstances", "deaf", "pause")
            .await;
        machines.delete("deaf").await;
        let stopped = machines.until_told("deaf", "Stopped").await;
        assert_eq!(stopped, "The VirtualMachineInstance crashed.");
        machines.until_gone("deaf").await;

        let changes = json!({"terminationGracePeriodSeconds": 0});
        machines.create_with("hurried", &["true"], &changes).await;
        machines.until_up("hurried").await;
        let begun = Instant::now();
        machines.delete("hurried").await;
        machines.until_gone("hurried").await;
        // Far from what a machine is given that says nothing.
        assert!(
            begun.elapsed() < Duration::from_secs(25),
            "{:?}",
            begun.elapsed()
        );
        let told = machines.events("hurried").await;
        assert!(!told.contains_key("ShuttingDown"), "{told:?}");
        assert_eq!(machines_of(&lab), BTreeMap::new());
    });
}

#[test]
fn a_machine_that_cannot_be_made_says_why() {
    needs_lab!();
    let lab = Lab::up("vh-cannot");
    block_on(async {
        let machines = Machines::of(&lab).await;
        // The pod asks for little, so it finds a node; QEMU is asked for more than any machine can address.
        let endless = json!({"domain": {
            "memory": {"guest": "200Ti"}, "resources": {"requests": {"memory": "128Mi"}},
        }});
        machines.create_with("endless", &["true"], &endless).await;
        let failed = machines.until_phase("endless", "Failed").await;
        let told = condition(&failed, "Synchronized").expect("a reason");
        assert_eq!(told["status"], "False");
        let why = told["message"].as_str().expect("a message");
        assert!(why.contains("cannot set up guest memory"), "{why}");
        assert_eq!(machines.until_told("endless", "SyncFailed").await, why);
        let events = machines.events("endless").await;
        assert!(!events.contains_key("Started"), "{events:?}");

        // Nothing of it is in the way of the next one.
        machines.create("fine", &["true"]).await;
        machines.until_up("fine").await;
    });
}

#[test]
fn what_is_written_to_a_claim_stays_and_to_an_empty_disk_does_not() {
    needs_lab!();
    let lab = Lab::up("vh-disks");
    block_on(async {
        let machines = Machines::of(&lab).await;
        let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(machines.client.clone());
        let claim = json!({
            "metadata": {"name": "kept"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
        });
        let claim = serde_json::from_value(claim).expect("a claim");
        let parameters = PostParams::default();
        let created = claims.create(&parameters, &claim).await;
        created.expect("a claim is accepted");

        let kept = json!({"name": "more", "persistentVolumeClaim": {"claimName": "kept"}});
        let empty = json!({"name": "more", "emptyDisk": {"capacity": "16Mi"}});
        let write = "echo persisted | dd of=/dev/vdc conv=sync,fsync && poweroff";
        let read = "head -c 9 /dev/vdc | grep -q persisted && poweroff";
        let miss = "head -c 9 /dev/vdc | grep -q persisted || poweroff";
        for (name, command, more) in [
            ("writes", write, &kept),
            ("reads", read, &kept),
            ("scribbles", write, &empty),
            ("misses", miss, &empty),
        ] {
            let mut changes = specification(&[command]);
            let disks = &mut changes["domain"]["devices"]["disks"];
            disks
                .as_array_mut()
                .expect("disks")
                .push(json!({"name": "more", "disk": {"bus": "virtio"}}));
            changes["volumes"]
                .as_array_mut()
                .expect("volumes")
                .push(more.clone());
            machines.create_with(name, &[], &changes).await;
            // It powers itself off when it finds what it should.
            let ended = machines.until_phase(name, "Succeeded").await;
            let volumes = ended.data["status"]["volumeStatus"]
                .as_array()
                .expect("volumes")
                .clone();
            let more = volumes
                .iter()
                .find(|volume| volume["name"] == "more")
                .expect("it");
            assert_eq!(more["target"], "vdc", "{name}");
        }
    });
}

#[test]
fn twenty_restarts_keep_what_they_should_and_leak_nothing() {
    const RESTARTS: u32 = 20;

    needs_lab!();
    let lab = Lab::up("vh-restarts");
    block_on(async {
        let machines = Machines::of(&lab).await;
        let mac = "02:00:00:00:00:77";
        let mut spec = specification(&["true"]);
        spec["domain"]["devices"]["interfaces"][0]["macAddress"] = json!(mac);
        let machine = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm"},
            "spec": {"runStrategy": "Always", "template": {"metadata": {}, "spec": spec}},
        });
        let machine = serde_json::from_value(machine).expect("an object");
        let parameters = PostParams::default();
        let created = machines.owners.create(&parameters, &machine);
        created.await.expect("a machine is accepted");
        let mut life = machines.until_up("vm").await.uid();
        let mut before = None;
        for restart in 1..=RESTARTS {
            machines.order("virtualmachines", "vm", "restart").await;
            let next = machines
                .until("vm", "another one", |object| {
                    object.uid() != life
                        && condition(object, "AgentConnected").is_some()
                        && object.data["status"]["interfaces"][0]["interfaceName"] == "eth0"
                })
                .await;
            life = next.uid();
            assert_eq!(
                next.data["status"]["interfaces"][0]["mac"], mac,
                "restart {restart}"
            );
            assert_eq!(machines_of(&lab).len(), 1, "restart {restart}");
            if restart == 2 {
                before = Some(Held::by(&lab));
            }
        }
        machines
            .pods()
            .await
            .iter()
            .for_each(|pod| assert!(pod.name_any().starts_with("virt-launcher-vm-")));
        let (before, after) = (before.expect("many restarts"), Held::by(&lab));
        assert_eq!(after.processes, before.processes);
        // A few that happen to be open at the moment.
        assert!(
            after.files <= before.files + 8,
            "{before:?} became {after:?}"
        );
    });
}

/// What a lab holds.
#[derive(Debug)]
struct Held {
    processes: usize,
    files: usize,
}

impl Held {
    fn by(lab: &Lab) -> Self {
        let supervisor = lab.listed().and_then(|listed| listed["pid"].as_i64());
        let supervisor = supervisor
            .and_then(|pid| i32::try_from(pid).ok())
            .expect("a lab");
        let family = family(Pid::from_raw(supervisor));
        let open = |process: &common::process::Process| {
            let files = std::fs::read_dir(format!("/proc/{}/fd", process.pid));
            files.map_or(0, Iterator::count)
        };
        Self {
            processes: family.len(),
            files: family.iter().map(open).max().unwrap_or_default(),
        }
    }
}

#[test]
fn nothing_of_a_lab_with_machines_is_left() {
    needs_lab!();
    let lab = Lab::up("vh-left");
    let machine = block_on(async {
        let machines = Machines::of(&lab).await;
        machines.create("m", &["true"]).await;
        machines.until_up("m").await;
        machines_of(&lab)["default_m"]
    });
    assert!(Path::new(&format!("/proc/{machine}")).exists());
    drop(lab);
    assert!(!Path::new(&format!("/proc/{machine}")).exists());
    assert!(runtime_dir().exists());
}
