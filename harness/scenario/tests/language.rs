//! Whole files: short and long forms mean the same, cases are made, scenarios are selected.

#![allow(clippy::unwrap_used, reason = "a test")]

use camino::Utf8Path;
use rstest::rstest;
use serde_json::json;
use trunkline_scenario::{
    Action, Answer, Body, Call, Outcome, Probe, Scenario, Scope, Selection, Step, Style, Suite,
    Target, TimeoutKind, Way, render,
};

fn suite(spec: &str) -> Suite {
    let file = format!(
        "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: one}}\nspec:\n  title: One\n{spec}"
    );
    Suite::from_text("t.yaml", file)
}

/// One scenario whose only mistake may be that its pods and manifests do not exist.
fn step(text: &str) -> Step {
    let indented = text.replace('\n', "\n    ");
    let suite = suite(&format!(
        "  namespaces: [default, kube-system]\n  steps:\n  - title: A step\n    {indented}\n"
    ));
    assert!(
        !suite.has_errors(),
        "{}",
        render(&suite.diagnostics, Style::Plain)
    );
    suite.scenarios[0].spec.steps[0].clone()
}

fn probe(text: &str) -> Probe {
    let Action::Probe(mut probes) = step(&format!("from: pod/kube-system/client\n{text}")).action
    else {
        panic!("not a probe");
    };
    probes.remove(0)
}

#[rstest]
#[case(
    "curl: 10.0.0.1/hostname",
    "curl: {url: http://10.0.0.1/hostname, method: GET}"
)]
#[case(
    "ping: 10.0.0.1",
    "ping: {host: 10.0.0.1, count: 3, every: 200ms, size: 56}"
)]
#[case("tcp: 10.0.0.1:80", "tcp: {host: 10.0.0.1, port: 80}")]
#[case("tcp: '[fd00::1]:80'", "tcp: {host: 'fd00::1', port: 80}")]
#[case("dns: example.com", "dns: {name: example.com, type: A}")]
#[case("exec: ip -br address", "exec: [ip, -br, address]")]
#[case("exec: echo 'a b'", "exec: {command: [echo, a b]}")]
fn short_and_long_calls(#[case] short: &str, #[case] long: &str) {
    assert_eq!(probe(short).call, probe(long).call);
}

#[rstest]
#[case("expect: blocked", "expect: {blocked: {}}")]
#[case("expect: blocked or refused", "expect: {refused: true, blocked: true}")]
#[case("expect: answered", "expect: {}")]
#[case("expect: {body: a}", "expect: {body: {is: a}}")]
#[case("expect: {body: {contains: a}}", "expect: {body: {contains: [a]}}")]
#[case("expect: {status: [200]}", "expect: {status: ['200']}")]
fn short_and_long_expectations(#[case] short: &str, #[case] long: &str) {
    let curl = |expect: &str| probe(&format!("curl: 10.0.0.1\n{expect}")).expect.outcome;
    assert_eq!(curl(short), curl(long));
}

#[test]
fn a_body_makes_a_post() {
    let Call::Curl(curl) = probe("curl: {url: 10.0.0.1, json: {n: 1, s: text}}").call else {
        panic!("not a curl");
    };
    assert_eq!(curl.method, "POST");
    let Some(Body::Json(json)) = curl.body else {
        panic!("no JSON");
    };
    assert_eq!(
        json.fill(&Scope::default()).unwrap(),
        json!({"n": 1, "s": "text"})
    );
}

#[test]
fn numbers_are_taken_as_written() {
    let Outcome::Answered(Answer::Exec(answer)) =
        probe("exec: uname -r\nexpect: {stdout: {contains: 1.10}}")
            .expect
            .outcome
    else {
        panic!("no answer");
    };
    let stdout = answer.stdout.unwrap();
    assert_eq!(
        stdout.check("kernel 1.10", &Scope::default()).unwrap(),
        None
    );
    assert!(
        stdout
            .check("kernel 1.1", &Scope::default())
            .unwrap()
            .is_some()
    );
}

#[test]
fn json_subsets() {
    let Outcome::Answered(Answer::Http(answer)) =
        probe("curl: 10.0.0.1\nexpect: {json: {Ok: [{id: 1}, {id: 2}]}}")
            .expect
            .outcome
    else {
        panic!("no answer");
    };
    let subset = answer.json.unwrap();
    let check = |got| subset.check(&got, &Scope::default()).unwrap();
    assert_eq!(
        check(json!({"Ok": [{"id": 1, "name": "a"}, {"id": 2.0}], "more": true})),
        None
    );
    let wrong = check(json!({"Ok": [{"id": 1}, {"id": 3}]})).unwrap();
    assert_eq!(
        (
            wrong.path.as_deref(),
            wrong.expected.as_str(),
            wrong.got.as_str()
        ),
        (Some("Ok[1].id"), "2", "3")
    );
    let longer = check(json!({"Ok": [{"id": 1}]})).unwrap();
    assert_eq!(longer.expected, "a list of 2");
    let missing = check(json!({})).unwrap();
    assert_eq!(
        (missing.path.as_deref(), missing.got.as_str()),
        (Some("Ok"), "nothing")
    );
}

#[test]
fn the_responsible_object_may_be_named() {
    let expect =
        probe("ping: 10.0.0.1\nexpect: {blocked: {by: networkpolicy/default/deny}}").expect;
    let Outcome::Unanswered(ways) = expect.outcome else {
        panic!("answered");
    };
    assert_eq!(ways[0].way, Way::Blocked);
    assert_eq!(
        ways[0].by.as_ref().unwrap().to_string(),
        "networkpolicy/default/deny"
    );
}

#[test]
fn what_is_deleted_may_be_objects_or_files() {
    let Action::Delete(delete) = step("delete: [configmap/default/a, configmap/default/b]").action
    else {
        panic!("not a delete");
    };
    assert!(
        delete
            .targets
            .iter()
            .all(|target| matches!(target, Target::Object(_)))
    );
}

#[test]
fn steps_without_a_verb_only_look() {
    let step = step(
        "until: configmap/default/a exists\nlet: {a: configmap/default/a}\nexpect: ['${a.data.x} is 1']",
    );
    assert_eq!(step.action, Action::Look);
    assert_eq!(
        (step.until.len(), step.lets.len(), step.statements.len()),
        (1, 1, 1)
    );
}

#[test]
fn probes_together_share_their_source() {
    let Action::Probe(probes) = step(
        "from: pod/kube-system/a\ntogether:\n- {ping: 10.0.0.1}\n- {from: pod/kube-system/b, ping: 10.0.0.1, known: not yet}",
    )
    .action
    else {
        panic!("no probes");
    };
    let sources: Vec<String> = probes.iter().map(|probe| probe.from.to_string()).collect();
    assert_eq!(sources, ["pod/kube-system/a", "pod/kube-system/b"]);
    assert_eq!(probes[1].known.as_ref().unwrap().because.value, "not yet");
}

const CASES: &str = "  parameters:
    topology: [layer2, localnet]
    placement: {same: {text: the same node, count: 1}, other: {text: different nodes, count: 2}}
  except:
  - {topology: localnet, placement: same}
  steps:
  - title: On ${placement.text} with ${topology}
    when: {placement: [same, other]}
    from: pod/kube-system/client
    ping: {host: 10.0.0.1, count: '${placement.count}'}
  - title: Only on localnet
    when: {topology: localnet}
    from: pod/kube-system/client
    ping: 10.0.0.1
  - title: In CEL
    expect: [{that: placement.count < 3}]
";

#[test]
fn every_combination_is_a_scenario() {
    let suite = suite(CASES);
    assert_eq!(render(&suite.diagnostics, Style::Plain), "");
    let titles = |scenario: &Scenario| -> Vec<String> {
        scenario
            .spec
            .steps
            .iter()
            .map(|step| step.title.value.clone())
            .collect()
    };
    let all: Vec<(String, Vec<String>)> = suite
        .scenarios
        .iter()
        .map(|scenario| (scenario.full_name(), titles(scenario)))
        .collect();
    insta::assert_debug_snapshot!(all);
    let Action::Probe(probes) = &suite.scenarios[1].spec.steps[0].action else {
        panic!("no probe");
    };
    let Call::Ping(ping) = &probes[0].call else {
        panic!("no ping");
    };
    assert_eq!(ping.count, 2, "a parameter keeps its type");
    assert_eq!(
        suite.scenarios[1].parameters.get("topology"),
        Some(&json!("layer2"))
    );
}

#[rstest]
#[case(&[], &[], &[], 3)]
#[case(&["one"], &[], &[], 3)]
#[case(&["[layer2,other]"], &[], &[], 1)]
#[case(&["two"], &[], &[], 0)]
#[case(&[], &["absent"], &[], 0)]
#[case(&[], &[], &[("topology", "layer2")], 2)]
#[case(&[], &[], &[("topology", "layer2"), ("placement", "same")], 1)]
fn selections(
    #[case] names: &[&str],
    #[case] tags: &[&str],
    #[case] cases: &[(&str, &str)],
    #[case] taken: usize,
) {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let selection = Selection {
        names: owned(names),
        tags: owned(tags),
        without: Vec::new(),
        cases: cases
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect(),
    };
    assert_eq!(selection.of(&suite(CASES)).len(), taken);
}

#[test]
fn tags_select_and_leave_out() {
    let suite =
        Suite::load([Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/overlay")]);
    let with = |tags: &[&str], without: &[&str]| {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let selection = Selection {
            tags: owned(tags),
            without: owned(without),
            ..Selection::default()
        };
        selection.of(&suite).len()
    };
    assert!(with(&["ipam"], &[]) > 1);
    assert_eq!(with(&["ipam"], &["vms"]), 1);
    assert_eq!(with(&["ipam"], &["overlay"]), 0);
}

#[test]
fn timeouts_come_from_the_scenario_or_the_table() {
    let suite =
        suite("  timeouts: {until: 7s}\n  steps:\n  - {title: Wait, until: nodes are Ready}\n");
    let timeouts = &suite.scenarios[0].spec.timeouts;
    assert_eq!(timeouts.get(TimeoutKind::Until).as_secs(), 7);
    assert_eq!(
        timeouts.get(TimeoutKind::Curl),
        TimeoutKind::Curl.default_duration()
    );
}

#[test]
fn rejections_are_expected_of_apply() {
    let dir = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(dir.path()).unwrap();
    std::fs::write(
        dir.join("a.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}\n",
    )
    .unwrap();
    std::fs::write(
        dir.join("s.yaml"),
        "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {name: s}\nspec:\n  title: S\n  steps:\n  - title: Refused\n    \
         apply: a.yaml\n    expect: {rejected: {reason: NotFound, message: {contains: nowhere}}}\n",
    )
    .unwrap();
    let suite = Suite::load([dir.join("s.yaml")]);
    assert_eq!(render(&suite.diagnostics, Style::Plain), "");
    let Action::Apply(apply) = &suite.scenarios[0].spec.steps[0].action else {
        panic!("not an apply");
    };
    assert_eq!(
        apply
            .rejected
            .as_ref()
            .unwrap()
            .reason
            .as_ref()
            .unwrap()
            .value,
        "NotFound"
    );
}
