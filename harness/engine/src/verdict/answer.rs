//! Holding an answer against what a scenario says about it, part by part.

use std::time::Duration;

use serde_json::Value;
use trunkline_guest::protocol as came;
use trunkline_scenario::{
    Diagnostic, Span,
    model::{self as expected, Bound, Scope},
};

use super::describe;
use crate::{
    events::Mismatch,
    text::{excerpt, seconds},
};

/// A part that did not hold.
pub(super) struct Part {
    pub mismatch: Mismatch,
    /// Where it is written; a default of the verb is written nowhere.
    pub at: Option<Span>,
}

/// Everything that did not hold; empty when all did.
pub(super) fn check(
    answer: &expected::Answer,
    given: &came::Answer,
    took: Duration,
    scope: &Scope,
) -> Result<Vec<Part>, Diagnostic> {
    let mut parts = Parts {
        found: Vec::new(),
        scope,
    };
    match (answer, given) {
        (expected::Answer::Http(answer), came::Answer::Curl(given)) => {
            parts.http(answer, given, took)?;
        }
        (expected::Answer::Ping(answer), came::Answer::Ping(given)) => parts.ping(answer, given),
        (expected::Answer::Tcp(answer), came::Answer::Tcp(given)) => parts.tcp(answer, given)?,
        (expected::Answer::Udp(answer), came::Answer::Udp(given)) => parts.udp(answer, given)?,
        (expected::Answer::Dns(answer), came::Answer::Dns(given)) => {
            parts.dns(answer, given, took)?;
        }
        (expected::Answer::Exec(answer), came::Answer::Exec(given)) => {
            parts.exec(answer, given, took)?;
        }
        // The agent answers what it is asked; this is an agent of another version.
        _ => parts.add(
            "outcome",
            describe::answer(answer),
            describe::given(given),
            None,
        ),
    }
    Ok(parts.found)
}

struct Parts<'a> {
    found: Vec<Part>,
    scope: &'a Scope,
}

impl Parts<'_> {
    fn http(
        &mut self,
        answer: &expected::HttpAnswer,
        given: &came::CurlAnswer,
        took: Duration,
    ) -> Result<(), Diagnostic> {
        match &answer.status {
            Some(status) if !status.holds(given.status) => {
                self.add(
                    "status",
                    status.to_string(),
                    given.status.to_string(),
                    Some(&status.at),
                );
            }
            None if !(200..300).contains(&given.status) => {
                self.add("status", "2xx", given.status.to_string(), None);
            }
            _ => {}
        }
        for (name, text) in &answer.headers {
            let part = format!("header {name}");
            match given.header(name) {
                Some(value) => self.text(&part, text, value)?,
                None => self.add(&part, text.to_string(), "no such header", Some(&text.at)),
            }
        }
        let body = given.body.to_text();
        if let Some(text) = &answer.body {
            self.text("body", text, &body)?;
        }
        if let Some(json) = &answer.json {
            self.json("body", json, &body)?;
        }
        self.bound("bytes", answer.bytes.as_ref(), given.bytes, u64::to_string);
        self.took(answer.took.as_ref(), took);
        Ok(())
    }

    fn ping(&mut self, answer: &expected::PingAnswer, given: &came::PingAnswer) {
        let percent = |value: &f64| format!("{value}%");
        if answer.loss.is_none() && answer.received.is_none() && given.received < given.sent {
            self.add("loss", "0%", percent(&given.loss), None);
        }
        self.bound("loss", answer.loss.as_ref(), given.loss, percent);
        self.bound(
            "received",
            answer.received.as_ref(),
            u64::from(given.received),
            u64::to_string,
        );
        if let Some(rtt) = &answer.rtt {
            match given.rtt {
                Some(times) => {
                    let average = Duration::from_secs_f64(times.avg.max(0.0) / 1e3);
                    self.bound("rtt", Some(rtt), average, |time| seconds(*time));
                }
                None => self.add("rtt", rtt.to_string(), "no reply", Some(&rtt.at)),
            }
        }
        if let Some(ttl) = &answer.ttl {
            match given.ttl {
                Some(hops) => self.bound("ttl", Some(ttl), u64::from(hops), u64::to_string),
                None => self.add("ttl", ttl.to_string(), "no reply", Some(&ttl.at)),
            }
        }
    }

    fn udp(
        &mut self,
        answer: &expected::TcpAnswer,
        given: &came::UdpAnswer,
    ) -> Result<(), Diagnostic> {
        if let Some(text) = &answer.received {
            self.text("received", text, &given.received.to_text())?;
        }
        let took = Duration::try_from_secs_f64(given.rtt_ms / 1e3).unwrap_or_default();
        self.took(answer.took.as_ref(), took);
        Ok(())
    }

    fn tcp(
        &mut self,
        answer: &expected::TcpAnswer,
        given: &came::TcpAnswer,
    ) -> Result<(), Diagnostic> {
        if let Some(text) = &answer.received {
            self.text("received", text, &given.received.to_text())?;
        }
        self.took(
            answer.took.as_ref(),
            Duration::from_secs_f64(given.connect_ms.max(0.0) / 1e3),
        );
        Ok(())
    }

    fn dns(
        &mut self,
        answer: &expected::DnsAnswer,
        given: &came::DnsAnswer,
        took: Duration,
    ) -> Result<(), Diagnostic> {
        let all: Vec<_> = given
            .records
            .iter()
            .map(|record| record.data.as_str())
            .collect();
        let list = || {
            if all.is_empty() {
                "no records".to_owned()
            } else {
                all.join(", ")
            }
        };
        if answer.records.is_empty() && all.is_empty() {
            self.add("records", "at least one record", list(), None);
        }
        for text in &answer.records {
            let mut held = false;
            for data in &all {
                held |= text.check(data, self.scope)?.is_none();
            }
            if !held {
                self.add("records", text.to_string(), list(), Some(&text.at));
            }
        }
        self.took(answer.took.as_ref(), took);
        Ok(())
    }

    fn exec(
        &mut self,
        answer: &expected::ExecAnswer,
        given: &came::ExecAnswer,
        took: Duration,
    ) -> Result<(), Diagnostic> {
        let exit = answer.exit.as_ref();
        let (wanted, at) = exit.map_or((Bound::Exactly(0), None), |exit| {
            (exit.value, Some(&exit.at))
        });
        let held = matches!(given.exit, came::Exit::Code(code) if u64::try_from(code).is_ok_and(|code| wanted.holds(code)));
        if !held {
            self.add("exit", wanted.to_string(), describe::exit(given), at);
        }
        let stdout = given.stdout.to_text();
        if let Some(text) = &answer.stdout {
            self.output("stdout", text, &stdout)?;
        }
        if let Some(text) = &answer.stderr {
            self.output("stderr", text, &given.stderr.to_text())?;
        }
        if let Some(json) = &answer.json {
            self.json("stdout", json, &stdout)?;
        }
        self.took(answer.took.as_ref(), took);
        Ok(())
    }

    /// What a command wrote; the newline at its end counts only for those who expect one.
    fn output(
        &mut self,
        stream: &str,
        text: &expected::TextMatch,
        got: &str,
    ) -> Result<(), Diagnostic> {
        if let Some(line) = got.strip_suffix('\n')
            && text.check(line, self.scope)?.is_none()
        {
            return Ok(());
        }
        self.text(stream, text, got)
    }

    fn text(
        &mut self,
        part: &str,
        text: &expected::TextMatch,
        got: &str,
    ) -> Result<(), Diagnostic> {
        if let Some(found) = text.check(got, self.scope)? {
            self.add(part, found.expected, found.got, Some(&found.at));
        }
        Ok(())
    }

    fn json(
        &mut self,
        part: &str,
        json: &expected::JsonSubset,
        got: &str,
    ) -> Result<(), Diagnostic> {
        let value: Value = match serde_json::from_str(got) {
            Ok(value) => value,
            Err(error) => {
                self.add(
                    part,
                    "JSON",
                    format!("{:?}, which is not JSON: {error}", excerpt(got)),
                    Some(&json.at),
                );
                return Ok(());
            }
        };
        if let Some(found) = json.check(&value, self.scope)? {
            let part = found
                .path
                .as_ref()
                .map_or_else(|| part.to_owned(), |path| format!("{part} at {path}"));
            self.add(&part, found.expected, found.got, Some(&found.at));
        }
        Ok(())
    }

    fn took(
        &mut self,
        bound: Option<&trunkline_scenario::Located<Bound<Duration>>>,
        took: Duration,
    ) {
        self.bound("took", bound, took, |time| seconds(*time));
    }

    fn bound<T: PartialOrd + Copy>(
        &mut self,
        part: &str,
        bound: Option<&trunkline_scenario::Located<Bound<T>>>,
        value: T,
        show: impl Fn(&T) -> String,
    ) where
        Bound<T>: std::fmt::Display,
    {
        if let Some(bound) = bound.filter(|bound| !bound.holds(value)) {
            self.add(part, bound.to_string(), show(&value), Some(&bound.at));
        }
    }

    fn add(
        &mut self,
        part: &str,
        expected: impl Into<String>,
        got: impl AsRef<str>,
        at: Option<&Span>,
    ) {
        let mismatch = Mismatch {
            part: part.to_owned(),
            expected: expected.into(),
            got: excerpt(got.as_ref()),
        };
        self.found.push(Part {
            mismatch,
            at: at.cloned(),
        });
    }
}
