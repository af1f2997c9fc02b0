//! Tables of verdicts.

use std::time::Duration;

use rstest::rstest;
use trunkline_guest::protocol as came;
use trunkline_scenario::{
    Located, SourceFile, Span,
    model::{
        Answer, Bound, DnsAnswer, ExecAnswer, Expect, HttpAnswer, Outcome, PingAnswer, Scope,
        StatusMatch, TcpAnswer, Template, TextMatch, Unanswered, Way,
    },
};

use super::{Judged, judge};

fn here() -> Span {
    Span::start_of(&SourceFile::new("s.yaml", "expect: …"))
}

fn located<T>(value: T) -> Located<T> {
    Located::new(value, here())
}

fn is(text: &str) -> TextMatch {
    let template = Template::parse(&located(text.to_owned())).unwrap();
    TextMatch {
        at: here(),
        is: Some(template),
        contains: vec![],
        lacks: vec![],
        matches: None,
    }
}

fn verdict(outcome: Outcome, came: &came::Outcome) -> Judged {
    let expect = Expect {
        at: here(),
        outcome,
    };
    judge(&expect, came, Duration::from_millis(20), &Scope::default()).unwrap()
}

fn answered(answer: Answer, given: came::Answer) -> Judged {
    verdict(Outcome::Answered(answer), &came::Outcome::Answered(given))
}

fn ways(ways: &[Way]) -> Outcome {
    Outcome::Unanswered(
        ways.iter()
            .map(|way| Unanswered {
                way: *way,
                by: None,
            })
            .collect(),
    )
}

fn blocked() -> came::Outcome {
    came::Outcome::Blocked(came::Blocked {
        after_ms: 3000.0,
        stage: came::Stage::Connect,
        address: None,
        sent: None,
    })
}

fn refused() -> came::Outcome {
    let address = "10.0.0.1".parse().unwrap();
    came::Outcome::Refused(came::Refused {
        how: came::Refusal::Connection,
        address,
        icmp: None,
    })
}

fn unreachable() -> came::Outcome {
    let address = "10.0.0.1".parse().unwrap();
    came::Outcome::Unreachable(came::Unreachable {
        reason: came::Reason::Host,
        address,
        icmp: None,
    })
}

fn unresolved() -> came::Outcome {
    came::Outcome::Unresolved(came::Unresolved {
        name: "db".into(),
        why: came::Lookup::NoSuchName,
        server: None,
    })
}

fn error() -> came::Outcome {
    came::Outcome::Error(came::Failure {
        message: "connection reset by peer".into(),
    })
}

fn http(status: u16, body: &str) -> came::Answer {
    came::Answer::Curl(came::CurlAnswer {
        status,
        version: "HTTP/1.1".into(),
        headers: vec![("Content-Type".into(), "text/plain".into())],
        body: body.into(),
        bytes: body.len() as u64,
        truncated: false,
        remote: "10.0.0.1:80".parse().unwrap(),
        local: "10.0.0.2:4711".parse().unwrap(),
        redirected_to: None,
    })
}

fn ping(sent: u32, received: u32) -> came::Answer {
    came::Answer::Ping(came::PingAnswer {
        remote: "10.0.0.1".parse().unwrap(),
        sent,
        received,
        loss: f64::from(sent - received) * 100.0 / f64::from(sent),
        rtt: (received > 0).then_some(came::RoundTrip {
            min: 0.5,
            avg: 1.0,
            max: 1.5,
        }),
        ttl: (received > 0).then_some(63),
        duplicates: 0,
        packets: vec![],
    })
}

fn exec(exit: came::Exit, stdout: &str, stderr: &str) -> came::Answer {
    came::Answer::Exec(came::ExecAnswer {
        exit,
        stdout: stdout.into(),
        stderr: stderr.into(),
        truncated: false,
    })
}

/// Every way that can be expected against everything that can come: only the same meets it.
#[rstest]
fn the_four_ways_are_never_mixed_up(
    #[values(Way::Blocked, Way::Refused, Way::Unreachable, Way::Unresolved)] expected: Way,
    #[values(
        (Some(Way::Blocked), blocked()),
        (Some(Way::Refused), refused()),
        (Some(Way::Unreachable), unreachable()),
        (Some(Way::Unresolved), unresolved()),
        (None, error()),
        (None, came::Outcome::Answered(http(200, "")))
    )]
    came: (Option<Way>, came::Outcome),
) {
    let judged = verdict(ways(&[expected]), &came.1);
    assert_eq!(
        judged.verdict.passed,
        came.0 == Some(expected),
        "{:?}",
        judged.verdict
    );
    assert_eq!(judged.verdict.expected, expected.as_str());
    assert_eq!(judged.verdict.passed, judged.verdict.mismatches.is_empty());
}

#[rstest]
#[case(blocked(), "blocked: no answer to the first packet within 3000ms")]
#[case(refused(), "refused: connection refused by 10.0.0.1")]
#[case(unreachable(), "unreachable: no route to host (10.0.0.1)")]
#[case(unresolved(), "unresolved: db, no such name")]
#[case(
    error(),
    "the probe could not be carried out: connection reset by peer"
)]
fn an_answer_that_does_not_come_says_why(#[case] came: came::Outcome, #[case] got: &str) {
    let judged = verdict(
        Outcome::Answered(Answer::Http(HttpAnswer::default())),
        &came,
    );
    assert!(!judged.verdict.passed);
    assert_eq!(judged.verdict.got, got);
    assert_eq!(
        judged.verdict.mismatches[0].expected,
        "an answer: status 2xx"
    );
}

#[test]
fn one_of_several_ways_is_enough() {
    assert!(
        verdict(ways(&[Way::Blocked, Way::Refused]), &refused())
            .verdict
            .passed
    );
    let judged = verdict(ways(&[Way::Blocked, Way::Refused]), &unreachable());
    assert_eq!(judged.verdict.expected, "blocked or refused");
    assert!(!judged.verdict.passed);
}

#[rstest]
#[case(HttpAnswer::default(), 204, "", None)]
#[case(HttpAnswer::default(), 404, "", Some(("status", "2xx", "404")))]
#[case(HttpAnswer { status: Some(located(StatusMatch::Code(404))), ..HttpAnswer::default() }, 404, "", None)]
#[case(HttpAnswer { status: Some(located(StatusMatch::Code(200))), ..HttpAnswer::default() }, 201, "", Some(("status", "200", "201")))]
#[case(HttpAnswer { body: Some(is("blue-server")), ..HttpAnswer::default() }, 200, "blue-server", None)]
#[case(
    HttpAnswer { body: Some(is("blue-server")), ..HttpAnswer::default() },
    200, "blue-server\n", Some(("body", "\"blue-server\"", "\"blue-server\\n\""))
)]
#[case(
    HttpAnswer { bytes: Some(located(Bound::Exactly(11))), ..HttpAnswer::default() },
    200, "blue", Some(("bytes", "11", "4"))
)]
#[case(
    HttpAnswer { took: Some(located(Bound::Under(Duration::from_millis(5)))), ..HttpAnswer::default() },
    200, "", Some(("took", "under 5ms", "20ms"))
)]
#[case(
    HttpAnswer { headers: vec![(located("content-type".into()), is("text/html"))], ..HttpAnswer::default() },
    200, "", Some(("header content-type", "\"text/html\"", "\"text/plain\""))
)]
#[case(
    HttpAnswer { headers: vec![(located("x-none".into()), is("a"))], ..HttpAnswer::default() },
    200, "", Some(("header x-none", "\"a\"", "no such header"))
)]
fn http_answers(
    #[case] answer: HttpAnswer,
    #[case] status: u16,
    #[case] body: &str,
    #[case] wrong: Option<(&str, &str, &str)>,
) {
    held(&answered(Answer::Http(answer), http(status, body)), wrong);
}

#[rstest]
#[case(PingAnswer::default(), 3, 3, None)]
#[case(PingAnswer::default(), 4, 3, Some(("loss", "0%", "25%")))]
#[case(PingAnswer { received: Some(located(Bound::AtLeast(1))), ..PingAnswer::default() }, 4, 1, None)]
#[case(PingAnswer { loss: Some(located(Bound::Under(10.0))), ..PingAnswer::default() }, 4, 3, Some(("loss", "under 10%", "25%")))]
#[case(PingAnswer { ttl: Some(located(Bound::Exactly(64))), ..PingAnswer::default() }, 3, 3, Some(("ttl", "64", "63")))]
#[case(
    PingAnswer { rtt: Some(located(Bound::Under(Duration::from_micros(500)))), ..PingAnswer::default() },
    3, 3, Some(("rtt", "under 500µs", "1.0ms"))
)]
fn ping_answers(
    #[case] answer: PingAnswer,
    #[case] sent: u32,
    #[case] received: u32,
    #[case] wrong: Option<(&str, &str, &str)>,
) {
    held(&answered(Answer::Ping(answer), ping(sent, received)), wrong);
}

#[rstest]
#[case(ExecAnswer::default(), came::Exit::Code(0), None)]
#[case(ExecAnswer::default(), came::Exit::Code(1), Some(("exit", "0", "exit code 1")))]
#[case(ExecAnswer::default(), came::Exit::Signal(9), Some(("exit", "0", "killed by signal 9")))]
#[case(ExecAnswer { exit: Some(located(Bound::AtLeast(1))), ..ExecAnswer::default() }, came::Exit::Code(7), None)]
#[case(ExecAnswer { stdout: Some(is("out")), ..ExecAnswer::default() }, came::Exit::Code(0), None)]
#[case(
    ExecAnswer { stderr: Some(is("out")), ..ExecAnswer::default() },
    came::Exit::Code(0), Some(("stderr", "\"out\"", "\"err\""))
)]
#[case(ExecAnswer { stdout: Some(is("out\n")), ..ExecAnswer::default() }, came::Exit::Code(0), Some(("stdout", "\"out\\n\"", "\"out\"")))]
fn exec_answers(
    #[case] answer: ExecAnswer,
    #[case] exit: came::Exit,
    #[case] wrong: Option<(&str, &str, &str)>,
) {
    held(
        &answered(Answer::Exec(answer), self::exec(exit, "out", "err")),
        wrong,
    );
}

#[rstest]
#[case("out", None)]
#[case("out\n", None)]
#[case("ou", Some(("stdout", "\"ou\"", "\"out\\n\"")))]
fn the_newline_at_the_end_of_output_counts_for_those_who_expect_it(
    #[case] expected: &str,
    #[case] wrong: Option<(&str, &str, &str)>,
) {
    let answer = ExecAnswer {
        stdout: Some(is(expected)),
        ..ExecAnswer::default()
    };
    held(
        &answered(Answer::Exec(answer), exec(came::Exit::Code(0), "out\n", "")),
        wrong,
    );
}

#[test]
fn records_are_found_in_any_order_and_tcp_says_what_it_read() {
    let record = |data: &str| came::Record {
        name: "db".into(),
        record_type: "A".into(),
        ttl: 5,
        data: data.into(),
    };
    let dns = |records| {
        came::Answer::Dns(came::DnsAnswer {
            server: "10.96.0.10:53".parse().unwrap(),
            name: "db".into(),
            authoritative: true,
            records,
        })
    };
    let wanted = || {
        Answer::Dns(DnsAnswer {
            records: vec![is("10.0.0.2")],
            took: None,
        })
    };
    held(
        &answered(wanted(), dns(vec![record("10.0.0.1"), record("10.0.0.2")])),
        None,
    );
    held(
        &answered(wanted(), dns(vec![record("10.0.0.1")])),
        Some(("records", "\"10.0.0.2\"", "10.0.0.1")),
    );
    let any = Answer::Dns(DnsAnswer::default());
    held(
        &answered(any, dns(vec![])),
        Some(("records", "at least one record", "no records")),
    );

    let tcp = came::Answer::Tcp(came::TcpAnswer {
        remote: "10.0.0.1:22".parse().unwrap(),
        local: "10.0.0.2:4711".parse().unwrap(),
        connect_ms: 1.0,
        received: "SSH-1".into(),
        matched: Some(false),
    });
    let answer = Answer::Tcp(TcpAnswer {
        received: Some(is("SSH-2")),
        took: None,
    });
    held(
        &answered(answer, tcp),
        Some(("received", "\"SSH-2\"", "\"SSH-1\"")),
    );
}

fn held(judged: &Judged, wrong: Option<(&str, &str, &str)>) {
    let found = judged.verdict.mismatches.first();
    let found = found.map(|mismatch| {
        (
            mismatch.part.as_str(),
            mismatch.expected.as_str(),
            mismatch.got.as_str(),
        )
    });
    assert_eq!(found, wrong);
    assert_eq!(judged.verdict.passed, wrong.is_none());
}
