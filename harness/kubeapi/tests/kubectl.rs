//! The real kubectl against the server. Skipped, saying so, where there is no kubectl.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::process::{Output, Stdio};

use common::{Served, pod, serve, toy_server};
use kube::api::{Api, PostParams};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// kubectl, its kubeconfig and a home of its own.
struct Kubectl {
    served: Served,
    home: tempfile::TempDir,
}

impl Kubectl {
    /// None when kubectl is not installed.
    async fn new() -> Option<Self> {
        let found = Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .await;
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: kubectl is not installed");
            return None;
        }
        let served = serve(toy_server());
        let home = tempfile::tempdir().unwrap();
        let config = served
            .pki
            .kubeconfig(&served.url, "test", "admin", &["system:masters"])
            .unwrap();
        std::fs::write(home.path().join("kubeconfig"), config).unwrap();
        Some(Self { served, home })
    }

    async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .args(arguments)
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads no input may have closed it.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let limit = std::time::Duration::from_secs(30);
        tokio::time::timeout(limit, child.wait_with_output())
            .await
            .expect("kubectl takes too long")
            .unwrap()
    }

    /// The output of a command that must succeed.
    async fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The complaint of a command that must fail.
    async fn refused(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: 'web:1', ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: single}
spec: {containers: [{name: main, image: 'main:1'}]}
";

#[tokio::test]
async fn objects_are_applied_changed_and_deleted() {
    let Some(kubectl) = Kubectl::new().await else {
        return;
    };
    let apply = ["apply", "-f", "-"];
    let applied = kubectl.ok(&apply, WEB).await;
    assert_eq!(
        applied,
        "deployment.apps/web created\nservice/web created\npod/single created\n"
    );
    let again = kubectl.ok(&apply, WEB).await;
    assert_eq!(
        again,
        "deployment.apps/web unchanged\nservice/web unchanged\npod/single unchanged\n"
    );
    let server_side = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let forced = kubectl.ok(&server_side, WEB).await;
    assert_eq!(forced.matches("serverside-applied").count(), 3);

    let odd = WEB.replace("replicas: 2", "replicas: 2\n  colour: red");
    let refused = kubectl.refused(&apply, &odd).await;
    assert!(
        refused.contains("unknown field \"spec.colour\""),
        "{refused}"
    );

    kubectl
        .ok(&["scale", "deploy/web", "--replicas=5"], "")
        .await;
    kubectl.ok(&["label", "deploy/web", "tier=front"], "").await;
    kubectl
        .ok(&["annotate", "deploy/web", "note=hello"], "")
        .await;
    kubectl
        .ok(&["set", "image", "deploy/web", "web=web:2"], "")
        .await;
    let wide = kubectl
        .ok(
            &[
                "get",
                "deploy",
                "-l",
                "tier=front",
                "-o",
                "wide",
                "--no-headers",
            ],
            "",
        )
        .await;
    let words: Vec<&str> = wide.split_whitespace().collect();
    assert_eq!(words[..4], ["web", "0/5", "0", "0"]);
    assert_eq!(words[5..], ["web", "web:2", "app=web"]);
    kubectl
        .ok(&["delete", "deploy/web", "svc/web", "pod/single"], "")
        .await;
    let gone = kubectl.refused(&["get", "pod", "single"], "").await;
    assert_eq!(
        gone,
        "Error from server (NotFound): pods \"single\" not found\n"
    );
}

/// Commands that make objects use typed clients, which send protobuf.
#[tokio::test]
async fn objects_are_created_by_command() {
    let Some(kubectl) = Kubectl::new().await else {
        return;
    };
    for command in [
        "create namespace space",
        "create configmap settings --from-literal=a=b",
        "create secret generic password --from-literal=p=w",
        "create deployment web --image=web:1 --replicas=0",
        "create job once --image=once:1 -- true",
        "create service clusterip web --tcp=80:http",
        "create role reader --verb=get --resource=pods",
        "create rolebinding reader --role=reader --user=bob",
        "create serviceaccount worker",
        "run single --image=main:1",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        kubectl.ok(&arguments, "").await;
    }
    let path = "jsonpath={.data.p}";
    let secret = kubectl
        .ok(&["get", "secret", "password", "-o", path], "")
        .await;
    assert_eq!(secret, "dw==");
    // Zero is a number of replicas, not the absence of one.
    let path = "jsonpath={.spec.replicas}";
    let replicas = kubectl.ok(&["get", "deploy", "web", "-o", path], "").await;
    assert_eq!(replicas, "0");
    let path = "jsonpath={.spec.ports[0].targetPort}";
    let port = kubectl.ok(&["get", "svc", "web", "-o", path], "").await;
    assert_eq!(port, "http");
    let can = kubectl
        .ok(&["auth", "can-i", "get", "pods", "--as", "bob"], "")
        .await;
    assert_eq!(can, "yes\n");
    let who = kubectl.ok(&["auth", "whoami", "-o", "yaml"], "").await;
    assert!(who.contains("username: admin"), "{who}");
    let description = kubectl.ok(&["describe", "pod", "single"], "").await;
    assert!(
        description.contains("QoS Class:        BestEffort"),
        "{description}"
    );
    let resources = kubectl.ok(&["api-resources", "-o", "name"], "").await;
    assert!(
        resources.contains("networkpolicies.networking.k8s.io"),
        "{resources}"
    );
    let explained = kubectl
        .ok(&["explain", "pod.spec.containers.image"], "")
        .await;
    assert!(explained.contains("FIELD: image <string>"), "{explained}");
    kubectl
        .ok(
            &["wait", "--for=jsonpath={.status.phase}=Active", "ns/space"],
            "",
        )
        .await;
    kubectl.ok(&["delete", "namespace", "space"], "").await;
}

#[tokio::test]
async fn pods_are_reached() {
    let Some(kubectl) = Kubectl::new().await else {
        return;
    };
    let pods: Api<k8s_openapi::api::core::v1::Pod> =
        Api::default_namespaced(kubectl.served.admin().await);
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod("a")).unwrap(),
    )
    .await
    .unwrap();
    let echoed = kubectl.ok(&["exec", "-i", "a", "--", "cat"], "hello").await;
    assert_eq!(echoed, "hello");
    let failed = kubectl.run(&["exec", "a", "--", "exit", "3"], "").await;
    assert_eq!(failed.status.code(), Some(3));
    let stderr = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(
        stderr,
        "a/main fails\ncommand terminated with exit code 3\n"
    );
    let log = kubectl.ok(&["logs", "a", "--tail=1"], "").await;
    assert_eq!(log, "default/a/main line 0\n");
}

/// Typed commands send protobuf, so every group needs its messages.
#[tokio::test]
async fn lesser_groups_are_made_and_printed() {
    let Some(kubectl) = Kubectl::new().await else {
        return;
    };
    let made = kubectl
        .ok(&["create", "priorityclass", "high", "--value=1000"], "")
        .await;
    assert_eq!(made, "priorityclass.scheduling.k8s.io/high created\n");
    kubectl
        .ok(&["create", "deployment", "web", "--image=web:1"], "")
        .await;
    kubectl
        .ok(
            &["autoscale", "deployment", "web", "--min=2", "--max=5"],
            "",
        )
        .await;
    let shown = kubectl.ok(&["get", "hpa", "--no-headers"], "").await;
    let columns: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(
        columns[..7],
        [
            "web",
            "Deployment/web",
            "cpu:",
            "<unknown>/80%",
            "2",
            "5",
            "0"
        ]
    );
    let classes = kubectl
        .ok(&["get", "priorityclasses", "--no-headers"], "")
        .await;
    let names: Vec<&str> = classes
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        ["high", "system-cluster-critical", "system-node-critical"]
    );
    let token = kubectl.ok(&["create", "token", "default"], "").await;
    assert_eq!(token.trim().split('.').count(), 3);
    let csr = r#"{"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "a"},
        "spec": {"signerName": "example.com/a", "usages": ["client auth"],
        "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"}}"#;
    kubectl.ok(&["create", "-f", "-"], csr).await;
    kubectl.ok(&["certificate", "approve", "a"], "").await;
    let shown = kubectl.ok(&["get", "csr", "a", "--no-headers"], "").await;
    assert!(shown.trim().ends_with("Approved"), "{shown}");
}
