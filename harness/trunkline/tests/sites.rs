//! A cluster that is there already: scenarios run on it as on a lab, are compared, and what dies on it is cleared up. The
//! cluster is a lab that `up` keeps, reached like any other by its kubeconfig.

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use common::{Lab, trunkline};
use serde_json::Value;
use tempfile::TempDir;

const PODS: &str = "apiVersion: v1
kind: Pod
metadata: {name: web, namespace: sites}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: registry.k8s.io/e2e-test-images/agnhost:2.53
    args: [netexec, --http-port, '8080']
    readinessProbe: {httpGet: {path: /hostname, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: sites-shared, namespace: default}
";

const SCENARIO: &str = "apiVersion: trunkline.dev/v1alpha1
kind: Scenario
metadata: {name: sites}
spec:
  title: The same on every site
  namespaces: [sites]
  steps:
  - title: A server starts
    apply: pods.yaml
    until: pod/sites/web is Ready
    let: {web: pod/sites/web ip}
  - title: It reaches itself and nobody else
    from: pod/sites/web
    together:
    - {curl: 'http://${web}:8080/hostname', expect: {body: web}}
    - {tcp: '${web}:8081', expect: refused}
";

/// What no two runs have in common.
const CHANCE: &str = "  - title: Chance
    from: pod/sites/web
    exec: sh -c 'od -An -N4 -tu4 /dev/urandom'
";

fn folder(more: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("pods.yaml"), PODS).expect("it is written");
    fs::write(
        folder.path().join("sites.yaml"),
        format!("{SCENARIO}{more}"),
    )
    .expect("it is written");
    folder
}

fn command(folder: &TempDir, words: &[&str]) -> Command {
    let mut command = trunkline();
    command
        .args(words)
        .env("TRUNKLINE_STATE", folder.path().join("state"))
        .env_remove("KUBECONFIG");
    command
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn path(folder: &TempDir) -> String {
    folder.path().join("sites.yaml").display().to_string()
}

#[test]
fn a_lab_and_a_context_come_to_the_same() {
    needs_lab!();
    let lab = Lab::up("parity");
    let kubeconfig = lab.kubeconfig().display().to_string();
    let folder = folder("");
    let words = [
        "parity",
        &path(&folder),
        "--sites",
        "lab,context",
        "--kubeconfig",
        &kubeconfig,
    ];
    let output = command(&folder, &words).output().expect("it runs");
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(
        told.contains("1 the same") && !told.contains("different"),
        "{told}"
    );
    assert!(
        !folder.path().join("state/journals").exists() || journals(&folder) == 0,
        "{told}"
    );
}

#[test]
fn what_differs_is_shown_and_ends_with_1() {
    needs_lab!();
    let folder = folder(CHANCE);
    let words = ["parity", &path(&folder), "--sites", "lab,lab", "--json"];
    let output = command(&folder, &words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let parity: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(parity["sites"], serde_json::json!(["lab", "lab 2"]));
    let steps = parity["cases"][0]["steps"].as_array().expect("steps");
    let different: Vec<_> = steps
        .iter()
        .filter(|step| {
            step["differences"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        })
        .map(|step| step["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(different, ["Chance"]);
    let difference = &steps[2]["differences"][0];
    assert_ne!(difference["expected"], difference["got"]);
}

fn journals(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("state/journals")).map_or(0, Iterator::count)
}

fn kubectl(kubeconfig: &Path, words: &[&str]) -> String {
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(words)
        .output()
        .expect("kubectl runs");
    text(&output)
}

/// Waits for ever once everything is there.
const FOR_EVER: &str = "  - title: Nothing comes
    until: configmap/default/nobody exists
";

#[test]
fn a_run_that_is_killed_is_cleared_up_after() {
    needs_lab!();
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no kubectl");
        return;
    }
    let lab = Lab::up("gc");
    let kubeconfig = lab.kubeconfig().display().to_string();
    let folder = folder(FOR_EVER);
    let words = [
        "run",
        &path(&folder),
        "--site",
        "context",
        "--kubeconfig",
        &kubeconfig,
    ];
    let mut run = command(&folder, &words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    let begun = lines
        .map_while(Result::ok)
        .any(|line| line.contains("It reaches itself"));
    assert!(begun, "the run did not get that far");
    let gc = |dry: bool| {
        let mut words = vec!["gc", "--kubeconfig", &kubeconfig];
        words.extend(dry.then_some("--dry-run"));
        command(&folder, &words).output().expect("it runs")
    };
    assert!(text(&gc(true)).contains("no run that died"), "it lives");
    kubectl(lab.kubeconfig(), &["create", "configmap", "not-ours"]);
    run.kill().expect("it is killed");
    run.wait().expect("it is gone");

    let looked = text(&gc(true));
    assert!(
        looked.contains("namespace/sites would be removed"),
        "{looked}"
    );
    let cleared = gc(false);
    let told = text(&cleared);
    assert!(cleared.status.success(), "{told}");
    assert!(
        told.contains("configmap/default/sites-shared removed"),
        "{told}"
    );
    let left = kubectl(
        lab.kubeconfig(),
        &["get", "namespaces,configmaps,pods", "-A"],
    );
    assert!(!left.contains("sites"), "{left}");
    assert!(left.contains("not-ours"), "{left}");
    assert_eq!(journals(&folder), 0);
}
