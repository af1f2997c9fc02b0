//! Steps.

use super::probe::Inherited;
use super::value::{is_file, one_or_many};
use super::{Fields, Reader, first_line, with_article};
use crate::diagnostic::{Code, Diagnostic};
use crate::grammar::{APPLY, CAPTURE, DELETE, KNOWN, REJECTED, RETRY, STATEMENT, STEP, UNTIL};
use crate::model::{
    Action, Apply, CaptureSpec, Condition, Delete, ExpectedFailure, Late, Let, Lifecycle,
    ObjectRef, Phrase, Rejected, Retry, Statement, Step, Target, Until, UntilSpec, is_name,
};
use crate::node::{Entry, Kind, Node};
use crate::sentence;
use crate::span::Located;
use crate::suggest;

impl Reader<'_> {
    /// A list of steps, without those that belong to other cases.
    pub(super) fn steps(&mut self, node: &Node) -> Vec<Step> {
        let Some(items) = self.list(node, "steps") else {
            return Vec::new();
        };
        items.iter().filter_map(|item| self.step(item)).collect()
    }

    fn step(&mut self, node: &Node) -> Option<Step> {
        let fields = self.open(node, &STEP)?;
        if !self.in_this_case(&fields) {
            return None;
        }
        let title = fields.get("title").and_then(|node| self.text(node));
        let until = self.untils(&fields);
        let lets = self.lets(&fields);
        let known = self.known(&fields);
        let retry = self.retry(&fields);
        let timeout = self.optional_duration(&fields, "timeout");
        if fields.has_planned() {
            return None;
        }
        let (action, statements) = self.action(node, &fields)?;
        if let Action::Probe(probes) = &action
            && probes.is_empty()
        {
            return None;
        }
        Some(Step {
            at: fields.at.clone(),
            title: title?,
            action,
            until,
            lets,
            statements,
            known,
            retry,
            timeout,
        })
    }

    fn action(&mut self, node: &Node, fields: &Fields<'_>) -> Option<(Action, Vec<Statement>)> {
        let expect = fields.get("expect");
        let Some(verb) = fields.verb() else {
            self.forbid_from(fields);
            let idle = ["until", "let", "expect"]
                .iter()
                .all(|key| fields.get(key).is_none());
            if idle && !fields.complete {
                // an unknown key was perhaps the verb
                return None;
            }
            if idle {
                self.report(
                    Diagnostic::error(Code::MissingField, &first_line(node), "this step does nothing").help(
                        "add a verb (`apply`, `delete`, `restart`, `curl`, `ping`, `tcp`, `udp`, `dns`, `exec`, \
                         `together`), or `until`, `let`, `expect`",
                    ),
                );
                return None;
            }
            let statements = expect.map(|node| self.statements(node)).unwrap_or_default();
            return Some((Action::Look, statements));
        };
        match verb.key.value.as_str() {
            "apply" => {
                self.forbid_from(fields);
                let (rejected, statements) = self.rejected_or_statements(expect);
                let mut apply = self.apply(&verb.value)?;
                apply.rejected = rejected;
                Some((Action::Apply(apply), statements))
            }
            "delete" => {
                self.forbid_from(fields);
                let statements = expect.map(|node| self.statements(node)).unwrap_or_default();
                Some((Action::Delete(self.delete(&verb.value)?), statements))
            }
            "start" | "stop" | "restart" => {
                self.forbid_from(fields);
                let statements = expect.map(|node| self.statements(node)).unwrap_or_default();
                Some((self.lifecycle(verb)?, statements))
            }
            "together" => {
                let from = fields.get("from").and_then(|node| self.late(node));
                let inherited = Inherited {
                    from: from.as_ref(),
                    given: fields.get("from").is_some(),
                };
                self.together(fields, verb, &inherited)
                    .map(|action| (action, Vec::new()))
            }
            _ => {
                let nothing = Inherited {
                    from: None,
                    given: false,
                };
                let probe = self.probe(fields, verb, &nothing)?;
                Some((Action::Probe(vec![probe]), Vec::new()))
            }
        }
    }

    fn lifecycle(&mut self, verb: &Entry) -> Option<Action> {
        let what = *Lifecycle::ALL
            .iter()
            .find(|what| what.verb() == verb.key.value)?;
        let nodes = one_or_many(&verb.value);
        if nodes.is_empty() {
            self.report(
                Diagnostic::error(
                    Code::BadValue,
                    &verb.value.at,
                    format!("there is nothing to {}", what.verb()),
                )
                .help("write `vm/NAMESPACE/NAME`"),
            );
            return None;
        }
        let mut targets: Vec<Late<ObjectRef>> = Vec::new();
        for node in nodes {
            let target: Late<ObjectRef> = self.late(node)?;
            if let Some(object) = target.known()
                && !what.kinds().contains(&object.canonical_kind())
            {
                self.report(
                    Diagnostic::error(
                        Code::BadValue,
                        target.at(),
                        format!(
                            "`{}` does not go with {}",
                            what.verb(),
                            with_article(&object.kind)
                        ),
                    )
                    .help(format!(
                        "it goes with {}",
                        suggest::listed(what.kinds().iter().copied())
                    )),
                );
                return None;
            }
            targets.push(target);
        }
        Some(Action::Run(what, targets))
    }

    fn together(
        &mut self,
        fields: &Fields<'_>,
        verb: &Entry,
        inherited: &Inherited<'_>,
    ) -> Option<Action> {
        if let Some(expect) = fields.entry("expect") {
            self.report(
                Diagnostic::error(
                    Code::Conflict,
                    &expect.key.at,
                    "`together` has no expectation of its own",
                )
                .help("each probe of the list has its own `expect`"),
            );
        }
        let items = self.list(&verb.value, "probes")?;
        if items.is_empty() {
            self.report(
                Diagnostic::error(Code::BadValue, &verb.key.at, "there is no probe to start")
                    .help("list probes under `together`"),
            );
        }
        let probes = items
            .iter()
            .filter_map(|item| self.member(item, inherited))
            .collect();
        Some(Action::Probe(probes))
    }

    fn forbid_from(&mut self, fields: &Fields<'_>) {
        if let Some(from) = fields.entry("from") {
            self.report(
                Diagnostic::error(Code::Conflict, &from.key.at, "`from` belongs to a probe")
                    .help("add `curl`, `ping`, `tcp`, `udp`, `dns` or `exec`, or leave `from` out"),
            );
        }
    }

    fn in_this_case(&mut self, fields: &Fields<'_>) -> bool {
        let Some(table) = fields
            .get("when")
            .and_then(|node| self.table(node, "parameters"))
        else {
            return true;
        };
        table.into_iter().all(|(name, value)| {
            let chosen = self
                .case
                .0
                .iter()
                .find(|(parameter, _)| *parameter == name.value);
            let Some((_, chosen)) = chosen.cloned() else {
                self.report(
                    Diagnostic::error(
                        Code::UnknownName,
                        &name.at,
                        format!("there is no parameter `{}`", name.value),
                    )
                    .help("declare it in `parameters`"),
                );
                return true;
            };
            one_or_many(value).into_iter().any(|item| {
                self.loose_text(item)
                    .is_some_and(|text| text.value == chosen)
            })
        })
    }

    fn untils(&mut self, fields: &Fields<'_>) -> Vec<UntilSpec> {
        let Some(node) = fields.get("until") else {
            return Vec::new();
        };
        one_or_many(node)
            .into_iter()
            .filter_map(|item| self.until(item))
            .collect()
    }

    fn until(&mut self, node: &Node) -> Option<UntilSpec> {
        if !matches!(node.kind, Kind::Map(_)) {
            return self.late(node).map(UntilSpec::Sentence);
        }
        let fields = self.open(node, &UNTIL)?;
        let object = self.late(fields.get("object")?)?;
        let hold = self
            .optional_duration(&fields, "for")
            .map(|hold| hold.value);
        let timeout = self.optional_duration(&fields, "timeout");
        let condition = match (fields.get("is"), fields.get("that")) {
            (Some(is), _) => self.is(is)?,
            (None, Some(that)) => Condition::That(self.cel(that)?),
            (None, None) => {
                self.report(
                    Diagnostic::error(
                        Code::MissingField,
                        &first_line(node),
                        "this does not say what must be true",
                    )
                    .help("add `is: Ready`, or `that:` with a CEL expression over `object`"),
                );
                return None;
            }
        };
        fields.complete.then_some(UntilSpec::Fields {
            at: node.at.clone(),
            object,
            condition,
            hold,
            timeout,
        })
    }

    fn is(&mut self, node: &Node) -> Option<Condition> {
        let text = self.text(node)?;
        match Until::parse_phrase(&format!("pod/x/x is {}", text.value)) {
            Ok(until) => Some(until.condition),
            Err(error) => {
                self.report(
                    Diagnostic::error(Code::BadSentence, &text.at, error.message).help(error.help),
                );
                None
            }
        }
    }

    fn lets(&mut self, fields: &Fields<'_>) -> Vec<Let> {
        let Some(table) = fields
            .get("let")
            .and_then(|node| self.table(node, "what to capture"))
        else {
            return Vec::new();
        };
        table
            .into_iter()
            .filter_map(|(name, node)| {
                if !is_name(name) {
                    self.report(
                        Diagnostic::error(
                            Code::BadValue,
                            &name.at,
                            format!("`{}` is not a name", name.value),
                        )
                        .help("names begin with a letter and hold letters, digits and underscores"),
                    );
                    return None;
                }
                let capture = self.capture(node)?;
                Some(Let {
                    name: name.clone(),
                    capture,
                })
            })
            .collect()
    }

    fn capture(&mut self, node: &Node) -> Option<CaptureSpec> {
        if !matches!(node.kind, Kind::Map(_)) {
            return self.late(node).map(CaptureSpec::Sentence);
        }
        let fields = self.open(node, &CAPTURE)?;
        let object = self.late(fields.get("object")?);
        let value = self.cel(fields.get("value")?);
        Some(CaptureSpec::Fields {
            at: node.at.clone(),
            object: object?,
            value: value?,
        })
    }

    fn statements(&mut self, node: &Node) -> Vec<Statement> {
        one_or_many(node)
            .into_iter()
            .filter_map(|item| self.statement(item))
            .collect()
    }

    fn statement(&mut self, node: &Node) -> Option<Statement> {
        if matches!(node.kind, Kind::Map(_)) {
            let fields = self.open(node, &STATEMENT)?;
            return self.cel(fields.get("that")?).map(Statement::That);
        }
        let text = self.text(node)?;
        self.accept(sentence::parse(&text))
    }

    /// Of an `apply`: `{rejected: …}`, or sentences.
    fn rejected_or_statements(
        &mut self,
        expect: Option<&Node>,
    ) -> (Option<Rejected>, Vec<Statement>) {
        let Some(node) = expect else {
            return (None, Vec::new());
        };
        let short = matches!(&node.kind, Kind::Text(text) if text == "rejected");
        let Some(described) = node.get("rejected").or(short.then_some(node)) else {
            return (None, self.statements(node));
        };
        let mut rejected = Rejected {
            at: node.at.clone(),
            reason: None,
            message: None,
        };
        if matches!(described.kind, Kind::Map(_))
            && let Some(fields) = self.open(described, &REJECTED)
        {
            rejected.reason = fields.get("reason").and_then(|node| self.text(node));
            rejected.message = fields.get("message").and_then(|node| self.text_match(node));
        }
        (Some(rejected), Vec::new())
    }

    fn apply(&mut self, node: &Node) -> Option<Apply> {
        let (files, namespace) = if matches!(node.kind, Kind::Map(_)) {
            let fields = self.open(node, &APPLY)?;
            let namespace = fields.get("namespace").and_then(|node| self.text(node));
            if !fields.complete {
                return None;
            }
            (one_or_many(fields.get("files")?), namespace)
        } else {
            (one_or_many(node), None)
        };
        let files: Vec<_> = files
            .into_iter()
            .map(|file| self.path(file))
            .collect::<Option<_>>()?;
        Some(Apply {
            files,
            namespace,
            rejected: None,
        })
    }

    fn delete(&mut self, node: &Node) -> Option<Delete> {
        let (targets, namespace) = if matches!(node.kind, Kind::Map(_)) {
            let fields = self.open(node, &DELETE)?;
            let namespace = fields.get("namespace").and_then(|node| self.text(node));
            let nodes = ["objects", "files"]
                .iter()
                .filter_map(|key| fields.get(key))
                .flat_map(|node| one_or_many(node))
                .collect();
            (nodes, namespace)
        } else {
            (one_or_many(node), None)
        };
        if targets.is_empty() {
            self.report(
                Diagnostic::error(Code::BadValue, &node.at, "there is nothing to delete")
                    .help("write `pod/NAMESPACE/NAME`, or the path of a manifest"),
            );
        }
        let targets = targets
            .into_iter()
            .map(|node| self.target(node))
            .collect::<Option<_>>()?;
        Some(Delete { targets, namespace })
    }

    fn target(&mut self, node: &Node) -> Option<Target> {
        let text = self.text(node)?;
        if is_file(&text) {
            self.path(node).map(Target::File)
        } else {
            self.late(node).map(Target::Object)
        }
    }

    /// `known: reason`, or `{because, issue}`.
    pub(super) fn known(&mut self, fields: &Fields<'_>) -> Option<ExpectedFailure> {
        let node = fields.get("known")?;
        if !matches!(node.kind, Kind::Map(_)) {
            return Some(ExpectedFailure {
                at: node.at.clone(),
                because: self.text(node)?,
                issue: None,
            });
        }
        let fields = self.open(node, &KNOWN)?;
        Some(ExpectedFailure {
            at: node.at.clone(),
            because: self.text(fields.get("because")?)?,
            issue: fields.get("issue").and_then(|node| self.text(node)),
        })
    }

    pub(super) fn retry(&mut self, fields: &Fields<'_>) -> Option<Retry> {
        let node = fields.get("retry")?;
        let fields = self.open(node, &RETRY)?;
        let times = self.integer(fields.get("times")?, 1, 100)?;
        let because: Located<String> = self.text(fields.get("because")?)?;
        Some(Retry {
            at: node.at.clone(),
            times: u32::try_from(times.value).ok()?,
            because,
        })
    }
}
