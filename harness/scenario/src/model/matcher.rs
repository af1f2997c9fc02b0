//! Comparing what came with what was expected. Pure: the engine brings the values.

use std::fmt;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::cel::Cel;
use super::template::{JsonTemplate, Scope, Template};
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::{duration, sentence};

/// Expected and found differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What was expected, as a fragment: `"blue-server"`, `at least 3`.
    pub expected: String,
    /// What came.
    pub got: String,
    /// Where the expectation was written.
    pub at: Span,
    /// The place inside the value, as in `Ok[1].name`.
    pub path: Option<String>,
}

/// What a text must be; all of them must hold.
#[derive(Debug, Clone)]
pub struct TextMatch {
    pub at: Span,
    pub is: Option<Template>,
    pub contains: Vec<Template>,
    pub lacks: Vec<Template>,
    pub matches: Option<Regex>,
}

impl PartialEq for TextMatch {
    fn eq(&self, other: &Self) -> bool {
        self.is == other.is
            && self.contains == other.contains
            && self.lacks == other.lacks
            && self.matches.as_ref().map(Regex::as_str) == other.matches.as_ref().map(Regex::as_str)
    }
}

impl TextMatch {
    /// The first difference. An error only when a hole cannot be filled.
    pub fn check(&self, got: &str, scope: &Scope) -> Result<Option<Mismatch>, Diagnostic> {
        let mismatch = |expected: String, at: &Span| {
            Some(Mismatch {
                expected,
                got: format!("{got:?}"),
                at: at.clone(),
                path: None,
            })
        };
        if let Some(is) = &self.is {
            let expected = is.fill(scope)?;
            if got != expected {
                return Ok(mismatch(format!("{expected:?}"), is.at()));
            }
        }
        for contains in &self.contains {
            let expected = contains.fill(scope)?;
            if !got.contains(&expected) {
                return Ok(mismatch(
                    format!("text that contains {expected:?}"),
                    contains.at(),
                ));
            }
        }
        for lacks in &self.lacks {
            let unwanted = lacks.fill(scope)?;
            if got.contains(&unwanted) {
                return Ok(mismatch(format!("text without {unwanted:?}"), lacks.at()));
            }
        }
        if let Some(matches) = &self.matches
            && !matches.is_match(got)
        {
            return Ok(mismatch(format!("text that matches /{matches}/"), &self.at));
        }
        Ok(None)
    }
}

/// As fragments for reports: `"blue-server"`, `contains "Server 1"`.
impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.is.iter().map(|text| format!("{:?}", text.to_string())));
        parts.extend(
            self.contains
                .iter()
                .map(|text| format!("contains {:?}", text.to_string())),
        );
        parts.extend(
            self.lacks
                .iter()
                .map(|text| format!("lacks {:?}", text.to_string())),
        );
        parts.extend(
            self.matches
                .iter()
                .map(|regex| format!("matches /{regex}/")),
        );
        f.write_str(&parts.join(" and "))
    }
}

/// JSON that must be part of the answer: every key that is given must be there with that value,
/// other keys do not matter; lists have the same length and order.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonSubset {
    pub at: Span,
    pub value: JsonTemplate,
}

impl JsonSubset {
    pub fn check(&self, got: &Value, scope: &Scope) -> Result<Option<Mismatch>, Diagnostic> {
        let expected = self.value.fill(scope)?;
        Ok(
            subset(&expected, got, &mut String::new()).map(|(path, expected, got)| Mismatch {
                expected,
                got,
                at: self.at.clone(),
                path: (!path.is_empty()).then_some(path),
            }),
        )
    }
}

fn subset(expected: &Value, got: &Value, path: &mut String) -> Option<(String, String, String)> {
    let depth = path.len();
    match (expected, got) {
        (Value::Object(wanted), Value::Object(fields)) => {
            for (key, value) in wanted {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                let found = match fields.get(key) {
                    Some(field) => subset(value, field, path),
                    None => Some((path.clone(), value.to_string(), "nothing".to_owned())),
                };
                path.truncate(depth);
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (Value::Array(wanted), Value::Array(items)) => {
            if wanted.len() != items.len() {
                return Some((
                    path.clone(),
                    format!("a list of {}", wanted.len()),
                    format!("a list of {}: {got}", items.len()),
                ));
            }
            for (index, (value, item)) in wanted.iter().zip(items).enumerate() {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
                let found = subset(value, item, path);
                path.truncate(depth);
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ if expected == got => None,
        _ => Some((path.clone(), expected.to_string(), got.to_string())),
    }
}

/// A number or duration, or the limits it must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound<T> {
    Exactly(T),
    Under(T),
    Over(T),
    AtMost(T),
    AtLeast(T),
    Between(T, T),
}

impl<T: PartialOrd> Bound<T> {
    #[allow(
        clippy::needless_pass_by_value,
        reason = "numbers and durations, all of them Copy"
    )]
    pub fn holds(&self, value: T) -> bool {
        match self {
            Self::Exactly(limit) => value == *limit,
            Self::Under(limit) => value < *limit,
            Self::Over(limit) => value > *limit,
            Self::AtMost(limit) => value <= *limit,
            Self::AtLeast(limit) => value >= *limit,
            Self::Between(low, high) => value >= *low && value <= *high,
        }
    }

    fn show(&self, one: impl Fn(&T) -> String) -> String {
        match self {
            Self::Exactly(limit) => one(limit),
            Self::Under(limit) => format!("under {}", one(limit)),
            Self::Over(limit) => format!("over {}", one(limit)),
            Self::AtMost(limit) => format!("at most {}", one(limit)),
            Self::AtLeast(limit) => format!("at least {}", one(limit)),
            Self::Between(low, high) => format!("between {} and {}", one(low), one(high)),
        }
    }
}

impl fmt::Display for Bound<u64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(u64::to_string))
    }
}

/// As percent.
impl fmt::Display for Bound<f64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(|value| format!("{value}%")))
    }
}

impl fmt::Display for Bound<Duration> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show(|value| duration::show(*value)))
    }
}

/// HTTP statuses: `200`, `2xx`, `[200, 204]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusMatch {
    Code(u16),
    /// The hundreds: 2 for `2xx`.
    Class(u16),
    Any(Vec<StatusMatch>),
}

impl StatusMatch {
    pub fn holds(&self, status: u16) -> bool {
        match self {
            Self::Code(code) => *code == status,
            Self::Class(class) => status / 100 == *class,
            Self::Any(all) => all.iter().any(|one| one.holds(status)),
        }
    }
}

impl fmt::Display for StatusMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
            Self::Any(all) => {
                let all: Vec<String> = all.iter().map(Self::to_string).collect();
                f.write_str(&all.join(" or "))
            }
        }
    }
}

/// A sentence about captured values: `${blue.ip} is in 192.168.200.0/24`.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// See [`crate::sentence::COMPARISONS`].
    Compare {
        text: Template,
        left: Template,
        how: sentence::Comparison,
        right: Template,
    },
    /// `{that: CEL}` over captured values.
    That(Cel),
}

impl Statement {
    pub fn at(&self) -> &Span {
        match self {
            Self::Compare { text, .. } => text.at(),
            Self::That(cel) => cel.at(),
        }
    }

    /// `None` when it holds. An error when it cannot be decided.
    pub fn check(&self, scope: &Scope) -> Result<Option<Mismatch>, Diagnostic> {
        sentence::check(self, scope)
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { text, .. } => text.fmt(f),
            Self::That(cel) => f.write_str(cel.text()),
        }
    }
}
