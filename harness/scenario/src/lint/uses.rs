//! Which names a step uses, and when in the step.

use crate::model::{
    Action, Answer, Body, Call, CaptureSpec, Cel, Condition, Curl, ExecAnswer, Expect, Hole,
    HttpAnswer, JsonTemplate, Late, OBJECT_NAMES, Outcome, Probe, Statement, Step, Target,
    Template, TextMatch, UntilSpec,
};
use crate::span::Span;

/// A name and where it is used.
#[derive(Debug, Clone)]
pub(crate) struct Use {
    pub(crate) name: String,
    /// What is wanted of it, as in `${name.ip}`; empty in CEL, which is not looked into.
    pub(crate) fields: Vec<String>,
    pub(crate) at: Span,
}

/// Names used before the step captures anything.
pub(crate) fn before(step: &Step) -> Vec<Use> {
    let mut uses = Uses::default();
    match &step.action {
        Action::Apply(apply) => {
            if let Some(rejected) = &apply.rejected
                && let Some(message) = &rejected.message
            {
                uses.text(message);
            }
        }
        Action::Delete(delete) => {
            for target in &delete.targets {
                if let Target::Object(object) = target {
                    uses.late(object);
                }
            }
        }
        Action::Run(_, targets) => targets.iter().for_each(|target| uses.late(target)),
        Action::Probe(probes) => probes.iter().for_each(|probe| uses.probe(probe)),
        Action::Look => {}
    }
    for until in &step.until {
        match until {
            UntilSpec::Sentence(sentence) => uses.late(sentence),
            UntilSpec::Fields {
                object, condition, ..
            } => {
                uses.late(object);
                if let Condition::That(cel) = condition {
                    uses.cel(cel, OBJECT_NAMES);
                }
            }
        }
    }
    uses.found
}

pub(crate) fn capture(capture: &CaptureSpec) -> Vec<Use> {
    let mut uses = Uses::default();
    match capture {
        CaptureSpec::Sentence(sentence) => uses.late(sentence),
        CaptureSpec::Fields { object, value, .. } => {
            uses.late(object);
            uses.cel(value, OBJECT_NAMES);
        }
    }
    uses.found
}

pub(crate) fn statement(statement: &Statement) -> Vec<Use> {
    let mut uses = Uses::default();
    match statement {
        Statement::Compare { text, .. } => uses.template(text),
        Statement::That(cel) => uses.cel(cel, &[]),
    }
    uses.found
}

#[derive(Default)]
struct Uses {
    found: Vec<Use>,
}

impl Uses {
    fn holes<'a>(&mut self, holes: impl IntoIterator<Item = &'a Hole>) {
        self.found.extend(holes.into_iter().map(|hole| Use {
            name: hole.name().to_owned(),
            fields: hole.path.iter().skip(1).cloned().collect(),
            at: hole.at.clone(),
        }));
    }

    fn template(&mut self, template: &Template) {
        self.holes(template.holes());
    }

    fn late<T>(&mut self, late: &Late<T>) {
        self.template(late.template());
    }

    fn json(&mut self, json: &JsonTemplate) {
        self.holes(json.holes());
    }

    fn cel(&mut self, cel: &Cel, own: &[&str]) {
        let names = cel.variables();
        self.found.extend(
            names
                .into_iter()
                .filter(|name| !own.contains(&name.as_str()))
                .map(|name| Use {
                    name,
                    fields: Vec::new(),
                    at: cel.at().clone(),
                }),
        );
    }

    fn text(&mut self, text: &TextMatch) {
        let all = text.is.iter().chain(&text.contains).chain(&text.lacks);
        all.for_each(|template| self.template(template));
    }

    fn probe(&mut self, probe: &Probe) {
        self.late(&probe.from);
        match &probe.call {
            Call::Curl(curl) => self.curl(curl),
            Call::Ping(ping) => self.template(&ping.host),
            Call::Tcp(tcp) => {
                self.template(&tcp.host);
                self.template(&tcp.port);
                tcp.send.iter().for_each(|send| self.template(send));
            }
            Call::Udp(udp) => {
                self.template(&udp.host);
                self.template(&udp.port);
                udp.send.iter().for_each(|send| self.template(send));
            }
            Call::Dns(dns) => {
                self.template(&dns.name);
                dns.server.iter().for_each(|server| self.template(server));
            }
            Call::Exec(exec) => {
                exec.argv.iter().for_each(|word| self.template(word));
                exec.stdin.iter().for_each(|stdin| self.template(stdin));
            }
        }
        self.expect(&probe.expect);
    }

    fn curl(&mut self, curl: &Curl) {
        self.template(&curl.url);
        curl.headers
            .iter()
            .for_each(|(_, value)| self.template(value));
        match &curl.body {
            Some(Body::Text(body)) => self.template(body),
            Some(Body::Json(body)) => self.json(body),
            None => {}
        }
    }

    fn expect(&mut self, expect: &Expect) {
        match &expect.outcome {
            Outcome::Unanswered(ways) => {
                let by = ways.iter().filter_map(|way| way.by.as_ref());
                by.for_each(|by| self.late(by));
            }
            Outcome::Answered(Answer::Http(answer)) => self.http(answer),
            Outcome::Answered(Answer::Tcp(answer) | Answer::Udp(answer)) => {
                answer.received.iter().for_each(|text| self.text(text));
            }
            Outcome::Answered(Answer::Dns(answer)) => {
                answer.records.iter().for_each(|text| self.text(text));
            }
            Outcome::Answered(Answer::Exec(answer)) => self.exec(answer),
            Outcome::Answered(Answer::Ping(_)) => {}
        }
    }

    fn http(&mut self, answer: &HttpAnswer) {
        answer.headers.iter().for_each(|(_, text)| self.text(text));
        answer.body.iter().for_each(|text| self.text(text));
        answer.json.iter().for_each(|json| self.json(&json.value));
    }

    fn exec(&mut self, answer: &ExecAnswer) {
        let texts = answer.stdout.iter().chain(&answer.stderr);
        texts.for_each(|text| self.text(text));
        answer.json.iter().for_each(|json| self.json(&json.value));
    }
}
