//! Text with holes: `${name}` and `${name.field}` are filled from captures while the scenario runs.
//!
//! Parameters are known before that and are filled in while the file is read; what is left here are captures.

use std::fmt;
use std::ops::Range;

use indexmap::IndexMap;
use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Located, Span};
use crate::suggest;

/// The captured values by name, as the engine fills them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    values: IndexMap<String, Value>,
}

impl FromIterator<(String, Value)> for Scope {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

impl Scope {
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.values.insert(name.into(), value);
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// `["blue", "ip"]` is the field `ip` of what was captured as `blue`.
    pub fn lookup(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter()
            .try_fold(self.get(first)?, |value, key| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                other => other.get(key),
            })
    }
}

/// One `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// The captured name, then the fields below it.
    pub path: Vec<String>,
    pub at: Span,
}

impl Hole {
    pub fn name(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{{}}}", self.path.join("."))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// Text with holes. `$${` stands for a literal `${`.
#[derive(Debug, Clone)]
pub struct Template {
    parts: Vec<Part>,
    at: Span,
}

/// Two templates are equal when they say the same, wherever they were written.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Template {
    /// Text as YAML understood it; `at` is where it was written, and positions inside are exact
    /// when the text was written plainly or in simple quotes.
    pub fn parse(text: &Located<String>) -> Result<Self, Diagnostic> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = 0;
        let source = text.value.as_str();
        while let Some(found) = source[rest..].find("${") {
            let dollar = rest + found;
            if source[..dollar].ends_with('$') {
                plain.push_str(&source[rest..dollar]);
                plain.push('{');
                rest = dollar + 2;
                continue;
            }
            plain.push_str(&source[rest..dollar]);
            let Some(length) = source[dollar..].find('}') else {
                return Err(Diagnostic::error(
                    Code::BadSentence,
                    &inside(text, dollar..source.len()),
                    "`${` is never closed",
                )
                .help("write `${name}`, or `$${` for the characters themselves"));
            };
            let range = dollar..dollar + length + 1;
            let at = inside(text, range.clone());
            let path: Vec<String> = source[dollar + 2..range.end - 1]
                .split('.')
                .map(str::to_owned)
                .collect();
            if !is_path(&path) {
                return Err(Diagnostic::error(
                    Code::BadSentence,
                    &at,
                    format!("`{}` is not a name", &source[range]),
                )
                .help(
                    "names begin with a letter and hold letters, digits and underscores; \
                     fields follow after a dot, as in `${server.ip}`",
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Hole(Hole { path, at }));
            rest = range.end;
        }
        plain.push_str(&source[rest..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self {
            parts,
            at: text.at.clone(),
        })
    }

    pub fn at(&self) -> &Span {
        &self.at
    }

    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter_map(|part| match part {
            Part::Hole(hole) => Some(hole),
            Part::Text(_) => None,
        })
    }

    /// The text, when it has no holes.
    pub fn literal(&self) -> Option<String> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Hole(_) => None,
            })
            .collect()
    }

    /// The text with every hole filled. An object or list is written as JSON.
    pub fn fill(&self, scope: &Scope) -> Result<String, Diagnostic> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Hole(hole) => match value_of(hole, scope)? {
                    Value::String(value) => text.push_str(value),
                    other => text.push_str(&other.to_string()),
                },
            }
        }
        Ok(text)
    }

    /// As [`fill`](Self::fill), but a template that is one hole keeps the type of its value.
    pub fn fill_value(&self, scope: &Scope) -> Result<Value, Diagnostic> {
        match self.parts.as_slice() {
            [Part::Hole(hole)] => value_of(hole, scope).cloned(),
            _ => self.fill(scope).map(Value::String),
        }
    }
}

/// As it was meant: holes as `${…}`.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Hole(hole) => hole.fmt(f),
        })
    }
}

fn value_of<'a>(hole: &Hole, scope: &'a Scope) -> Result<&'a Value, Diagnostic> {
    scope.lookup(&hole.path).ok_or_else(|| {
        let error = Diagnostic::error(Code::UnknownName, &hole.at, format!("{hole} has no value"));
        match (scope.get(hole.name()), hole.path.len()) {
            (Some(Value::Object(fields)), 2..) => error.help(format!(
                "`{}` has the fields {}",
                hole.name(),
                suggest::listed(fields.keys().map(String::as_str))
            )),
            (Some(_), 2..) => error.help(format!(
                "`{}` has no fields; write `${{{}}}`",
                hole.name(),
                hole.name()
            )),
            _ => error.help("capture it in an earlier step with `let`"),
        }
    })
}

/// Whether `name` can be captured or be a parameter: usable in CEL and in `${…}` alike.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_path(path: &[String]) -> bool {
    let (first, rest) = path.split_first().expect("split yields at least one item");
    is_name(first)
        && rest.iter().all(|key| {
            !key.is_empty()
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-/".contains(c))
        })
}

/// The place of a part of the text; the whole when YAML changed the text while reading it.
fn inside(text: &Located<String>, range: Range<usize>) -> Span {
    let written = text.at.text();
    let skip = match written.chars().next() {
        Some('"' | '\'') => 1,
        _ => 0,
    };
    if written.get(skip..skip + text.value.len()) == Some(text.value.as_str()) {
        text.at.part(skip + range.start..skip + range.end)
    } else {
        text.at.clone()
    }
}

/// Something that is written as a short phrase: `pod/blue/server`, `pods in blue are Ready`.
pub trait Phrase: Sized {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError>;
}

/// Why a phrase was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhraseError {
    /// A lower-case fragment.
    pub message: String,
    /// What to write instead.
    pub help: String,
    /// The part of the phrase that is wrong, in bytes.
    pub range: Option<Range<usize>>,
    pub code: Code,
}

impl PhraseError {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
            range: None,
            code: Code::BadSentence,
        }
    }

    /// The phrase is right and belongs to a later version.
    #[must_use]
    pub fn planned(mut self) -> Self {
        self.code = Code::Planned;
        self
    }

    #[must_use]
    pub fn at(mut self, range: Range<usize>) -> Self {
        self.range = Some(range);
        self
    }
}

/// A phrase that may have holes. Without holes it was checked when the file was read.
#[derive(Debug, Clone)]
pub struct Late<T> {
    template: Template,
    known: Option<T>,
}

impl<T: PartialEq> PartialEq for Late<T> {
    fn eq(&self, other: &Self) -> bool {
        self.template == other.template
    }
}

impl<T> fmt::Display for Late<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.template.fmt(f)
    }
}

impl<T> Late<T> {
    pub fn template(&self) -> &Template {
        &self.template
    }

    pub fn at(&self) -> &Span {
        self.template.at()
    }

    /// The value, when it does not depend on captures.
    pub fn known(&self) -> Option<&T> {
        self.known.as_ref()
    }
}

impl<T: Phrase + Clone> Late<T> {
    pub fn parse(text: &Located<String>) -> Result<Self, Diagnostic> {
        let template = Template::parse(text)?;
        let known = match template.literal() {
            Some(literal) => {
                Some(T::parse_phrase(&literal).map_err(|error| diagnose(text, error))?)
            }
            None => None,
        };
        Ok(Self { template, known })
    }

    /// The value with every hole filled.
    pub fn resolve(&self, scope: &Scope) -> Result<T, Diagnostic> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let filled = self.template.fill(scope)?;
        T::parse_phrase(&filled).map_err(|error| {
            Diagnostic::error(
                Code::BadSentence,
                self.at(),
                format!("`{self}` became `{filled}`: {}", error.message),
            )
            .help(error.help)
        })
    }
}

pub(crate) fn diagnose(text: &Located<String>, error: PhraseError) -> Diagnostic {
    let at = match error.range {
        Some(range) => inside(text, range),
        None => text.at.clone(),
    };
    Diagnostic::error(error.code, &at, error.message).help(error.help)
}

/// JSON whose strings may have holes.
#[derive(Debug, Clone, PartialEq)]
pub enum JsonTemplate {
    Text(Template),
    Plain(Value),
    List(Vec<JsonTemplate>),
    Object(IndexMap<String, JsonTemplate>),
}

impl JsonTemplate {
    pub fn fill(&self, scope: &Scope) -> Result<Value, Diagnostic> {
        Ok(match self {
            Self::Text(template) => template.fill_value(scope)?,
            Self::Plain(value) => value.clone(),
            Self::List(items) => Value::Array(
                items
                    .iter()
                    .map(|item| item.fill(scope))
                    .collect::<Result<_, _>>()?,
            ),
            Self::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), value.fill(scope)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    pub fn holes(&self) -> Vec<&Hole> {
        match self {
            Self::Text(template) => template.holes().collect(),
            Self::Plain(_) => Vec::new(),
            Self::List(items) => items.iter().flat_map(Self::holes).collect(),
            Self::Object(fields) => fields.values().flat_map(Self::holes).collect(),
        }
    }
}
