//! Every step of provisioning, and every way that it fails, on a machine whose Docker, kind, helm and cluster are
//! stand-ins: the real ones of the profile ovn-kubernetes need registries. What the stand-ins cannot say (that the real
//! charts and manifests work) is not tested here.

#![allow(
    clippy::unwrap_used,
    reason = "a test may; without a harness clippy does not know that it is one"
)]

mod bench;
mod cluster;
mod daemon;
mod driver;
mod sources;

use std::process::ExitCode;

use bench::Bench;
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("__driver") {
        driver::main(&arguments.next().unwrap());
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, fn()); 12] = [
        ("a_machine_without_tools_is_told_and_nothing_begins", tools),
        ("a_full_disk_is_told_and_nothing_begins", disk),
        ("a_name_that_is_taken_is_left_alone", taken),
        ("what_kind_says_when_it_fails_is_said", kind_fails),
        (
            "a_killed_up_leaves_a_half_that_the_next_one_makes_anew",
            killed,
        ),
        ("two_ups_wait_for_each_other", two_at_once),
        (
            "ovn_kubernetes_comes_up_whole_and_the_second_time_nothing_is_done",
            whole,
        ),
        (
            "a_step_that_fails_is_named_and_up_goes_on_from_there",
            helm_fails,
        ),
        (
            "what_never_becomes_ready_tells_its_pods_and_events",
            never_ready,
        ),
        ("an_image_that_cannot_be_pulled_ends_the_wait", cannot_pull),
        (
            "an_image_or_a_file_that_is_missing_is_told_before_anything_begins",
            missing,
        ),
        ("a_wrong_digest_is_told", wrong_digest),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

fn tools() {
    let bench = Bench::ovn_kubernetes();
    bench.without("kind");
    bench.without("helm");
    let refusal = bench.refused("up");
    says(
        &refusal,
        &[
            "this machine lacks",
            "no `kind` in PATH",
            "no `helm` in PATH",
            "https://",
        ],
    );
    says(&bench.status(), &["Absent"]);
    assert!(
        !bench.path("state/clusters/c").exists(),
        "nothing was begun, and nothing is remembered"
    );
}

fn disk() {
    let bench = Bench::new();
    // A file system of no size at all.
    bench.daemon.root("/proc");
    says(
        &bench.refused("up"),
        &["/proc has 0.0 GiB free", "docker system df"],
    );
    assert_eq!(bench.calls(), Vec::<String>::new());
}

fn taken() {
    let bench = Bench::new();
    bench.stranger();
    says(
        &bench.refused("up"),
        &[
            "the name c is taken by a kind cluster that trunkline did not make",
            "--name",
        ],
    );
    says(&bench.refused("down"), &["the name c is taken"]);
    says(&bench.status(), &["Foreign"]);
    assert_eq!(bench.nodes(), 1);
    assert_eq!(bench.calls(), Vec::<String>::new());
}

fn kind_fails() {
    let bench = Bench::new();
    bench.spoil(
        "kind.fails",
        "ERROR: failed to create cluster: port is already allocated\n",
    );
    says(
        &bench.refused("up"),
        &["the nodes could not be made", "port is already allocated"],
    );
    says(&bench.status(), &["Absent"]);
    bench.mend("kind.fails");
    bench.done("up");
    assert_eq!(bench.nodes(), 3);
}

fn killed() {
    let bench = Bench::new();
    bench.spoil("kind.hangs", "");
    let mut child = bench.spawn("up");
    bench.wait_for("kind.hanging");
    child.kill().unwrap();
    child.wait().unwrap();
    says(
        &bench.status(),
        &[
            "the nodes of the cluster c are half made (c-control-plane, c-worker, c-worker2)",
            "makes them anew",
            "trunkline down kind --name c",
        ],
    );
    bench.mend("kind.hangs");
    let said = bench.done("up").join("\n");
    says(&said, &["left half made are made anew"]);
    let verbs: Vec<String> = bench
        .calls()
        .iter()
        .map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(verbs, ["kind create", "kind delete", "kind create"]);
    says(&bench.status(), &["finished: true"]);
    bench.done("down");
    assert_eq!(bench.nodes(), 0);
    assert!(!bench.path("state/clusters/c").exists());
}

fn two_at_once() {
    let bench = Bench::new();
    let first = bench.spawn("up");
    let second = bench.run("up");
    let first = first.wait_with_output().unwrap();
    assert!(
        first.status.success() && second.answer.is_ok(),
        "{second:?}"
    );
    let created = bench
        .calls()
        .iter()
        .filter(|call| call.starts_with("kind create"))
        .count();
    assert_eq!(created, 1, "{:?}", bench.calls());
}

fn whole() {
    let bench = Bench::ovn_kubernetes();
    let said = bench.done("up");
    let calls = bench.calls();
    says(
        &calls[0],
        &["kind create cluster --name c --config", "--kubeconfig"],
    );
    says(
        &calls[1],
        &[
            "helm upgrade --install ovn-kubernetes",
            "values-single-node-zone.yaml",
            "--kubeconfig",
        ],
    );
    assert_eq!(calls.len(), 2, "{calls:?}");
    let nodes = std::fs::read_to_string(bench.path("nodes.json")).unwrap();
    says(
        &nodes,
        &[
            "\"disableDefaultCNI\":true",
            "\"kubeProxyMode\":\"none\"",
            "kindest/node:v1.34.0@sha256:",
        ],
    );
    let values = std::fs::read_to_string(bench.path("values.yaml")).unwrap();
    says(
        &values,
        &[
            "k8sAPIServer: https://172.18.0.2:6443",
            "podNetwork: 10.244.0.0/16/24",
            "enableNetworkSegmentation: true",
        ],
    );

    for node in ["c-control-plane", "c-worker", "c-worker2"] {
        let scripts = bench.daemon.scripts(node);
        assert!(
            scripts.contains("ovn-kubernetes/node.sh") && scripts.contains("nmstate/node.sh"),
            "{scripts:?}"
        );
    }
    let launcher = "quay.io/kubevirt/virt-launcher:v1.8.4";
    assert!(bench.daemon.images("c-worker2").contains(launcher));
    assert!(
        !bench.daemon.images("c-control-plane").contains(launcher),
        "no machine runs there"
    );

    bench.block_on(async {
        use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node};
        use kube::{Api, ResourceExt};
        let client = bench.cluster.client.clone();
        let nodes: Api<Node> = Api::all(client.clone());
        let worker = nodes.get("c-worker").await.unwrap();
        assert_eq!(worker.labels()["k8s.ovn.org/zone-name"], "c-worker");
        assert_eq!(worker.labels()["node-role.kubernetes.io/worker"], "");
        let multus: Api<DaemonSet> = Api::namespaced(client.clone(), "kube-system");
        let multus = multus.get("kube-multus-ds").await.unwrap();
        let image = multus.spec.unwrap().template.spec.unwrap().containers[0]
            .image
            .clone();
        assert_eq!(
            image.as_deref(),
            Some("ghcr.io/k8snetworkplumbingwg/multus-cni:v4.2.3")
        );
        let kubevirt = kube::api::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(
            "kubevirt.io",
            "v1",
            "KubeVirt",
        ));
        let kubevirt: Api<kube::api::DynamicObject> =
            Api::namespaced_with(client, "kubevirt", &kubevirt);
        let configuration =
            kubevirt.get("kubevirt").await.unwrap().data["spec"]["configuration"].clone();
        assert_eq!(
            configuration["developerConfiguration"]["useEmulation"],
            true
        );
        assert_eq!(
            configuration["network"]["binding"]["l2bridge"]["domainAttachmentType"],
            "managedTap"
        );
    });
    says(&bench.status(), &["finished: true"]);
    assert!(said.iter().any(|line| line.contains("Image(")));

    nothing_is_done_again(&bench);
}

fn nothing_is_done_again(bench: &Bench) {
    let calls = bench.calls();
    let begun = std::time::Instant::now();
    let again = bench.done("up").join("\n");
    eprintln!("the second up took {:?}", begun.elapsed());
    assert!(
        !again.contains("already: false") && !again.contains("Image("),
        "{again}"
    );
    assert_eq!(bench.calls(), calls);

    // A node that was made anew inside lost what its script did.
    bench.daemon.forget_scripts("c-worker");
    let mended = bench.done("up").join("\n");
    says(
        &mended,
        &[
            "ComponentName(\"node-network-manager\"), already: false",
            "ComponentName(\"multus\"), already: true",
        ],
    );
    assert!(bench.daemon.scripts("c-worker").contains("nmstate/node.sh"));
}

fn helm_fails() {
    let bench = Bench::ovn_kubernetes();
    bench.spoil(
        "helm.fails",
        "Error: INSTALLATION FAILED: template is broken\n",
    );
    let refusal = bench.refused("up");
    says(
        &refusal,
        &[
            "ovn-kubernetes (OVN-Kubernetes): ",
            "INSTALLATION FAILED: template is broken",
            "goes on from here",
            "trunkline down kind --name c",
            "KUBECONFIG=",
        ],
    );
    says(
        &bench.status(),
        &[
            "the cluster c is up, but not complete (missing or not ready: ",
            "ovn-kubernetes",
            "goes on from here",
        ],
    );
    bench.mend("helm.fails");
    let said = bench.done("up").join("\n");
    says(
        &said,
        &["ComponentName(\"multi-network-policy\"), already: true"],
    );
    let created = bench
        .calls()
        .iter()
        .filter(|call| call.starts_with("kind create"))
        .count();
    assert_eq!(created, 1, "the nodes stayed");
    says(&bench.status(), &["finished: true"]);
}

fn never_ready() {
    let mut bench = Bench::ovn_kubernetes();
    bench.job.deadline_seconds = 4;
    bench
        .cluster
        .never
        .lock()
        .unwrap()
        .insert("deployment/cert-manager/cert-manager-webhook".into());
    bench.block_on(async {
        trouble(
            &bench,
            "cert-manager",
            "CrashLoopBackOff",
            "back-off restarting failed container",
        )
        .await;
    });
    let refusal = bench.refused("up");
    says(
        &refusal,
        &[
            "cert-manager (cert-manager): deployment/cert-manager/cert-manager-webhook did not become ready in time: it does not exist",
            "pod troubled: Pending; c waits: CrashLoopBackOff back-off restarting failed container",
            "event pod/troubled: FailedMount no such secret",
        ],
    );
}

fn cannot_pull() {
    let bench = Bench::ovn_kubernetes();
    bench
        .cluster
        .never
        .lock()
        .unwrap()
        .insert("deployment/cert-manager/cert-manager-webhook".into());
    bench.block_on(async {
        trouble(&bench, "cert-manager", "ImagePullBackOff", "no registry").await;
    });
    let begun = std::time::Instant::now();
    let refusal = bench.refused("up");
    says(
        &refusal,
        &["cert-manager (cert-manager): pod troubled can never start: ImagePullBackOff"],
    );
    assert!(
        begun.elapsed().as_secs() < bench.job.deadline_seconds,
        "it was not waited for"
    );
}

/// A pod that does not start, and an event about it.
async fn trouble(bench: &Bench, namespace: &str, reason: &str, message: &str) {
    let spaces: kube::Api<k8s_openapi::api::core::v1::Namespace> =
        kube::Api::all(bench.cluster.client.clone());
    let space = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    let _ = spaces
        .create(&kube::api::PostParams::default(), &space)
        .await;
    bench
        .cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "troubled", "namespace": namespace},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "x"}]},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "c", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason, "message": message}},
            }]},
        }))
        .await;
    bench
        .cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": namespace}, "type": "Warning",
            "reason": "FailedMount", "message": "no such secret",
            "involvedObject": {"kind": "Pod", "name": "troubled", "namespace": namespace},
        }))
        .await;
}

fn missing() {
    let bench = Bench::ovn_kubernetes();
    let images = bench.path("images");
    let multus = images.join("ghcr.io-k8snetworkplumbingwg-multus-cni-v4.2.3.tar");
    std::fs::rename(&multus, bench.path("aside.tar")).unwrap();
    let refusal = bench.refused("up");
    says(
        &refusal,
        &[
            "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.2.3 is not in",
            "quay.io/kubevirt/virt-api:v1.8.4",
        ],
    );
    std::fs::rename(bench.path("aside.tar"), &multus).unwrap();
    std::fs::remove_file(images.join("kubevirt-operator.yaml")).unwrap();
    says(
        &bench.refused("up"),
        &[
            "kubevirt-operator.yaml is not in",
            "https://github.com/kubevirt/kubevirt/releases",
        ],
    );
    assert_eq!(bench.calls(), Vec::<String>::new());
}

fn wrong_digest() {
    let bench = Bench::ovn_kubernetes();
    let file = bench.path("images/scheme.yml");
    std::fs::write(&file, "kind: Other\n").unwrap();
    says(
        &bench.refused("up"),
        &[
            "scheme.yml is not what it should be: expected sha256:",
            "got sha256:",
        ],
    );
    assert_eq!(bench.calls(), Vec::<String>::new());
    std::fs::write(&file, sources::text("scheme.yml")).unwrap();

    let archive = bench.path("images/quay.io-kubevirt-virt-api-v1.8.4.tar");
    let bytes = std::fs::read(&archive).unwrap();
    let spoilt = String::from_utf8_lossy(&bytes)
        .replace("quay.io/kubevirt/virt-api", "quay.io/kubevirt/virt-apj");
    // Only the layer: the name in the manifest stays.
    let spoilt = spoilt.replace(
        "[\"quay.io/kubevirt/virt-apj",
        "[\"quay.io/kubevirt/virt-api",
    );
    std::fs::write(&archive, spoilt).unwrap();
    let refusal = bench.refused("up");
    says(
        &refusal,
        &[
            "kubevirt (KubeVirt): ",
            "quay.io-kubevirt-virt-api-v1.8.4.tar is damaged",
            "digest",
        ],
    );
    assert!(
        bench
            .daemon
            .images("c-worker")
            .iter()
            .all(|image| !image.contains("virt-api"))
    );
}
