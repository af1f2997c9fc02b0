//! Scenarios with virtual machines: probes from inside, waiting, starting and stopping, and what failures say.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Duration};

use kube::{
    api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use support::{
    Ran, World,
    console::{Like, Machine, Machines},
};
use trunkline_engine::{
    CaseOutcome,
    events::{EventKind, FailureKind},
};

const HEAD: &str = "  namespaces: [blue]\n  timeouts: {login: 20s, machine: 20s}\n";

const VM: &str = r"
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm, namespace: blue}
spec:
  runStrategy: Always
  template:
    spec:
      domain: {devices: {}, resources: {requests: {memory: 128Mi}}}
";

fn kind(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kubevirt.io", "v1", kind))
}

/// Plays KubeVirt for `blue/vm`: once the machine is there, an instance runs (or ends) with this status.
fn kubevirt(
    world: &World,
    machine: Value,
    instance: Value,
) -> tokio_util::task::AbortOnDropHandle<()> {
    let client = world.client.clone();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let machines: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), "blue", &kind("VirtualMachine"));
        let instances: Api<DynamicObject> =
            Api::namespaced_with(client, "blue", &kind("VirtualMachineInstance"));
        let there = kube::runtime::wait::await_condition(
            machines.clone(),
            "vm",
            |found: Option<&DynamicObject>| found.is_some(),
        );
        there.await.unwrap();
        let object = json!({
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
            "metadata": {"name": "vm", "namespace": "blue"}, "spec": {}, "status": instance,
        });
        instances
            .create(
                &PostParams::default(),
                &serde_json::from_value(object).unwrap(),
            )
            .await
            .unwrap();
        let status =
            json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "status": machine});
        machines
            .patch_status("vm", &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }))
}

fn ready() -> Value {
    json!({"printableStatus": "Running", "ready": true, "conditions": [{"type": "Ready", "status": "True"}]})
}

fn running() -> Value {
    json!({"phase": "Running", "nodeName": "node-1",
        "conditions": [{"type": "Ready", "status": "True"}],
        "interfaces": [
            {"name": "default", "ipAddress": "10.244.1.7", "ipAddresses": ["10.244.1.7"], "mac": "02:00:00:00:00:01", "infoSource": "domain"},
            {"name": "flatl2-overlay", "ipAddress": "192.168.123.20", "ipAddresses": ["192.168.123.20"], "mac": "02:00:00:00:00:02", "interfaceName": "eth1", "infoSource": "domain, guest-agent, multus-status"}]})
}

struct Lab {
    world: World,
    machine: Arc<Machine>,
    machines: Machines,
    _kubevirt: tokio_util::task::AbortOnDropHandle<()>,
}

impl Lab {
    async fn new(like: &Like) -> Self {
        Self::whose_status(like, ready(), running()).await
    }

    async fn whose_status(like: &Like, machine: Value, instance: Value) -> Self {
        let machines = Machines::default();
        let world = World::with(&machines).await;
        world.manifest("vm.yaml", VM);
        let kubevirt = kubevirt(&world, machine, instance);
        Self {
            machine: machines.start("blue", "vm", like),
            world,
            machines,
            _kubevirt: kubevirt,
        }
    }

    async fn run(&self, steps: &str) -> Ran {
        let body = format!(
            "{HEAD}  steps:\n  - {{title: Apply, apply: vm.yaml, until: vm/blue/vm is Ready}}\n{steps}"
        );
        self.world.run_with(&body, World::leave()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_start_in_a_guest() {
    let lab = Lab::new(&Like::default()).await;
    let port = support::http("hello from the pod").await;
    let ran = lab
        .run(&format!(
            "  - title: Its address
    let: {{vm: vmi/blue/vm interface flatl2-overlay, pod_ip: vmi/blue/vm ip, where: vmi/blue/vm node}}
    expect: ['${{vm.ip}} is 192.168.123.20', '${{vm.interface}} is eth1', '${{pod_ip}} is 10.244.1.7', '${{where}} is node-1']
  - title: Several things at once
    from: vm/blue/vm
    together:
    - curl: http://127.0.0.1:{port}/
      expect: {{body: hello from the pod}}
    - exec: [sh, -c, 'echo \"$USER ${{vm.ip}}\"']
      expect: {{stdout: fedora 192.168.123.20}}
    - tcp: 127.0.0.1:1
      expect: refused
  - title: And again
    from: vmi/blue/vm
    exec: 'false'
    expect: {{exit: 1}}
"
        ))
        .await;
    ran.passed();
    // All of them over one connection.
    assert_eq!(
        lab.machine
            .connections
            .load(std::sync::atomic::Ordering::SeqCst),
        1
    );
    let froms = ran.of(|event| match event {
        EventKind::ProbeSent { from, .. } => Some(from.clone()),
        _ => None,
    });
    assert_eq!(froms, vec!["vm/blue/vm"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_where_it_came_from_and_what_to_look_at() {
    let lab = Lab::new(&Like::default()).await;
    let failure = lab
        .run("  - {title: Nobody listens, from: vm/blue/vm, tcp: '127.0.0.1:1'}\n")
        .await
        .failure();
    assert_eq!(failure.summary, "nc 127.0.0.1 1 from vm/blue/vm");
    assert_eq!(failure.got, "refused: connection refused by 127.0.0.1");
    let mut failure = lab_with_wrong_password().await;
    // What exactly is on a screen depends on who was faster.
    let shown = failure.why.pop().unwrap();
    assert!(
        shown.starts_with("the console showed last:\n") && shown.contains("Login incorrect"),
        "{shown}"
    );
    insta::assert_snapshot!(words(&failure));
}

async fn lab_with_wrong_password() -> trunkline_engine::events::Failure {
    let lab = Lab::new(&Like::default()).await;
    let body = format!(
        "{HEAD}  login: {{user: fedora, password: not-this-one}}\n  steps:\n  - {{title: Apply, apply: vm.yaml, until: vm/blue/vm is Ready}}\n  - {{title: Log in, from: vm/blue/vm, exec: 'true'}}\n"
    );
    let ran = lab.world.run_with(&body, World::leave()).await;
    // A password of the scenario is in no output.
    let told = serde_json::to_string(
        &ran.events
            .iter()
            .map(|event| &event.kind)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    assert!(!told.contains("not-this-one"));
    ran.failure()
}

fn words(failure: &trunkline_engine::events::Failure) -> String {
    format!(
        "{:?}: {}\nexpected: {}\ngot: {}\nwhy: {}\nnext: {}",
        failure.kind,
        failure.summary,
        failure.expected,
        failure.got,
        failure.why.join("\n     "),
        failure.next.join("\n      "),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_panics_has_its_last_lines_in_the_failure() {
    let lab = Lab::new(&Like {
        boot: "[    0.9] VFS: Cannot open root device\\n[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\\n",
        boots_for: "1",
        hangs: true,
        ..Like::default()
    })
    .await;
    let body = format!("{HEAD}  steps:\n  - {{title: Apply, apply: vm.yaml, until: vm/blue/vm is Ready}}\n  - {{title: Ask, from: vm/blue/vm, exec: 'true'}}\n")
        .replace("login: 20s", "login: 4s");
    let failure = lab.world.run_with(&body, World::leave()).await.failure();
    assert_eq!(failure.kind, FailureKind::Hopeless);
    insta::assert_snapshot!(words(&failure));
}

#[rstest::rstest]
#[case::unschedulable("ErrorUnschedulable", json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient memory."}))]
#[case::image("ImagePullBackOff", json!({"type": "Synchronized", "status": "False", "reason": "ImagePullBackOff", "message": "Back-off pulling image \"nope:1\""}))]
#[case::claim("ErrorPvcNotFound", json!({"type": "Synchronized", "status": "False", "reason": "FailedPvcNotFound", "message": "PVC blue/disk does not exist, waiting for it to appear"}))]
#[case::crashes("CrashLoopBackOff", json!({"type": "Ready", "status": "False", "reason": "VMINotExists", "message": "VMI does not exist"}))]
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_cannot_get_there_is_given_up_at_once(
    #[case] word: &str,
    #[case] condition: Value,
) {
    let status = json!({"printableStatus": word, "conditions": [condition]});
    let lab = Lab::whose_status(&Like::default(), status, json!({"phase": "Pending"})).await;
    let started = std::time::Instant::now();
    let failure = lab.run("").await.failure();
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(failure.kind, FailureKind::Hopeless);
    let message = condition["message"].as_str().unwrap();
    assert!(
        failure.got.contains(word) && failure.got.contains(message),
        "{}",
        failure.got
    );
    assert_eq!(failure.next, ["kubectl -n blue describe vm vm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_failed_does_not_keep_a_probe_waiting() {
    let instance = json!({"phase": "Failed", "conditions": [
        {"type": "Ready", "status": "False", "reason": "PodTerminating", "message": "virt-launcher pod is terminating"}]});
    let lab = Lab::whose_status(&Like::default(), ready(), instance).await;
    let failure = lab
        .run("  - {title: Ask, from: vm/blue/vm, exec: 'true'}\n")
        .await
        .failure();
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert!(
        failure.got.contains("has failed: PodTerminating"),
        "{}",
        failure.got
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_stopped_and_restarted() {
    let lab = Lab::new(&Like::default()).await;
    let instances: Api<DynamicObject> = Api::namespaced_with(
        lab.world.client.clone(),
        "blue",
        &kind("VirtualMachineInstance"),
    );
    // What KubeVirt does when it is asked: the instance goes.
    let machines = lab.machines.clone();
    let goes = tokio::spawn(async move {
        while machines.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        instances
            .delete("vm", &kube::api::DeleteParams::default())
            .await
            .unwrap();
    });
    let ran = lab
        .run("  - {title: Stop, stop: vm/blue/vm}\n  - {title: It is gone, until: vmi/blue/vm is gone, timeout: 100ms}\n")
        .await;
    ran.passed();
    goes.await.unwrap();
    assert_eq!(lab.machines.asked(), ["stop blue/vm"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_machines_is_no_place_for_them() {
    let world = World::new().await;
    let ran = world
        .run("  requires: {vms: true}\n  steps:\n  - {title: Wait, until: namespace/default exists}\n")
        .await;
    assert!(
        matches!(&ran.outcome, CaseOutcome::Skipped { reason } if reason.contains("virtual machines")),
        "{:?}",
        ran.outcome
    );
}
