//! From the tree of a file to the typed scenario, with every mistake that can be found in one go.

mod expect;
mod probe;
mod scenario;
mod step;
mod value;

pub(crate) use scenario::scenario;

use crate::diagnostic::{Code, Diagnostic};
use crate::grammar::{Record, Status};
use crate::model::{CaseId, canonical_kind};
use crate::node::{Entry, Kind, Node};
use crate::span::Span;
use crate::suggest;

/// What reading needs and finds. A function that returns `None` has said why in `diagnostics`.
pub(crate) struct Reader<'a> {
    pub(crate) case: &'a CaseId,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// The value, or a report of why there is none.
    pub(crate) fn accept<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(diagnostic) => {
                self.report(diagnostic);
                None
            }
        }
    }

    /// Opens a mapping: reports keys it does not have and keys that are missing.
    pub(crate) fn open<'n>(
        &mut self,
        node: &'n Node,
        record: &'static Record,
    ) -> Option<Fields<'n>> {
        let Kind::Map(entries) = &node.kind else {
            self.report(
                Diagnostic::error(
                    Code::WrongType,
                    &node.at,
                    format!("{} is a mapping, not {}", record.what, node.describe()),
                )
                .help(format!("write {}", keys_of(record))),
            );
            return None;
        };
        let mut complete = true;
        let mut meant = Vec::new();
        for entry in entries {
            match record.field(&entry.key.value).map(|field| field.status) {
                Some(Status::Required | Status::Optional) => {}
                Some(Status::Planned) => {
                    complete = false;
                    let what = if record.verbs.contains(&entry.key.value.as_str()) {
                        "verb"
                    } else {
                        "field"
                    };
                    self.report(
                        Diagnostic::error(
                            Code::Planned,
                            &entry.key.at,
                            format!(
                                "{what} `{}` is planned, not in this version",
                                entry.key.value
                            ),
                        )
                        .help("leave the step out for now, or take a later version"),
                    );
                }
                None => {
                    complete = false;
                    let similar = similar_field(&entry.key, record);
                    meant.extend(similar);
                    self.report(unknown_field(entry, record, similar));
                }
            }
        }
        for field in record.fields {
            let missing = field.status == Status::Required
                && !entries.iter().any(|entry| entry.key.value == field.key);
            // a misspelt key is one mistake, not two
            if missing && !meant.contains(&field.key) {
                complete = false;
                self.report(
                    Diagnostic::error(
                        Code::MissingField,
                        &first_line(node),
                        format!("{} needs `{}`", record.what, field.key),
                    )
                    .help(format!(
                        "`{}` is {}",
                        field.key,
                        lower_first(field.doc)
                    )),
                );
            }
        }
        let fields = Fields {
            at: node.at.clone(),
            entries,
            record,
            complete,
        };
        self.check_verbs(&fields);
        Some(fields)
    }

    fn check_verbs(&mut self, fields: &Fields<'_>) {
        let mut verbs = fields
            .entries
            .iter()
            .filter(|entry| fields.record.verbs.contains(&entry.key.value.as_str()));
        let (Some(first), Some(second)) = (verbs.next(), verbs.next()) else {
            return;
        };
        let help = if fields.record.name == "step" {
            "make two steps of it, or list probes under `together`"
        } else {
            "keep one of them"
        };
        self.report(
            Diagnostic::error(
                Code::Conflict,
                &second.key.at,
                format!(
                    "{} has one verb, and here are `{}` and `{}`",
                    fields.record.what, first.key.value, second.key.value
                ),
            )
            .and(&first.key.at, "the first")
            .help(help),
        );
    }
}

/// An opened mapping.
pub(crate) struct Fields<'n> {
    pub(crate) at: Span,
    entries: &'n [Entry],
    record: &'static Record,
    /// Whether every key is known and none is missing.
    pub(crate) complete: bool,
}

impl<'n> Fields<'n> {
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        debug_assert!(
            self.record.field(key).is_some(),
            "`{key}` is not in the grammar of {}",
            self.record.what
        );
        self.entries.iter().find(|entry| entry.key.value == key)
    }

    /// A key without a value counts as absent only for its reader: `None` is "no such key".
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The verb that is here, planned ones included.
    pub(crate) fn verb(&self) -> Option<&'n Entry> {
        self.entries
            .iter()
            .find(|entry| self.record.verbs.contains(&entry.key.value.as_str()))
    }

    pub(crate) fn has_planned(&self) -> bool {
        self.entries.iter().any(|entry| {
            self.record
                .field(&entry.key.value)
                .is_some_and(|field| field.status == Status::Planned)
        })
    }
}

fn unknown_field(entry: &Entry, record: &Record, similar: Option<&str>) -> Diagnostic {
    let key = &entry.key.value;
    let error = Diagnostic::error(
        Code::UnknownField,
        &entry.key.at,
        format!("{} has no `{key}`", record.what),
    );
    match similar {
        Some(similar) => error.help(format!("did you mean `{similar}`?")),
        None => error.help(format!("it may have {}", keys_of(record))),
    }
}

fn similar_field(key: &str, record: &Record) -> Option<&'static str> {
    suggest::closest(key, record.fields.iter().map(|field| field.key))
        .or_else(|| other_word(key).filter(|word| record.field(word).is_some()))
}

/// What people from other tools would write.
fn other_word(key: &str) -> Option<&'static str> {
    Some(match key {
        "name" | "description" | "summary" => "title",
        "create" | "manifest" | "manifests" => "apply",
        "wait" | "waitFor" | "assert" | "ready" => "until",
        "capture" | "save" | "register" | "vars" => "let",
        "run" | "command" | "cmd" | "script" | "shell" => "exec",
        "http" | "get" | "fetch" | "url" => "curl",
        "nslookup" | "resolve" | "dig" => "dns",
        "nc" | "connect" => "tcp",
        "logins" | "credentials" => "login",
        "reboot" => "restart",
        "parallel" | "all" | "probes" => "together",
        "in" | "pod" | "source" => "from",
        "parameter" | "params" => "parameters",
        "exclude" => "except",
        "cleanup" | "teardown" | "always" => "finally",
        "code" | "exitCode" | "rc" => "exit",
        "output" | "out" => "stdout",
        "size" | "length" => "bytes",
        "xfail" | "skip" => "known",
        _ => return None,
    })
}

fn keys_of(record: &Record) -> String {
    suggest::listed(record.offered().map(|field| field.key))
}

/// The first line of a node, for errors about what is not there.
fn first_line(node: &Node) -> Span {
    let length = node.at.text().find('\n').unwrap_or(node.at.text().len());
    node.at.part(0..length)
}

/// The first sentence of a description, as a fragment.
fn lower_first(text: &str) -> String {
    let text = text
        .split(". ")
        .next()
        .unwrap_or(text)
        .trim_end_matches('.');
    let mut characters = text.chars();
    match characters.next() {
        // "HTTP", "JSON", "CEL" stay as they are
        Some(first) if !characters.as_str().starts_with(|c: char| c.is_uppercase()) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

/// `a pod`, `an event`.
pub(crate) fn with_article(kind: &str) -> String {
    let kind = canonical_kind(kind);
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}
