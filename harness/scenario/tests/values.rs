//! Templates, phrases, limits, sentences, captures: the small things, by example and by property.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};
use trunkline_scenario::{
    Bound, Capture, Cel, CelError, Condition, Late, Located, NotYet, ObjectRef, Phrase, Scope,
    Source, SourceFile, Span, Statement, Subject, Template, Until, duration,
};

fn located(text: &str) -> Located<String> {
    let source = SourceFile::new("t.yaml", text);
    let at = Span::new(source, 0..text.len());
    Located::new(text.to_owned(), at)
}

fn template(text: &str) -> Template {
    Template::parse(&located(text)).unwrap()
}

fn scope() -> Scope {
    let mut scope = Scope::default();
    scope.set("server", json!({"ip": "192.168.200.4", "mac": "0a:58:c0:a8:c8:04", "ips": ["192.168.200.4", "fd00::4"]}));
    scope.set("port", json!(9000));
    scope.set("name", json!("blue-server"));
    scope
}

#[rstest]
#[case("http://${server.ip}:${port}/", "http://192.168.200.4:9000/")]
#[case("${server.ips.1}", "fd00::4")]
#[case("$${name} is ${name}", "${name} is blue-server")]
#[case("costs 5$ {really}", "costs 5$ {really}")]
#[case("", "")]
fn templates_are_filled(#[case] text: &str, #[case] expected: &str) {
    assert_eq!(template(text).fill(&scope()).unwrap(), expected);
}

#[test]
fn a_single_hole_keeps_its_type() {
    assert_eq!(
        template("${port}").fill_value(&scope()).unwrap(),
        json!(9000)
    );
    assert_eq!(
        template(":${port}").fill_value(&scope()).unwrap(),
        json!(":9000")
    );
}

#[rstest]
#[case("${nobody}", "${nobody} has no value", "t.yaml:1:1")]
#[case("at ${server.gateway}", "${server.gateway} has no value", "t.yaml:1:4")]
fn missing_values_are_named(#[case] text: &str, #[case] message: &str, #[case] place: &str) {
    let error = template(text).fill(&scope()).unwrap_err();
    assert_eq!(error.message, message);
    assert_eq!(error.primary.at.to_string(), place);
}

proptest! {
    #[test]
    fn text_without_holes_stays_as_it_is(text in "[^$]*") {
        prop_assert_eq!(template(&text).literal(), Some(text.clone()));
        prop_assert_eq!(template(&text).fill(&Scope::default()).unwrap(), text);
    }

    #[test]
    fn parsing_never_panics(text in ".*") {
        let _ = Template::parse(&located(&text));
        let _ = Until::parse_phrase(&text);
        let _ = Capture::parse_phrase(&text);
        let _ = Source::parse_phrase(&text);
        let _ = ObjectRef::parse_phrase(&text);
        let _ = duration::parse(&text);
        let _ = Cel::parse(located(&text));
    }

    #[test]
    fn files_never_panic(text in "(apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\n)?(metadata: \\{name: a\\}\nspec:\n)?[ \\-a-z:{}\\[\\]\"'$&*|>\n]{0,200}") {
        let _ = trunkline_scenario::Suite::from_text("t.yaml", text);
    }

    #[test]
    fn holes_take_any_value(before in "[^$]*", value in ".*", after in "[^$]*") {
        let mut scope = Scope::default();
        scope.set("x", json!(value));
        let filled = template(&format!("{before}${{x}}{after}")).fill(&scope).unwrap();
        prop_assert_eq!(filled, format!("{before}{value}{after}"));
    }

    #[test]
    fn durations_survive(millis in 0_u64..100_000_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(duration::parse(&duration::show(duration)).unwrap(), duration);
    }

    #[test]
    fn objects_survive(kind in "[a-z]{3,12}x", namespace in proptest::option::of("[a-z][a-z0-9]{0,20}"), name in "[a-z][a-z0-9-]{0,20}") {
        let object = ObjectRef { kind, namespace, name };
        prop_assert_eq!(ObjectRef::parse_phrase(&object.to_string()).unwrap(), object);
    }
}

#[rstest]
#[case("2s", 2_000)]
#[case("1m30s", 90_000)]
#[case("500ms", 500)]
#[case("1h", 3_600_000)]
fn durations(#[case] text: &str, #[case] millis: u64) {
    assert_eq!(
        duration::parse(text).unwrap(),
        Duration::from_millis(millis)
    );
}

#[rstest]
#[case("90")]
#[case("5x")]
#[case("")]
#[case("-1s")]
#[case("soon")]
fn no_durations(#[case] text: &str) {
    assert!(duration::parse(text).is_err());
}

#[rstest]
#[case("pod/blue/server is Ready")]
#[case("pod/blue/server is not Ready for 2s")]
#[case("pod/blue/server is gone")]
#[case("nad/blue/shared-net exists")]
#[case("node/lab-worker is Ready")]
#[case("pods in blue are Ready")]
#[case("pods in blue, yellow are not Ready for 1m30s")]
#[case("pods labelled app=web,tier!=db in blue are gone")]
#[case("nodes are Ready")]
#[case("pods in blue exist")]
fn conditions_survive(#[case] text: &str) {
    assert_eq!(Until::parse_phrase(text).unwrap().to_string(), text);
}

#[test]
fn conditions_mean_what_they_say() {
    let until =
        Until::parse_phrase("pods labelled role=web in blue and yellow are Ready for 2s").unwrap();
    assert_eq!(
        until,
        Until {
            subject: Subject::All {
                resource: "pods".to_owned(),
                selector: Some("role=web".to_owned()),
                namespaces: vec!["blue".to_owned(), "yellow".to_owned()],
            },
            condition: Condition::Is("Ready".to_owned()),
            hold: Some(Duration::from_secs(2)),
        }
    );
}

#[test]
fn a_source_may_name_its_container() {
    let source = Source::parse_phrase("pod/blue/server container http-server").unwrap();
    assert_eq!(source.to_string(), "pod/blue/server container http-server");
}

#[test]
fn phrases_wait_for_their_holes() {
    let late: Late<Source> = Late::parse(&located("pod/blue/${name}")).unwrap();
    assert!(late.known().is_none());
    assert_eq!(
        late.resolve(&scope()).unwrap().to_string(),
        "pod/blue/blue-server"
    );
    let mut wrong = Scope::default();
    wrong.set("name", json!("not a name"));
    let error = late.resolve(&wrong).unwrap_err();
    assert!(
        error.message.contains("became `pod/blue/not a name`"),
        "{error}"
    );
}

fn pod() -> Value {
    let status = json!([
        {"name": "ovn-kubernetes", "interface": "eth0", "ips": ["10.244.1.4"], "mac": "0a:58:0a:f4:01:04", "default": true, "dns": {}},
        {"name": "tenantblue/shared-net", "interface": "net1", "ips": ["192.168.200.4"], "mac": "0a:58:c0:a8:c8:04", "dns": {}},
    ]);
    json!({
        "metadata": {
            "name": "blue-server", "namespace": "tenantblue", "labels": {"example.com/role": "server"},
            "annotations": {"k8s.v1.cni.cncf.io/network-status": status.to_string()},
        },
        "spec": {"nodeName": "lab-worker2"},
        "status": {"podIP": "10.244.1.4", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn capture(text: &str, object: &Value) -> Result<Value, NotYet> {
    Capture::parse_phrase(text)
        .unwrap()
        .extract(object, &Scope::default())
}

#[rstest]
#[case("network shared-net ip", json!("192.168.200.4"))]
#[case("network tenantblue/shared-net mac", json!("0a:58:c0:a8:c8:04"))]
#[case("network default name", json!("ovn-kubernetes"))]
#[case("interface net1 ips", json!(["192.168.200.4"]))]
#[case("interface eth0 ip", json!("10.244.1.4"))]
#[case("ip", json!("10.244.1.4"))]
#[case("node", json!("lab-worker2"))]
#[case("field status.conditions[0].type", json!("Ready"))]
#[case("field metadata.labels[\"example.com/role\"]", json!("server"))]
fn pods_are_captured(#[case] what: &str, #[case] expected: Value) {
    assert_eq!(
        capture(&format!("pod/tenantblue/blue-server {what}"), &pod()).unwrap(),
        expected
    );
}

#[test]
fn an_attachment_is_captured_as_a_whole() {
    let whole = capture("pod/tenantblue/blue-server network shared-net", &pod()).unwrap();
    assert_eq!(whole["ip"], "192.168.200.4");
    assert_eq!(whole["interface"], "net1");
}

#[test]
fn machines_are_captured_by_the_name_of_the_interface() {
    let vmi = json!({"status": {"nodeName": "lab-worker", "interfaces": [
        {"name": "default", "interfaceName": "eth0", "ipAddress": "10.0.2.2", "mac": "02:00:00:00:00:01"},
        {"name": "flatl2-overlay", "interfaceName": "eth1", "ipAddress": "192.168.123.5", "ipAddresses": ["192.168.123.5"], "mac": "02:00:00:00:00:02"},
    ]}});
    assert_eq!(
        capture("vmi/default/vm interface flatl2-overlay ip", &vmi).unwrap(),
        "192.168.123.5"
    );
    assert_eq!(
        capture("vmi/default/vm network default mac", &vmi).unwrap(),
        "02:00:00:00:00:01"
    );
    assert_eq!(capture("vmi/default/vm node", &vmi).unwrap(), "lab-worker");
}

#[rstest]
#[case("network other-net ip")]
#[case("interface net2")]
#[case("field status.hostIP")]
fn what_is_not_there_may_come(#[case] what: &str) {
    let error = capture(&format!("pod/tenantblue/blue-server {what}"), &pod()).unwrap_err();
    assert!(matches!(error, NotYet::Missing(_)), "{error}");
}

#[rstest]
#[case(
    "networks.exists(n, n.name == 'tenantblue/shared-net' && cidr('192.168.200.0/24').containsIP(n.ip))",
    Ok(true)
)]
#[case("size(networks) == 3", Ok(false))]
#[case(
    "object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
    Ok(true)
)]
#[case("object.spec.nodeName == node", Ok(true))]
#[case("object.status.hostIP == '10.0.0.1'", Err(CelError::Missing("hostIP".to_owned())))]
fn expressions_see_object_networks_and_names(
    #[case] text: &str,
    #[case] expected: Result<bool, CelError>,
) {
    let mut scope = Scope::default();
    scope.set("node", json!("lab-worker2"));
    let cel = Cel::parse(located(text)).unwrap();
    assert_eq!(cel.holds_for(&pod(), &scope), expected);
}

#[test]
fn expressions_must_be_true_or_false() {
    let cel = Cel::parse(located("object.spec.nodeName")).unwrap();
    let error = cel.holds_for(&pod(), &Scope::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the expression yields \"lab-worker2\", not true or false"
    );
}

#[test]
fn variables_of_macros_are_not_free() {
    let cel = Cel::parse(located(
        "a.exists(n, n.x == b) && [1].map(i, i + c).all(j, j > d[0]) && type(e) == string",
    ))
    .unwrap();
    let names: Vec<String> = cel.variables().into_iter().collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

/// The sentences of a step, read as a file would be.
fn sentence(text: &str) -> Statement {
    let file = format!(
        "apiVersion: trunkline.dev/v1alpha1\nkind: Scenario\nmetadata: {{name: a}}\nspec:\n  title: a\n  steps:\n  - title: a\n    \
         let: {{server: node/a, port: node/a, name: node/a}}\n    expect:\n    - {text}\n    - ${{server}} is ${{port}}${{name}}\n"
    );
    let suite = trunkline_scenario::Suite::from_text("t.yaml", file);
    assert!(!suite.has_errors(), "{:?}", suite.diagnostics);
    suite.scenarios[0].spec.steps[0].statements[0].clone()
}

#[rstest]
#[case("${server.ip} is 192.168.200.4")]
#[case("${server.ip} is not 192.168.200.5")]
#[case("${server.ip} is in 192.168.200.0/24")]
#[case("${server.ip} is not in 10.0.0.0/8")]
#[case("${server.ips.1} is in fd00::/64")]
#[case("${server.mac} is derived from ${server.ip}")]
#[case("${server.ips} contains fd00::4")]
#[case("${name} contains blue")]
#[case("${name} does not contain yellow")]
#[case("${port} is 9000")]
#[case("that: port > 8000 && server.ip.startsWith('192.')")]
fn sentences_hold(#[case] text: &str) {
    assert_eq!(sentence(text).check(&scope()).unwrap(), None);
}

#[rstest]
#[case("${server.ip} is 192.168.200.5", "is 192.168.200.5", "192.168.200.4")]
#[case("${server.ip} is in 10.0.0.0/8", "is in 10.0.0.0/8", "192.168.200.4")]
#[case(
    "${server.mac} is derived from 192.168.200.5",
    "is derived from 192.168.200.5",
    "0a:58:c0:a8:c8:04"
)]
#[case("that: port == 1", "port == 1", "false")]
fn sentences_say_what_does_not_hold(#[case] text: &str, #[case] expected: &str, #[case] got: &str) {
    let mismatch = sentence(text).check(&scope()).unwrap().unwrap();
    assert_eq!(
        (mismatch.expected.as_str(), mismatch.got.as_str()),
        (expected, got)
    );
    assert_eq!(mismatch.at.line(), 10);
}

#[test]
fn sentences_about_nonsense_are_errors() {
    let error = sentence("${name} is in 10.0.0.0/8")
        .check(&scope())
        .unwrap_err();
    assert_eq!(error.message, "`blue-server` is not an IP address");
}

#[rstest]
#[case(Bound::Exactly(3), 3, true)]
#[case(Bound::Under(3), 3, false)]
#[case(Bound::AtMost(3), 3, true)]
#[case(Bound::Over(3), 3, false)]
#[case(Bound::AtLeast(3), 3, true)]
#[case(Bound::Between(1, 3), 3, true)]
#[case(Bound::Between(1, 3), 4, false)]
fn limits(#[case] bound: Bound<u64>, #[case] value: u64, #[case] holds: bool) {
    assert_eq!(bound.holds(value), holds, "{bound}");
}
