//! Probes.

use std::time::Duration;

use super::{Fields, Reader};
use crate::diagnostic::{Code, Diagnostic};
use crate::grammar::{CURL, DNS_CALL, EXEC_CALL, MEMBER, PING_CALL, TCP_CALL, UDP_CALL};
use crate::model::{
    Body, Call, Curl, Dns, Exec, Late, Ping, Probe, RecordType, Source, Tcp, Template, Udp,
};
use crate::node::{Entry, Kind, Node};
use crate::span::Located;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What a step's probe may leave to the step.
pub(super) struct Inherited<'a> {
    pub(super) from: Option<&'a Late<Source>>,
    /// Whether the step has a source, even one that was refused.
    pub(super) given: bool,
}

impl Reader<'_> {
    /// One of `together`.
    pub(super) fn member(&mut self, node: &Node, inherited: &Inherited<'_>) -> Option<Probe> {
        let fields = self.open(node, &MEMBER)?;
        let Some(verb) = fields.verb() else {
            self.report(
                Diagnostic::error(
                    Code::MissingField,
                    &super::first_line(node),
                    "this probe has no verb",
                )
                .help("add `curl`, `ping`, `tcp`, `udp`, `dns` or `exec`"),
            );
            return None;
        };
        if fields.has_planned() {
            return None;
        }
        let title = match fields.get("title") {
            Some(node) => Some(self.text(node)?),
            None => None,
        };
        let mut probe = self.probe(&fields, verb, inherited)?;
        probe.title = title;
        probe.known = self.known(&fields);
        probe.retry = self.retry(&fields);
        fields.complete.then_some(probe)
    }

    /// The probe of a step or of a member of `together`: verb, source, expectation, deadline.
    pub(super) fn probe(
        &mut self,
        fields: &Fields<'_>,
        verb: &Entry,
        inherited: &Inherited<'_>,
    ) -> Option<Probe> {
        let from = self.source(fields, verb, inherited);
        let call = self.call(verb);
        let timeout = self.optional_duration(fields, "timeout");
        let expect = self.expect(&verb.key.value, &verb.key.at, fields.get("expect"));
        Some(Probe {
            at: fields.at.clone(),
            title: None,
            from: from?,
            call: call?,
            expect: expect?,
            known: None,
            retry: None,
            timeout,
        })
    }

    fn source(
        &mut self,
        fields: &Fields<'_>,
        verb: &Entry,
        inherited: &Inherited<'_>,
    ) -> Option<Late<Source>> {
        if let Some(node) = fields.get("from") {
            return self.late(node);
        }
        if !inherited.given {
            self.report(
                Diagnostic::error(
                    Code::MissingField,
                    &verb.key.at,
                    format!("`{}` does not say where it starts", verb.key.value),
                )
                .help("add `from: pod/NAMESPACE/NAME` or `from: vm/NAMESPACE/NAME` beside it"),
            );
        }
        inherited.from.cloned()
    }

    fn call(&mut self, verb: &Entry) -> Option<Call> {
        let node = &verb.value;
        match verb.key.value.as_str() {
            "curl" => self.curl(node).map(Call::Curl),
            "ping" => self.ping(node).map(Call::Ping),
            "tcp" => self.tcp(node).map(Call::Tcp),
            "udp" => self.udp(node).map(Call::Udp),
            "dns" => self.dns(node).map(Call::Dns),
            "exec" => self.exec(node).map(Call::Exec),
            _ => None,
        }
    }

    fn curl(&mut self, node: &Node) -> Option<Curl> {
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(Curl {
                url: self.url(node)?,
                method: "GET".to_owned(),
                headers: Vec::new(),
                body: None,
            });
        }
        let fields = self.open(node, &CURL)?;
        let url = self.url(fields.get("url")?)?;
        let mut headers = Vec::new();
        if let Some(node) = fields.get("headers") {
            for (name, value) in self.table(node, "the headers to send")? {
                headers.push((name.clone(), self.template(value)?));
            }
        }
        let body = match (fields.entry("body"), fields.entry("json")) {
            (Some(_), Some(json)) => {
                self.report(
                    Diagnostic::error(
                        Code::Conflict,
                        &json.key.at,
                        "a request carries `body` or `json`, not both",
                    )
                    .help("keep `json` for JSON, `body` for any other text"),
                );
                return None;
            }
            (Some(body), None) => Some(Body::Text(self.template(&body.value)?)),
            (None, Some(json)) => Some(Body::Json(self.json(&json.value)?)),
            (None, None) => None,
        };
        let method = match fields.get("method") {
            Some(node) => {
                self.word(node, METHODS.iter().map(|word| (*word, *word)))?
                    .value
            }
            None if body.is_some() => "POST",
            None => "GET",
        };
        Some(Curl {
            url,
            method: method.to_owned(),
            headers,
            body,
        })
    }

    fn url(&mut self, node: &Node) -> Option<Template> {
        let mut text = self.text(node)?;
        match text.value.split_once("://") {
            None => text.value.insert_str(0, "http://"),
            Some(("http" | "https", _)) => {}
            Some((scheme, _)) if scheme.contains("${") => {}
            Some((scheme, _)) => {
                self.report(
                    Diagnostic::error(
                        Code::BadValue,
                        &text.at,
                        format!("`curl` does not speak `{scheme}`"),
                    )
                    .help(
                        "write an `http://` or `https://` URL; for other protocols there is `tcp`",
                    ),
                );
                return None;
            }
        }
        self.accept(Template::parse(&text))
    }

    fn ping(&mut self, node: &Node) -> Option<Ping> {
        let mut ping = Ping {
            host: Template::parse(&Located::new(String::new(), node.at.clone())).ok()?,
            count: Ping::DEFAULT_COUNT,
            every: Ping::DEFAULT_EVERY,
            size: Ping::DEFAULT_SIZE,
        };
        if !matches!(node.kind, Kind::Map(_)) {
            ping.host = self.template(node)?;
            return Some(ping);
        }
        let fields = self.open(node, &PING_CALL)?;
        ping.host = self.template(fields.get("host")?)?;
        if let Some(node) = fields.get("count") {
            let count = self.integer(node, 1, 10_000)?.value;
            ping.count = u32::try_from(count).ok()?;
        }
        if let Some(node) = fields.get("every") {
            ping.every = self.duration(node)?.value;
        }
        if let Some(node) = fields.get("size") {
            let size = self.integer(node, 0, 65_507)?.value;
            ping.size = u16::try_from(size).ok()?;
        }
        Some(ping)
    }

    fn tcp(&mut self, node: &Node) -> Option<Tcp> {
        if matches!(node.kind, Kind::Map(_)) {
            let fields = self.open(node, &TCP_CALL)?;
            let send = match fields.get("send") {
                Some(node) => Some(self.template(node)?),
                None => None,
            };
            return Some(Tcp {
                host: self.template(fields.get("host")?)?,
                port: self.port(fields.get("port")?)?,
                send,
            });
        }
        let (host, port) = self.host_and_port(node)?;
        Some(Tcp {
            host,
            port,
            send: None,
        })
    }

    fn udp(&mut self, node: &Node) -> Option<Udp> {
        if matches!(node.kind, Kind::Map(_)) {
            let fields = self.open(node, &UDP_CALL)?;
            let send = match fields.get("send") {
                Some(node) => Some(self.template(node)?),
                None => None,
            };
            return Some(Udp {
                host: self.template(fields.get("host")?)?,
                port: self.port(fields.get("port")?)?,
                send,
            });
        }
        let (host, port) = self.host_and_port(node)?;
        Some(Udp {
            host,
            port,
            send: None,
        })
    }

    /// `HOST:PORT`.
    fn host_and_port(&mut self, node: &Node) -> Option<(Template, Template)> {
        let text = self.text(node)?;
        let Some((host, port)) = split_port(&text) else {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &text.at,
                    format!("`{}` has no port", text.value),
                )
                .help("write `HOST:PORT`, as in `${database.ip}:5432`"),
            );
            return None;
        };
        let half = |half: &str| Located::new(half.to_owned(), text.at.clone());
        Some((
            self.accept(Template::parse(&half(host)))?,
            self.accept(Template::parse(&half(port)))?,
        ))
    }

    fn port(&mut self, node: &Node) -> Option<Template> {
        if let Kind::Number(_) = node.kind {
            self.integer(node, 1, 65_535)?;
        }
        self.template(node)
    }

    fn dns(&mut self, node: &Node) -> Option<Dns> {
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(Dns {
                name: self.template(node)?,
                record: RecordType::A,
                server: None,
            });
        }
        let fields = self.open(node, &DNS_CALL)?;
        let record = match fields.get("type") {
            Some(node) => {
                let words = RecordType::ALL
                    .iter()
                    .map(|record| (record.as_str(), *record));
                self.word(node, words)?.value
            }
            None => RecordType::A,
        };
        let server = match fields.get("server") {
            Some(node) => Some(self.template(node)?),
            None => None,
        };
        Some(Dns {
            name: self.template(fields.get("name")?)?,
            record,
            server,
        })
    }

    fn exec(&mut self, node: &Node) -> Option<Exec> {
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(Exec {
                argv: self.words(node)?,
                stdin: None,
            });
        }
        let fields = self.open(node, &EXEC_CALL)?;
        let stdin = match fields.get("stdin") {
            Some(node) => Some(self.template(node)?),
            None => None,
        };
        Some(Exec {
            argv: self.words(fields.get("command")?)?,
            stdin,
        })
    }

    fn words(&mut self, node: &Node) -> Option<Vec<Template>> {
        let words: Vec<Located<String>> = if let Kind::List(items) = &node.kind {
            items
                .iter()
                .map(|item| self.loose_text(item))
                .collect::<Option<_>>()?
        } else {
            let text = self.text(node)?;
            match split_words(&text) {
                Ok(words) => words
                    .into_iter()
                    .map(|word| Located::new(word, text.at.clone()))
                    .collect(),
                Err(quote) => {
                    self.report(
                        Diagnostic::error(
                            Code::BadValue,
                            &text.at,
                            format!("the quote {quote} is never closed"),
                        )
                        .help("close it, or write the words as a list"),
                    );
                    return None;
                }
            }
        };
        if words.is_empty() {
            self.report(
                Diagnostic::error(Code::BadValue, &node.at, "there is no program to run")
                    .help("write its name and arguments, as in `ip address show net1`"),
            );
            return None;
        }
        words
            .iter()
            .map(|word| self.accept(Template::parse(word)))
            .collect()
    }

    pub(super) fn optional_duration(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
    ) -> Option<Located<Duration>> {
        fields.get(key).and_then(|node| self.duration(node))
    }
}

/// `host:port`, with `[…]` around an IPv6 address.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let number = port.parse::<u16>().is_ok_and(|port| port > 0);
    let hole = port.starts_with("${") && port.ends_with('}');
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    ((number || hole) && !host.is_empty()).then_some((host, port))
}

/// Words separated by blanks; `'…'` and `"…"` group, a backslash takes the next character as it is.
/// Inside of `${…}` nothing is special.
fn split_words(text: &str) -> Result<Vec<String>, char> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let taken = characters.next().unwrap_or('\\');
                word.get_or_insert_default().push(taken);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    match quote {
        Some(quote) => Err(quote),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{split_port, split_words};

    #[rstest]
    #[case("ip  address show net1", &["ip", "address", "show", "net1"])]
    #[case("psql -c 'select 1'", &["psql", "-c", "select 1"])]
    #[case(r#"a "b \" c" d\ e ''"#, &["a", "b \" c", "d e", ""])]
    #[case("x='1 2'", &["x=1 2"])]
    #[case("", &[])]
    fn words(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(split_words(text).unwrap(), expected);
    }

    #[test]
    fn open_quote() {
        assert_eq!(split_words("sh -c \"echo"), Err('"'));
    }

    #[rstest]
    #[case("10.0.0.1:80", Some(("10.0.0.1", "80")))]
    #[case("${db.ip}:5432", Some(("${db.ip}", "5432")))]
    #[case("[fd00::1]:80", Some(("fd00::1", "80")))]
    #[case("db:${port}", Some(("db", "${port}")))]
    #[case("db", None)]
    #[case("db:0", None)]
    #[case(":80", None)]
    fn ports(#[case] text: &str, #[case] expected: Option<(&str, &str)>) {
        assert_eq!(split_port(text), expected);
    }
}
