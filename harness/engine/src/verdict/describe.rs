//! Expectations and outcomes in words.

use std::fmt::Write as _;

use trunkline_guest::protocol::{self as came, ExecAnswer, Exit, Outcome, Refusal, Stage};
use trunkline_scenario::model::{Answer, Unanswered};

use crate::text::excerpt;

/// What an answer must be: `status 200, body "blue-server"`.
pub(super) fn answer(answer: &Answer) -> String {
    let mut parts = Vec::new();
    match answer {
        Answer::Http(http) => {
            parts.push(
                http.status
                    .as_ref()
                    .map_or_else(|| "status 2xx".into(), |status| format!("status {status}")),
            );
            parts.extend(
                http.headers
                    .iter()
                    .map(|(name, text)| format!("header {name} {text}")),
            );
            parts.extend(http.body.iter().map(|text| format!("body {text}")));
            parts.extend(
                http.json
                    .iter()
                    .map(|json| format!("body with {}", one_line(json.at.text()))),
            );
            parts.extend(
                http.bytes
                    .iter()
                    .map(|bound| format!("{} bytes", bound.value)),
            );
            parts.extend(
                http.took
                    .iter()
                    .map(|bound| format!("took {}", bound.value)),
            );
        }
        Answer::Ping(ping) => {
            match (&ping.loss, &ping.received) {
                (None, None) => parts.push("no reply lost".into()),
                (loss, received) => {
                    parts.extend(loss.iter().map(|bound| format!("loss {}", bound.value)));
                    parts.extend(
                        received
                            .iter()
                            .map(|bound| format!("{} replies", bound.value)),
                    );
                }
            }
            parts.extend(
                ping.rtt
                    .iter()
                    .map(|bound| format!("round trip {}", bound.value)),
            );
            parts.extend(ping.ttl.iter().map(|bound| format!("ttl {}", bound.value)));
        }
        Answer::Tcp(tcp) => {
            parts.push("connected".into());
            parts.extend(tcp.received.iter().map(|text| format!("received {text}")));
            parts.extend(tcp.took.iter().map(|bound| format!("took {}", bound.value)));
        }
        Answer::Udp(udp) => {
            match &udp.received {
                Some(text) => parts.push(format!("received {text}")),
                None => parts.push("a datagram back".into()),
            }
            parts.extend(udp.took.iter().map(|bound| format!("took {}", bound.value)));
        }
        Answer::Dns(dns) => {
            if dns.records.is_empty() {
                parts.push("at least one record".into());
            }
            parts.extend(dns.records.iter().map(|text| format!("record {text}")));
            parts.extend(dns.took.iter().map(|bound| format!("took {}", bound.value)));
        }
        Answer::Exec(exec) => {
            parts.push(exec.exit.as_ref().map_or_else(
                || "exit code 0".into(),
                |exit| format!("exit code {}", exit.value),
            ));
            parts.extend(exec.stdout.iter().map(|text| format!("stdout {text}")));
            parts.extend(exec.stderr.iter().map(|text| format!("stderr {text}")));
            parts.extend(
                exec.json
                    .iter()
                    .map(|json| format!("stdout with {}", one_line(json.at.text()))),
            );
            parts.extend(
                exec.took
                    .iter()
                    .map(|bound| format!("took {}", bound.value)),
            );
        }
    }
    parts.join(", ")
}

/// In which ways it must not get through: `blocked by networkpolicy/a/b, or refused`.
pub(super) fn ways(ways: &[Unanswered]) -> String {
    let words = ways.iter().map(|unanswered| match &unanswered.by {
        Some(by) => format!("{} by {by}", unanswered.way),
        None => unanswered.way.to_string(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// What came.
pub(crate) fn came(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered(answer) => given(answer),
        Outcome::Blocked(blocked) => {
            let what = match blocked.stage {
                Stage::Resolve => "no answer from the name server",
                Stage::Connect => "no answer to the first packet",
                Stage::Tls => "silence after connecting, during the TLS handshake",
                Stage::Response => "silence after the request was sent",
            };
            format!("blocked: {what} within {:.0}ms", blocked.after_ms)
        }
        Outcome::Refused(refused) => {
            let how = match refused.how {
                Refusal::Connection => "connection refused",
                Refusal::Port => "port unreachable",
            };
            format!(
                "refused: {how} by {}{}",
                refused.address,
                icmp(refused.icmp)
            )
        }
        Outcome::Unreachable(unreachable) => {
            format!(
                "unreachable: {} ({}){}",
                unreachable.reason,
                unreachable.address,
                icmp(unreachable.icmp)
            )
        }
        Outcome::Unresolved(unresolved) => {
            let server = unresolved
                .server
                .map(|server| format!(" says {server}"))
                .unwrap_or_default();
            format!(
                "unresolved: {}, {}{server}",
                unresolved.name, unresolved.why
            )
        }
        Outcome::Error(failure) => {
            format!("the probe could not be carried out: {}", failure.message)
        }
    }
}

fn icmp(icmp: Option<came::Icmp>) -> String {
    icmp.map(|icmp| {
        format!(
            ", said {} (ICMP type {} code {})",
            icmp.from, icmp.kind, icmp.code
        )
    })
    .unwrap_or_default()
}

/// An answer in words.
pub(super) fn given(answer: &came::Answer) -> String {
    match answer {
        came::Answer::Curl(curl) => {
            let body = excerpt(&curl.body.to_text());
            format!("status {}, body {body:?}", curl.status)
        }
        came::Answer::Ping(ping) => {
            let rtt = ping
                .rtt
                .map(|rtt| format!(", round trip {:.2}ms", rtt.avg))
                .unwrap_or_default();
            format!(
                "{} of {} replies, loss {}%{rtt}",
                ping.received, ping.sent, ping.loss
            )
        }
        came::Answer::Tcp(tcp) if tcp.received.is_empty() => format!("connected to {}", tcp.remote),
        came::Answer::Tcp(tcp) => format!(
            "connected to {}, received {:?}",
            tcp.remote,
            excerpt(&tcp.received.to_text())
        ),
        came::Answer::Udp(udp) => format!(
            "{} answered {:?}",
            udp.remote,
            excerpt(&udp.received.to_text())
        ),
        came::Answer::Dns(dns) if dns.records.is_empty() => {
            format!("no records from {}", dns.server)
        }
        came::Answer::Dns(dns) => {
            let records: Vec<_> = dns
                .records
                .iter()
                .map(|record| record.data.as_str())
                .collect();
            format!("records {}", records.join(", "))
        }
        came::Answer::Exec(exec) => {
            let mut words = exit(exec);
            for (name, stream) in [("stdout", &exec.stdout), ("stderr", &exec.stderr)] {
                if !stream.is_empty() {
                    // Writing to a string cannot fail.
                    let _ = write!(words, ", {name} {:?}", excerpt(&stream.to_text()));
                }
            }
            words
        }
    }
}

pub(super) fn exit(exec: &ExecAnswer) -> String {
    match exec.exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
        Exit::TimedOut => "still running at the deadline, then killed".into(),
    }
}

/// JSON of several lines, as one.
fn one_line(text: &str) -> String {
    excerpt(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
