//! Captured names: defined once, before their use, and used.

use std::sync::Arc;

use super::uses::{self, Use};
use crate::diagnostic::{Code, Diagnostic};
use crate::model::{AttachmentField, Capture, CaptureSpec, Scenario, Step};
use crate::node::{Kind, Node};
use crate::parameters;
use crate::span::Span;
use crate::suggest;

/// A name that a step captures.
struct Captured {
    name: String,
    at: Span,
    used: bool,
    /// Whether the step has been passed.
    known: bool,
    shape: Shape,
}

/// What a captured value looks like, as far as its capture says.
enum Shape {
    Text,
    Attachment,
    Unknown,
}

impl Shape {
    fn of(capture: &CaptureSpec) -> Self {
        let CaptureSpec::Sentence(sentence) = capture else {
            return Self::Unknown;
        };
        match sentence.known() {
            Some(Capture::Network { field, .. } | Capture::Interface { field, .. }) => {
                match field {
                    None => Self::Attachment,
                    Some(AttachmentField::Ips) => Self::Unknown,
                    Some(_) => Self::Text,
                }
            }
            Some(Capture::Ip { .. } | Capture::Node { .. }) => Self::Text,
            _ => Self::Unknown,
        }
    }
}

pub(crate) fn check(scenario: &Scenario) -> Vec<Diagnostic> {
    let spec = &scenario.spec;
    let mut names = Names {
        scenario,
        captured: Vec::new(),
        found: Vec::new(),
    };
    for step in spec.steps.iter().chain(&spec.catch).chain(&spec.finally) {
        names.declare(step);
    }
    // `catch` runs after some of the steps, `finally` after that
    for step in spec.steps.iter().chain(&spec.catch).chain(&spec.finally) {
        names.pass(step);
    }
    names.finish()
}

struct Names<'a> {
    scenario: &'a Scenario,
    captured: Vec<Captured>,
    found: Vec<Diagnostic>,
}

impl Names<'_> {
    fn declare(&mut self, step: &Step) {
        for one in &step.lets {
            let name = &one.name;
            let hidden = crate::model::OBJECT_NAMES.contains(&name.value.as_str());
            if hidden || self.scenario.parameters.get(name).is_some() {
                let what = if hidden {
                    "a word of the language"
                } else {
                    "a parameter"
                };
                self.found.push(
                    Diagnostic::error(
                        Code::DuplicateName,
                        &name.at,
                        format!("`{}` is already {what}", name.value),
                    )
                    .help("take another name"),
                );
                continue;
            }
            if let Some(first) = self.captured.iter().find(|one| one.name == name.value) {
                self.found.push(
                    Diagnostic::error(
                        Code::DuplicateName,
                        &name.at,
                        format!("`{}` is captured twice", name.value),
                    )
                    .and(&first.at, "the first time")
                    .help("take another name, so that both values can be told apart"),
                );
                continue;
            }
            self.captured.push(Captured {
                name: name.value.clone(),
                at: name.at.clone(),
                used: false,
                known: false,
                shape: Shape::of(&one.capture),
            });
        }
    }

    fn pass(&mut self, step: &Step) {
        self.use_all(uses::before(step));
        for one in &step.lets {
            self.use_all(uses::capture(&one.capture));
            if let Some(captured) = self.captured.iter_mut().find(|c| c.name == one.name.value) {
                captured.known = true;
            }
        }
        for statement in &step.statements {
            self.use_all(uses::statement(statement));
        }
    }

    fn use_all(&mut self, uses: Vec<Use>) {
        for one in uses {
            self.use_one(&one);
        }
    }

    fn use_one(&mut self, one: &Use) {
        if self.scenario.parameters.get(&one.name).is_some() {
            return;
        }
        if crate::model::OBJECT_NAMES.contains(&one.name.as_str()) {
            self.found.push(
                Diagnostic::error(
                    Code::UnknownName,
                    &one.at,
                    format!("`{}` means something only beside an object", one.name),
                )
                .help("write `{object: pod/NAMESPACE/NAME, that: …}` below `until`"),
            );
            return;
        }
        let Some(captured) = self.captured.iter_mut().find(|c| c.name == one.name) else {
            let parameters = self.scenario.parameters.iter().map(|(name, _)| name);
            let names = self
                .captured
                .iter()
                .map(|c| c.name.as_str())
                .chain(parameters);
            let error = Diagnostic::error(
                Code::UnknownName,
                &one.at,
                format!("nothing is called `{}`", one.name),
            );
            self.found.push(match suggest::closest(&one.name, names) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!(
                    "capture it in an earlier step: `let: {{{}: pod/NAMESPACE/NAME network NAD ip}}`",
                    one.name
                )),
            });
            return;
        };
        captured.used = true;
        self.found.extend(wrong_field(captured, one));
        if !captured.known {
            self.found.push(
                Diagnostic::error(
                    Code::UsedTooEarly,
                    &one.at,
                    format!("`{}` has no value yet", one.name),
                )
                .label("used here")
                .and(&captured.at, "captured only here")
                .help("capture it in an earlier step"),
            );
        }
    }

    fn finish(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        for captured in self.captured.iter().filter(|captured| !captured.used) {
            found.push(
                Diagnostic::warning(
                    Code::UnusedName,
                    &captured.at,
                    format!("`{}` is captured and never used", captured.name),
                )
                .help("use it as `${…}`, or leave it out"),
            );
        }
        found
    }
}

/// `${server.adress}`, `${address.ip}`.
fn wrong_field(captured: &Captured, one: &Use) -> Option<Diagnostic> {
    let field = one.fields.first()?;
    let (message, help) = match captured.shape {
        Shape::Unknown => return None,
        Shape::Text => (
            format!("`{}` is one value, without fields", one.name),
            format!("write `${{{}}}`", one.name),
        ),
        Shape::Attachment => {
            // what network-status may hold beyond what we name
            let known =
                AttachmentField::names().chain(["default", "dns", "gateway", "device-info"]);
            if known.clone().any(|name| name == field) {
                return None;
            }
            let help = match suggest::closest(field, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", suggest::listed(AttachmentField::names())),
            };
            (format!("an attachment has no `{field}`"), help)
        }
    };
    Some(
        Diagnostic::error(Code::UnknownName, &one.at, message)
            .and(&captured.at, "captured here")
            .help(help),
    )
}

/// Parameters that occur nowhere, and `when` with values that do not exist.
pub(crate) fn check_parameters(document: &Node, cases: &[Arc<Scenario>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    // what is wrong with them was said when the cases were made
    let declared = parameters::declared(document, &mut Vec::new());
    let Some(spec) = document.get("spec") else {
        return found;
    };
    let mut used: Vec<String> = cases.iter().flat_map(|case| names_in_cel(case)).collect();
    let Kind::Map(entries) = &spec.kind else {
        return found;
    };
    let bodies = entries
        .iter()
        .filter(|entry| !["parameters", "except"].contains(&entry.key.value.as_str()));
    for entry in bodies {
        entry.value.walk(&mut |node| {
            if let Kind::Text(text) = &node.kind {
                used.extend(holes(text));
            }
            let Some(Kind::Map(conditions)) = node.get("when").map(|when| &when.kind) else {
                return;
            };
            for condition in conditions {
                used.push(condition.key.value.clone());
                let parameter = declared
                    .iter()
                    .find(|one| one.name.value == condition.key.value);
                let Some(parameter) = parameter else { continue };
                let values: Vec<&Node> = match &condition.value.kind {
                    Kind::List(items) => items.iter().collect(),
                    _ => vec![&condition.value],
                };
                for value in values {
                    let name = parameters::written(value);
                    if !parameter.values.iter().any(|(known, _)| *known == name) {
                        found.push(parameters::unknown_value(&name, value, parameter));
                    }
                }
            }
        });
    }
    for parameter in &declared {
        if !used.contains(&parameter.name.value) && !cases.is_empty() {
            found.push(
                Diagnostic::warning(
                    Code::UnusedName,
                    &parameter.name.at,
                    format!("the parameter `{}` changes nothing", parameter.name.value),
                )
                .help("use it as `${…}` or in `when`, or leave it out"),
            );
        }
    }
    found
}

fn holes(text: &str) -> Vec<String> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split(['.', '}']).next())
        .map(str::to_owned)
        .collect()
}

fn names_in_cel(scenario: &Scenario) -> Vec<String> {
    let spec = &scenario.spec;
    let steps = spec.steps.iter().chain(&spec.catch).chain(&spec.finally);
    steps
        .flat_map(|step| {
            let captures = step.lets.iter().flat_map(|one| uses::capture(&one.capture));
            let statements = step.statements.iter().flat_map(uses::statement);
            uses::before(step)
                .into_iter()
                .chain(captures)
                .chain(statements)
                .map(|one| one.name)
        })
        .collect()
}
