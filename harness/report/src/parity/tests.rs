use std::time::Duration;

use trunkline_engine::events::{
    self, CaseId, CaseOutcome, Change, EventKind, Evidence, EvidenceSource, Failure, FailureKind,
    Location, ObjectRef, Phase, RunId, StepId, StepInfo, StepOutcome, Verdict as Judged,
};

use super::{CaseState, Observed, Verdict, alike::Roles, compare, table};
use crate::Palette;

#[rstest::rstest]
#[case::equal("status 200", "status 200", true)]
#[case::unequal("status 200", "status 404", false)]
#[case::addresses("curl http://10.244.1.5:9000/", "curl http://10.96.3.7:9000/", true)]
#[case::ports("nc 10.244.1.5 80", "nc 10.96.3.7 81", false)]
#[case::clients_ports("body 10.244.1.4:48288", "body 10.9.1.4:58708", true)]
#[case::servers_ports("body 10.244.1.4:30080", "body 10.9.1.4:30081", false)]
#[case::times(
    "blocked: no answer within 2001ms",
    "blocked: no answer within 2003ms",
    true
)]
#[case::longer("a b", "a b c", false)]
#[case::nodes("runs on lab-worker2", "runs on tl-worker", true)]
#[case::node_and_other("runs on lab-worker", "runs on nothing", false)]
#[case::pods("pod/a/web-5d4f8c7b9x-2xkqp", "pod/a/web-6b8f7c9d4-zt5wn", true)]
#[case::other_pods("pod/a/web-5d4f8c7b9x-2xkqp", "pod/a/db-6b8f7c9d4-zt5wn", false)]
#[case::six("from fd00:10:244::5", "from fd00:10:96::7", true)]
#[case::macs("0a:58:0a:f4:01:05", "0a:58:0a:f4:02:07", true)]
#[case::kinds_of_word("from 10.0.0.1", "from web", false)]
#[case::sites("the site lab", "the site kind", true)]
#[case::signs("a: b", "a, b", false)]
fn texts_say_the_same_or_not(#[case] ours: &str, #[case] theirs: &str, #[case] alike: bool) {
    assert_eq!(Roles::new("lab", "kind").alike(ours, theirs), alike);
}

#[rstest::rstest]
#[case::how_it_is_refused(
    "refused",
    "refused: connection refused by 10.0.0.1",
    "refused: port unreachable by 10.9.9.1, said 10.9.9.9 (ICMP type 3 code 3)",
    true
)]
#[case::how_it_is_unresolved(
    "unresolved",
    "unresolved: 10.96.0.10 says no such name",
    "unresolved: 10.96.0.10 has no record of that type",
    true
)]
#[case::another_way(
    "refused",
    "refused: connection refused by 10.0.0.1",
    "blocked: no answer to the first packet within 1000ms",
    false
)]
#[case::both_ways_will_do(
    "blocked or refused",
    "refused: connection refused by 10.0.0.1",
    "blocked: no answer to the first packet within 1000ms",
    true
)]
#[case::where_it_is_blocked(
    "blocked",
    "blocked: silence after the request was sent within 9ms",
    "blocked: no answer to the first packet within 9ms",
    false
)]
#[case::order_of_records(
    "record x",
    "records 10.0.0.2, 10.0.0.1",
    "records 10.9.9.1, 10.9.9.2",
    true
)]
#[case::number_of_records("record x", "records 10.0.0.2, 10.0.0.1", "records 10.9.9.1", false)]
#[case::other_records(
    "record x",
    "records 0 50 80 a.b, 0 50 81 a.b",
    "records 0 50 80 a.b, 0 50 82 a.b",
    false
)]
#[case::certificates(
    "exit code 0",
    r#"exit code 0, stdout "-----BEGIN CERTIFICATE-----\nMIIB""#,
    r#"exit code 0, stdout "-----BEGIN CERTIFICATE-----\nMIIDzz""#,
    true
)]
#[case::exit_codes(
    "exit code 0",
    r#"exit code 0, stdout "-----BEGIN""#,
    r#"exit code 1, stdout "-----BEGIN""#,
    false
)]
#[case::documents(
    "x",
    r#"stdout "{\"kind\":\"Pod\"}""#,
    r#"stdout "{\n  \"kind\": \"Pod\"\n}""#,
    true
)]
#[case::words_of_the_api(
    "x",
    r#"stdout "{\"message\":\"pods is forbidden\",\"code\":403}""#,
    r#"stdout "{\n \"message\": \"pods is forbidden\",\n \"code\": 403\n}""#,
    true
)]
#[case::other_words_of_the_api(
    "x",
    r#"stdout "{\"message\":\"Unauthorized\",\"code\":401}""#,
    r#"stdout "{\n \"message\": \"pods is forbidden\",\n \"code\": 403\n}""#,
    false
)]
#[case::cut_documents(
    "x",
    r#"stdout "{\"message\":\"no\",\"code\":401}""#,
    r#"stdout "{\n \"kind\": \"Status\",\n \"mess… (20 bytes more)""#,
    true
)]
#[case::lines(
    "x",
    r#"stdout "a\n10.0.0.1\tdb-0\n""#,
    r#"stdout "a\n10.9.9.1\tdb-0\n""#,
    true
)]
#[case::other_lines(
    "x",
    r#"stdout "a\n10.0.0.1\tdb-0\n""#,
    r#"stdout "a\n10.9.9.1\tdb-1\n""#,
    false
)]
#[case::texts_and_documents("x", r#"stdout "hello""#, r#"stdout "{}""#, false)]
#[case::cut_texts(
    "x",
    "stdout \"a 10.0.0.1 b… (20 bytes more)\"",
    "stdout \"a 10.0.0.10 … (22 bytes more)\"",
    true
)]
#[case::other_cut_texts(
    "x",
    "stdout \"a c d… (20 bytes more)\"",
    "stdout \"b c d… (20 bytes more)\"",
    false
)]
fn answers_come_to_the_same_or_not(
    #[case] expected: &str,
    #[case] ours: &str,
    #[case] theirs: &str,
    #[case] same: bool,
) {
    let mut roles = Roles::new("lab", "kind");
    assert_eq!(
        super::answer::same(&mut roles, expected, ours, theirs),
        same
    );
}

#[test]
fn an_address_stands_for_one_address_throughout() {
    let mut roles = Roles::new("a", "b");
    assert!(roles.alike("server 10.0.0.1", "server 10.9.9.1"));
    assert!(roles.alike("again 10.0.0.1", "again 10.9.9.1"));
    assert!(!roles.alike("now 10.0.0.1", "now 10.9.9.2"), "another one");
    assert!(
        !roles.alike("now 10.0.0.2", "now 10.9.9.1"),
        "the same for two"
    );
    assert!(
        roles.alike("10.0.0.2", "10.9.9.2"),
        "what failed left no trace"
    );
}

#[test]
fn what_was_captured_plays_its_role_and_numbers_stay_numbers() {
    let mut roles = Roles::new("a", "b");
    roles.seed("blue-one", "blue-two");
    roles.seed("1", "2");
    assert!(roles.alike("hello from blue-one", "hello from blue-two"));
    assert!(!roles.alike("hello from blue-one", "hello from blue-one"));
    assert!(!roles.alike("1 reply", "2 reply"));
}

const CASE: &str = "a";

/// Two steps on a site: a pod is applied, and a probe gets an answer.
struct Site {
    name: &'static str,
    server: &'static str,
    got: String,
    passed: bool,
    refusal: String,
    outcome: CaseOutcome,
}

impl Site {
    fn new(name: &'static str, server: &'static str) -> Self {
        Self {
            name,
            server,
            got: "status 200, body \"hello\"".into(),
            passed: true,
            refusal: "pods \"x\" is forbidden".into(),
            outcome: CaseOutcome::Passed,
        }
    }

    fn observed(&self) -> Observed {
        let (sender, mut receiver) = events::channel(RunId::random());
        let case = sender.case(CaseId(CASE.into()));
        let at_line = Location {
            file: "a.yaml".into(),
            line: 1,
            column: None,
        };
        let id = |index| StepId {
            phase: Phase::Steps,
            index,
        };
        let info = |index, title: &str| StepInfo {
            id: id(index),
            title: title.into(),
            verb: "apply".into(),
            at_line: at_line.clone(),
        };
        case.send(EventKind::CaseStarted {
            scenario: CASE.into(),
            title: "A".into(),
            at_line: at_line.clone(),
            parameters: [].into(),
            steps: vec![info(0, "A server starts"), info(1, "It answers")],
        });
        let took = Duration::from_millis(1);
        let first = case.step(id(0));
        first.send(EventKind::ObjectApplied {
            object: ObjectRef {
                kind: "pod".into(),
                namespace: Some("blue".into()),
                name: "server".into(),
            },
            change: Change::Created,
            manifest: None,
        });
        first.progress(format!("refused, as expected: {}", self.refusal));
        first.send(EventKind::Captured {
            name: "server".into(),
            value: serde_json::json!({"ip": self.server}),
        });
        first.send(EventKind::StepFinished {
            outcome: StepOutcome::Passed,
            took,
        });
        let second = case.step(id(1));
        for (index, port) in [80, 81].into_iter().enumerate() {
            second.send(EventKind::ProbeFinished {
                probe: index as u64 + 1,
                from: "pod/blue/client".into(),
                description: format!("curl http://{}:{port}/", self.server),
                verdict: Judged {
                    passed: self.passed,
                    expected: "status 2xx".into(),
                    got: self.got.clone(),
                    mismatches: Vec::new(),
                },
                took,
            });
        }
        let evidence = format!("silence; the site {} has no further evidence", self.name);
        second.send(EventKind::Evidence(Evidence {
            probe: Some(1),
            source: EvidenceSource::Deadline,
            summary: evidence.clone(),
            object: None,
            detail: String::new(),
        }));
        second.send(EventKind::StepFinished {
            outcome: if self.passed {
                StepOutcome::Passed
            } else {
                let failure = Failure::new(FailureKind::Expectation, "curl from pod/blue/client")
                    .expected("status 2xx")
                    .got(&self.got)
                    .because(evidence);
                StepOutcome::Failed {
                    failures: vec![failure],
                }
            },
            took,
        });
        case.send(EventKind::CaseFinished {
            outcome: self.outcome.clone(),
            took,
        });
        let mut observed = Observed::new(self.name);
        while let Some(event) = receiver.try_recv() {
            observed.event(&event);
        }
        observed
    }
}

#[test]
fn two_sites_that_differ_only_in_roles_are_the_same() {
    let parity = compare(&[
        Site::new("lab", "10.244.1.5").observed(),
        Site::new("kind", "10.244.2.9").observed(),
        Site::new("staging", "10.1.2.3").observed(),
    ]);
    assert_eq!(parity.verdict(), Verdict::Same);
    insta::assert_snapshot!(table(&parity, &Palette::plain()), @r"
    a
      step                lab     kind    staging
      1. A server starts  passed  passed  passed   same
      2. It answers       passed  passed  passed   same

    lab = kind = staging: 1 the same
    ");
}

#[test]
fn every_difference_is_shown_with_both_sides() {
    let other = Site {
        got: "blocked: no answer to the first packet within 2000ms".into(),
        passed: false,
        refusal: "pods \"x\" was refused".into(),
        outcome: CaseOutcome::Failed { failure: None },
        ..Site::new("kind", "10.244.2.9")
    };
    let parity = compare(&[Site::new("lab", "10.244.1.5").observed(), other.observed()]);
    assert_eq!(parity.verdict(), Verdict::Different);
    insta::assert_snapshot!(table(&parity, &Palette::plain()));
    let json = serde_json::to_value(&parity).unwrap();
    assert_eq!(json["cases"][0]["state"]["state"], "different");
    assert_eq!(json["cases"][0]["steps"][1]["results"][1], "failed");
}

#[test]
fn the_order_in_which_probes_end_does_not_matter() {
    let ours = Site::new("lab", "10.244.1.5").observed();
    let mut theirs = Site::new("kind", "10.244.2.9").observed();
    let last = theirs.cases[0].1.steps.values_mut().last().unwrap();
    last.probes.reverse();
    assert_eq!(compare(&[ours, theirs]).verdict(), Verdict::Same);
}

#[test]
fn what_was_not_run_is_not_called_the_same() {
    let lab = Site::new("lab", "10.244.1.5").observed();
    let outcome = |outcome| Site {
        outcome,
        ..Site::new("kind", "10.244.2.9")
    };
    let reason = || "no nmstate".to_owned();
    let skipped = compare(&[
        lab.clone(),
        outcome(CaseOutcome::Skipped { reason: reason() }).observed(),
    ]);
    assert_eq!(skipped.verdict(), Verdict::NothingCompared);
    let broken = compare(&[
        lab.clone(),
        outcome(CaseOutcome::Broken { reason: reason() }).observed(),
    ]);
    assert_eq!(broken.verdict(), Verdict::Broken);
    // A site that never got to the case.
    let nothing = compare(&[lab, Observed::new("kind")]);
    let CaseState::Broken { reasons } = &nothing.cases[0].state else {
        panic!("{nothing:?}")
    };
    assert_eq!(
        reasons[0],
        ("kind".into(), "the run was interrupted".into())
    );
}
