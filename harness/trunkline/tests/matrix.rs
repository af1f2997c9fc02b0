//! The CI matrix: every scenario goes to the smallest profile that has what it requires.

mod common;

use std::{path::Path, process::Output};

use common::trunkline;
use snapbox::{Data, data::DataFormat};

fn matrix(arguments: &[&str]) -> Output {
    trunkline()
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .args(["matrix", "--github"])
        .args(arguments)
        .output()
        .expect("trunkline runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// `SNAPSHOTS=overwrite` writes it anew.
fn assert_recorded(text: String, file: &str) {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/matrix/expected"
    ))
    .join(file);
    let expected = Data::read_from(&path, Some(DataFormat::Text)).raw();
    snapbox::Assert::new()
        .action_env("SNAPSHOTS")
        .eq(text, expected);
}

#[test]
fn scenarios_are_grouped_by_directory_and_profile() {
    let output = matrix(&["matrix"]);
    let printed = text(&output.stdout);
    assert_eq!(printed.lines().count(), 1, "one line fits $GITHUB_OUTPUT");
    let value: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let pretty = serde_json::to_string_pretty(&value).expect("JSON");
    assert_recorded(pretty, "jobs.json");
    assert_recorded(text(&output.stderr), "skipped.txt");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn nothing_to_run_is_no_success() {
    let output = matrix(&["matrix/machines/elsewhere.yaml"]);
    assert_eq!(text(&output.stdout), "{\"include\":[]}\n");
    assert_eq!(output.status.code(), Some(5));
    assert!(text(&output.stderr).contains("lacks kube-ovn"));
}

#[test]
fn a_wrong_scenario_is_told_and_nothing_is_printed() {
    let output = matrix(&["bad/broken-yaml.yaml"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(text(&output.stdout), "");
}

/// What the nightly workflow runs is never empty, and names files that exist.
#[test]
fn the_repository_has_a_matrix() {
    let output = trunkline()
        .args(["matrix", "--github"])
        .output()
        .expect("trunkline runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let jobs = value["include"].as_array().expect("jobs");
    assert!(!jobs.is_empty());
    for job in jobs {
        for path in job["paths"].as_str().expect("paths").split(' ') {
            assert!(common::root().join(path).is_file(), "{path}");
        }
    }
}
