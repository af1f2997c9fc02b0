//! Bad files: each says what is wrong, where, and what to write instead, drawn and in one line.

use camino::Utf8Path;
use trunkline_scenario::{Style, Suite, render};

fn check(name: &str, suite: &Suite) {
    assert!(!suite.diagnostics.is_empty(), "{name}: no complaint");
    let drawn = render(
        &suite.diagnostics,
        Style::Graphical {
            color: false,
            width: 110,
        },
    );
    let lines = render(&suite.diagnostics, Style::Plain);
    insta::with_settings!({omit_expression => true, snapshot_path => "bad/expected", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, format!("{lines}\n{drawn}"));
    });
}

#[test]
fn every_bad_file() {
    let mut names: Vec<String> = Utf8Path::new("tests/bad")
        .read_dir_utf8()
        .unwrap()
        .filter_map(|entry| {
            entry
                .unwrap()
                .file_name()
                .strip_suffix(".yaml")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    assert!(names.len() > 15, "bad files are missing: {names:?}");
    for name in names {
        let suite = Suite::load([format!("tests/bad/{name}.yaml")]);
        assert!(suite.has_errors(), "{name} has no errors");
        assert!(suite.scenarios.is_empty(), "{name} could be run");
        check(&name, &suite);
    }
}

#[test]
fn two_scenarios_with_one_name() {
    check("two-names", &Suite::load(["tests/bad/two-names"]));
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let suite = Suite::load([
        "tests/bad/two-names/a.yaml",
        "tests/bad/two-names/../two-names/a.yaml",
    ]);
    assert_eq!(suite.scenarios.len(), 1);
    assert!(suite.diagnostics.is_empty());
}

#[test]
fn a_file_that_is_not_there() {
    check("unreadable", &Suite::load(["tests/bad/none.yaml"]));
}

/// One mistake is one line, however many cases the file has.
#[test]
fn findings_are_not_repeated() {
    let suite = Suite::load(["tests/bad/names.yaml"]);
    let mut lines: Vec<String> = suite.diagnostics.iter().map(ToString::to_string).collect();
    let all = lines.len();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), all);
}
