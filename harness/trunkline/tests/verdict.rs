//! A green run means something: the same scenario turns red when it is wrong, and every report says why.

mod common;

use std::{fs, path::Path, process::Output};

use common::trunkline;
use rstest::rstest;
use serde_json::Value;
use tempfile::TempDir;

/// The repository's scenarios and manifests, to be broken.
fn copy() -> TempDir {
    fn tree(from: &Path, to: &Path) {
        fs::create_dir(to).expect("a directory");
        for entry in fs::read_dir(from).expect("a directory").flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                tree(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).expect("a copy");
            }
        }
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    for part in ["scenarios", "manifests"] {
        tree(&common::root().join(part), &dir.path().join(part));
    }
    dir
}

const OVERLAY: &str = "scenarios/overlay/ipam-pods.yaml";

fn edit(dir: &TempDir, file: &str, from: &str, to: &str) {
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{from:?} is not in {file} any more");
    fs::write(path, text.replace(from, to)).expect("it is written");
}

fn run(dir: &Path, file: &str, options: &[&str]) -> Output {
    trunkline()
        .current_dir(dir)
        .args(["run", file])
        .args(options)
        .output()
        .expect("trunkline runs")
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[rstest]
#[case::body(
    (OVERLAY, "{status: 200, body: blue-server, bytes: 11}", "{status: 200, body: green-server, bytes: 11}"),
    &["expected  body \"green-server\"", "got       body \"blue-server\"", "ipam-pods.yaml:57:"],
)]
#[case::length(
    (OVERLAY, "bytes: 13", "bytes: 14"),
    &["expected  bytes 14", "got       bytes 13", "ipam-pods.yaml:59:"],
)]
#[case::subnet(
    (OVERLAY, "${blue.ip} is in 192.168.200.0/24", "${blue.ip} is in 192.168.201.0/24"),
    &["expected  is in 192.168.201.0/24", "got       192.168.200.", "ipam-pods.yaml:47:7"],
)]
#[case::another_subnet(
    ("manifests/overlay/01-netconfig.yaml", "\"subnets\": \"192.168.200.0/24\"", "\"subnets\": \"192.168.201.0/24\""),
    &["is in 192.168.200.0/24", "ipam-pods.yaml:"],
)]
#[case::reachable(
    (OVERLAY, "curl: http://${blue_pod.ip}:9000/hostname\n      expect: {body: blue-server}",
        "curl: http://${blue_pod.ip}:9000/hostname\n      expect: blocked or unreachable"),
    &["expected  blocked or unreachable", "got       ", "status 200", "ipam-pods.yaml:"],
)]
#[case::unreachable(
    (OVERLAY, "curl: http://${blue.ip}:9000/hostname\n      expect: blocked or unreachable",
        "curl: http://${blue.ip}:9000/hostname\n      expect: {body: blue-server}"),
    &["expected  status 2xx, body \"blue-server\"", "got       unreachable: ", "ipam-pods.yaml:75:", "look at "],
)]
fn a_broken_scenario_is_red(#[case] (file, from, to): (&str, &str, &str), #[case] wanted: &[&str]) {
    needs_lab!();
    let dir = copy();
    edit(&dir, file, from, to);
    let output = run(
        dir.path(),
        OVERLAY,
        &["--junit", "junit.xml", "--events", "events.jsonl"],
    );
    let told = told(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for text in wanted {
        assert!(told.contains(text), "{text:?} is not in:\n{told}");
    }
    assert!(told.contains("0 passed, 1 failed, 0 skipped"), "{told}");

    let junit = fs::read_to_string(dir.path().join("junit.xml")).expect("a report");
    assert!(
        junit.contains("tests=\"13\"")
            && junit.contains("failures=\"1\"")
            && junit.contains("errors=\"0\""),
        "{junit}"
    );
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
    assert_eq!(
        junit.matches("<testcase ").count(),
        13,
        "one for each step:\n{junit}"
    );

    let events = fs::read_to_string(dir.path().join("events.jsonl")).expect("events");
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object"))
        .collect();
    assert_eq!(events.first().expect("events")["event"], "run_started");
    assert_eq!(events.last().expect("events")["event"], "run_finished");
    let failed = events
        .iter()
        .find(|event| event["event"] == "step_finished" && event["outcome"]["result"] == "failed");
    let failures = &failed.expect("a failed step")["outcome"]["failures"];
    assert!(
        failures[0]["expected"].is_string() && failures[0]["got"].is_string(),
        "{failures}"
    );
    assert!(
        failures[0]["scenario"]["line"].as_u64() > Some(1),
        "{failures}"
    );
}

#[test]
fn an_attachment_to_nothing_is_found_before_anything_starts() {
    let dir = copy();
    let annotation = |network: &str| format!("k8s.v1.cni.cncf.io/networks: {network}");
    edit(
        &dir,
        "manifests/overlay/02-workloads.yaml",
        &annotation("shared-net"),
        &annotation("sharde-net"),
    );
    let output = run(dir.path(), OVERLAY, &[]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("02-workloads.yaml:"), "{told}");
}

#[test]
fn what_the_site_lacks_is_skipped_with_the_reason() {
    needs_lab!();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad/lacking.yaml");
    let output = run(dir.path(), scenario, &["--junit", "junit.xml"]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(
        told.contains("skipped: the site lab lacks nmstate"),
        "{told}"
    );
    let junit = fs::read_to_string(dir.path().join("junit.xml")).expect("a report");
    assert!(
        junit.contains("<skipped message=\"the site lab lacks nmstate\"/>"),
        "{junit}"
    );
}

#[test]
fn too_few_cases_are_no_success() {
    needs_lab!();
    let output = run(common::root(), OVERLAY, &["--quiet", "--require-ran", "2"]);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(5), "{told}");
    assert!(told.contains("only 1 of at least 2 cases ran"), "{told}");
}
