//! Expectations of probes.

use super::value::one_or_many;
use super::{Fields, Reader};
use crate::diagnostic::{Code, Diagnostic};
use crate::grammar::{DNS, EXEC, HTTP, PING, Record, TCP, UDP, UNANSWERED};
use crate::model::{
    Answer, DnsAnswer, ExecAnswer, Expect, HttpAnswer, JsonSubset, Late, ObjectRef, Outcome,
    PingAnswer, StatusMatch, TcpAnswer, TextMatch, Unanswered, Way,
};
use crate::node::{Kind, Node};
use crate::span::{Located, Span};
use crate::suggest;

impl Reader<'_> {
    /// What is expected of `verb`; without a word about it, the verb's default.
    pub(super) fn expect(
        &mut self,
        verb: &str,
        verb_at: &Span,
        node: Option<&Node>,
    ) -> Option<Expect> {
        let Some(node) = node else {
            return Some(Expect {
                at: verb_at.clone(),
                outcome: Outcome::Answered(default_answer(verb)?),
            });
        };
        let outcome = match &node.kind {
            Kind::Text(text) => {
                let text = Located::new(text.clone(), node.at.clone());
                self.ways(verb, &text)?
            }
            Kind::Map(_) => self.described(verb, node)?,
            _ => {
                self.report(
                    Diagnostic::error(
                        Code::WrongType,
                        &node.at,
                        format!(
                            "a probe's expectation is a mapping or a word, not {}",
                            node.describe()
                        ),
                    )
                    .help(format!(
                        "{}; a list of sentences belongs into a step of its own",
                        example(verb)
                    )),
                );
                return None;
            }
        };
        Some(Expect {
            at: node.at.clone(),
            outcome,
        })
    }

    /// `blocked or unreachable`, `answered`.
    fn ways(&mut self, verb: &str, text: &Located<String>) -> Option<Outcome> {
        if text.value == "answered" {
            return default_answer(verb).map(Outcome::Answered);
        }
        if verb == "exec" {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &text.at,
                    format!(
                        "a program is not `{}`: it runs and has an exit code",
                        text.value
                    ),
                )
                .help(format!(
                    "{}; to try the network, use `curl`, `ping`, `tcp`, `udp` or `dns`",
                    example(verb)
                )),
            );
            return None;
        }
        let mut ways = Vec::new();
        for word in text.value.split(" or ").map(str::trim) {
            let Some(way) = Way::ALL.iter().find(|way| way.as_str() == word) else {
                let names = Way::ALL.iter().map(|way| way.as_str()).chain(["answered"]);
                let help = match suggest::closest(word, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "write `blocked`, `refused`, `unreachable` or `unresolved`, several with `or`; {}",
                        example(verb)
                    ),
                };
                self.report(
                    Diagnostic::error(
                        Code::BadValue,
                        &text.at,
                        format!("`{word}` is not a way of not getting through"),
                    )
                    .help(help),
                );
                return None;
            };
            ways.push(Unanswered {
                way: *way,
                by: None,
            });
        }
        Some(Outcome::Unanswered(ways))
    }

    fn described(&mut self, verb: &str, node: &Node) -> Option<Outcome> {
        let record = record_of(verb)?;
        if !self.belongs(verb, record, node) {
            return None;
        }
        let fields = self.open(node, record)?;
        let mut ways = Vec::new();
        if verb != "exec" {
            for way in Way::ALL {
                if let Some(node) = fields.get(way.as_str()) {
                    ways.push(Unanswered {
                        way: *way,
                        by: self.by(node).ok()?,
                    });
                }
            }
        }
        if !fields.complete {
            return None;
        }
        if ways.is_empty() {
            return self.answer(verb, &fields).map(Outcome::Answered);
        }
        let Kind::Map(entries) = &node.kind else {
            return None;
        };
        let answer = entries
            .iter()
            .find(|entry| !Way::ALL.iter().any(|way| way.as_str() == entry.key.value));
        if let Some(answer) = answer {
            self.report(
                Diagnostic::error(
                    Code::Conflict,
                    &answer.key.at,
                    format!(
                        "what does not get through has no answer, so no `{}`",
                        answer.key.value
                    ),
                )
                .help("expect an answer, or a way of not getting through"),
            );
            return None;
        }
        Some(Outcome::Unanswered(ways))
    }

    /// Says whose expectation a key is when it is that of another verb.
    fn belongs(&mut self, verb: &str, record: &Record, node: &Node) -> bool {
        let Kind::Map(entries) = &node.kind else {
            return true;
        };
        let mut all = true;
        for entry in entries {
            let key = entry.key.value.as_str();
            if record.field(key).is_some() {
                continue;
            }
            let owner = ["curl", "ping", "tcp", "udp", "dns", "exec"]
                .into_iter()
                .find(|other| record_of(other).is_some_and(|record| record.field(key).is_some()));
            if let Some(owner) = owner {
                all = false;
                self.report(
                    Diagnostic::error(
                        Code::UnknownField,
                        &entry.key.at,
                        format!("`{key}` is an expectation of `{owner}`, not of `{verb}`"),
                    )
                    .help(example(verb)),
                );
            }
        }
        all
    }

    /// `blocked:`, `blocked: true`, `blocked: {by: …}`.
    fn by(&mut self, node: &Node) -> Given<Late<ObjectRef>> {
        if matches!(node.kind, Kind::Null | Kind::Bool(true)) {
            return Ok(None);
        }
        let fields = self.open(node, &UNANSWERED).ok_or(Reported)?;
        given(fields.get("by"), |node| self.late(node))
    }

    /// Everything is read before anything is given up, so that all mistakes are reported.
    fn answer(&mut self, verb: &str, fields: &Fields<'_>) -> Option<Answer> {
        Some(match verb {
            "curl" => Answer::Http(self.http(fields)?),
            "ping" => Answer::Ping(self.ping_answer(fields)?),
            "tcp" | "udp" => {
                let received = given(fields.get("received"), |node| self.text_match(node));
                let took = given(fields.get("took"), |node| self.time(node));
                let answer = TcpAnswer {
                    received: received.ok()?,
                    took: took.ok()?,
                };
                if verb == "tcp" {
                    Answer::Tcp(answer)
                } else {
                    Answer::Udp(answer)
                }
            }
            "dns" => {
                let records = given(fields.get("records"), |node| self.text_matches(node));
                let took = given(fields.get("took"), |node| self.time(node));
                Answer::Dns(DnsAnswer {
                    records: records.ok()?.unwrap_or_default(),
                    took: took.ok()?,
                })
            }
            "exec" => Answer::Exec(self.exec_answer(fields)?),
            _ => return None,
        })
    }

    fn http(&mut self, fields: &Fields<'_>) -> Option<HttpAnswer> {
        let status = given(fields.get("status"), |node| self.status(node));
        let headers = given(fields.get("headers"), |node| self.headers(node));
        let body = given(fields.get("body"), |node| self.text_match(node));
        let json = given(fields.get("json"), |node| self.subset(node));
        let bytes = given(fields.get("bytes"), |node| self.count(node));
        let took = given(fields.get("took"), |node| self.time(node));
        Some(HttpAnswer {
            status: status.ok()?,
            headers: headers.ok()?.unwrap_or_default(),
            body: body.ok()?,
            json: json.ok()?,
            bytes: bytes.ok()?,
            took: took.ok()?,
        })
    }

    fn headers(&mut self, node: &Node) -> Option<Vec<(Located<String>, TextMatch)>> {
        self.table(node, "the headers of the answer")?
            .into_iter()
            .map(|(name, value)| Some((name.clone(), self.text_match(value)?)))
            .collect()
    }

    fn ping_answer(&mut self, fields: &Fields<'_>) -> Option<PingAnswer> {
        let loss = given(fields.get("loss"), |node| self.percent(node));
        let received = given(fields.get("received"), |node| self.count(node));
        let rtt = given(fields.get("rtt"), |node| self.time(node));
        let ttl = given(fields.get("ttl"), |node| self.count(node));
        Some(PingAnswer {
            loss: loss.ok()?,
            received: received.ok()?,
            rtt: rtt.ok()?,
            ttl: ttl.ok()?,
        })
    }

    fn exec_answer(&mut self, fields: &Fields<'_>) -> Option<ExecAnswer> {
        let exit = given(fields.get("exit"), |node| self.count(node));
        let stdout = given(fields.get("stdout"), |node| self.text_match(node));
        let stderr = given(fields.get("stderr"), |node| self.text_match(node));
        let json = given(fields.get("json"), |node| self.subset(node));
        let took = given(fields.get("took"), |node| self.time(node));
        Some(ExecAnswer {
            exit: exit.ok()?,
            stdout: stdout.ok()?,
            stderr: stderr.ok()?,
            json: json.ok()?,
            took: took.ok()?,
        })
    }

    fn text_matches(&mut self, node: &Node) -> Option<Vec<TextMatch>> {
        one_or_many(node)
            .into_iter()
            .map(|node| self.text_match(node))
            .collect()
    }

    fn subset(&mut self, node: &Node) -> Option<JsonSubset> {
        Some(JsonSubset {
            at: node.at.clone(),
            value: self.json(node)?,
        })
    }

    fn status(&mut self, node: &Node) -> Option<Located<StatusMatch>> {
        if let Kind::List(items) = &node.kind {
            let all = items
                .iter()
                .map(|item| self.status(item).map(|status| status.value))
                .collect::<Option<Vec<_>>>()?;
            return Some(Located::new(StatusMatch::Any(all), node.at.clone()));
        }
        let written = self.loose_text(node)?;
        let class = written
            .strip_suffix("xx")
            .and_then(|class| class.parse().ok())
            .filter(|class| (1..=5).contains(class))
            .map(StatusMatch::Class);
        let code = written
            .parse()
            .ok()
            .filter(|code| (100..=599).contains(code))
            .map(StatusMatch::Code);
        let found = class.or(code);
        if found.is_none() {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &written.at,
                    format!("`{}` is not an HTTP status", written.value),
                )
                .help("write `200`, `2xx` or `[200, 204]`"),
            );
        }
        found.map(|status| Located::new(status, written.at))
    }
}

/// What is wrong is among the diagnostics.
struct Reported;

/// Absent is fine; present and wrong is not.
type Given<T> = Result<Option<T>, Reported>;

fn given<T>(node: Option<&Node>, read: impl FnOnce(&Node) -> Option<T>) -> Given<T> {
    match node {
        Some(node) => read(node).map(Some).ok_or(Reported),
        None => Ok(None),
    }
}

fn record_of(verb: &str) -> Option<&'static Record> {
    Some(match verb {
        "curl" => &HTTP,
        "ping" => &PING,
        "tcp" => &TCP,
        "udp" => &UDP,
        "dns" => &DNS,
        "exec" => &EXEC,
        _ => return None,
    })
}

fn default_answer(verb: &str) -> Option<Answer> {
    Some(match verb {
        "curl" => Answer::Http(HttpAnswer::default()),
        "ping" => Answer::Ping(PingAnswer::default()),
        "tcp" => Answer::Tcp(TcpAnswer::default()),
        "udp" => Answer::Udp(TcpAnswer::default()),
        "dns" => Answer::Dns(DnsAnswer::default()),
        "exec" => Answer::Exec(ExecAnswer::default()),
        _ => return None,
    })
}

fn example(verb: &str) -> &'static str {
    match verb {
        "curl" => "of a `curl` expect `{status: 200, body: blue-server}`",
        "ping" => "of a `ping` expect `{loss: 0%}`",
        "tcp" => "of a `tcp` expect `{received: {contains: SSH}}`",
        "udp" => "of a `udp` expect `{received: {contains: pong}}`",
        "dns" => "of a `dns` expect `{records: 10.96.0.1}`",
        _ => "of an `exec` expect `{exit: 0, stdout: {contains: net1}}`",
    }
}
