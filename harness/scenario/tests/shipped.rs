//! The scenarios that ship with the project are free of findings.

use camino::Utf8Path;
use trunkline_scenario::{Style, Suite, render};

fn root() -> &'static Utf8Path {
    Utf8Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn nothing_to_complain_about() {
    let suite = Suite::load([root().join("scenarios")]);
    assert!(suite.files > 0, "no scenario was found");
    assert_eq!(render(&suite.diagnostics, Style::Plain), "");
}

#[test]
fn first_scenario_says_what_it_should() {
    let suite = Suite::load([root().join("scenarios/overlay/ipam-pods.yaml")]);
    let [scenario] = suite.scenarios.as_slice() else {
        panic!("expected one scenario: {:?}", suite.diagnostics);
    };
    assert_eq!(scenario.full_name(), "overlay-ipam");
    let titles: Vec<String> = scenario
        .spec
        .steps
        .iter()
        .map(|step| format!("{:<8} {}", step.action.verb(), step.title))
        .collect();
    insta::assert_snapshot!(titles.join("\n"));
    let objects: Vec<String> = scenario
        .manifests
        .iter()
        .flat_map(|(path, manifest)| {
            manifest.objects.iter().map(move |object| {
                format!(
                    "{path}:{} {} {}",
                    object.at().line(),
                    object.kind(),
                    object.name()
                )
            })
        })
        .collect();
    insta::assert_snapshot!(objects.join("\n"));
}
