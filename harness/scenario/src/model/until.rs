//! Conditions on objects: `pod/blue/server is Ready for 2s`.

use std::fmt;
use std::time::Duration;

use super::cel::Cel;
use super::reference::Subject;
use super::template::{Late, Phrase, PhraseError, Scope};
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::span::{Located, Span};

/// What must be true of the subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `is Ready`: a status condition of that type is `True`, or, where there is no such condition,
    /// the phase (`status.phase`, `status.printableStatus`, `status.state`) is that word.
    Is(String),
    /// `is not Ready`.
    IsNot(String),
    /// `exists`.
    Exists,
    /// `is gone`.
    Gone,
    /// A CEL expression over `object` that yields a boolean; see [`Cel::holds_for`].
    That(Cel),
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(word) => write!(f, "is {word}"),
            Self::IsNot(word) => write!(f, "is not {word}"),
            Self::Exists => f.write_str("exists"),
            Self::Gone => f.write_str("is gone"),
            Self::That(cel) => write!(f, "has {}", cel.text()),
        }
    }
}

/// A condition that must become true, and with `hold` stay true for that long.
#[derive(Debug, Clone, PartialEq)]
pub struct Until {
    pub subject: Subject,
    pub condition: Condition,
    pub hold: Option<Duration>,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = matches!(self.subject, Subject::All { .. });
        let condition = match &self.condition {
            Condition::Is(word) if plural => format!("are {word}"),
            Condition::IsNot(word) if plural => format!("are not {word}"),
            Condition::Exists if plural => "exist".to_owned(),
            Condition::Gone if plural => "are gone".to_owned(),
            other => other.to_string(),
        };
        write!(f, "{} {condition}", self.subject)?;
        match self.hold {
            Some(hold) => write!(f, " for {}", duration::show(hold)),
            None => Ok(()),
        }
    }
}

const HELP: &str = "write `pod/tenantblue/blue-server is Ready`, `… is Ready for 2s`, `… is not Ready`, \
                    `… exists`, `… is gone`, or `pods in tenantblue are Ready`; \
                    for anything else `{object: pod/…, that: \"CEL\"}`";

impl Phrase for Until {
    fn parse_phrase(text: &str) -> Result<Self, PhraseError> {
        let (text, hold) = match text.rsplit_once(" for ") {
            Some((rest, time)) => {
                let start = text.len() - time.len();
                let hold = duration::parse(time.trim()).map_err(|why| {
                    PhraseError::new(why, "write how long it must stay true, as in `for 2s`")
                        .at(start..text.len())
                })?;
                (rest, Some(hold))
            }
            None => (text, None),
        };
        let text = text.trim();
        let (subject, condition) = if let Some(subject) = text
            .strip_suffix(" exists")
            .or_else(|| text.strip_suffix(" exist"))
        {
            (subject, Condition::Exists)
        } else {
            let (subject, word) = text
                .rsplit_once(" is ")
                .or_else(|| text.rsplit_once(" are "))
                .ok_or_else(|| {
                    PhraseError::new(format!("`{text}` does not say what must be true"), HELP)
                })?;
            (subject, condition(word.trim())?)
        };
        Ok(Self {
            subject: Subject::parse_phrase(subject.trim())?,
            condition,
            hold,
        })
    }
}

fn condition(word: &str) -> Result<Condition, PhraseError> {
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    match (word, word.strip_prefix("not ")) {
        ("gone", _) => Ok(Condition::Gone),
        (_, Some(word)) if is_word(word) => Ok(Condition::IsNot(word.to_owned())),
        (word, _) if is_word(word) => Ok(Condition::Is(word.to_owned())),
        _ => Err(PhraseError::new(
            format!("`{word}` is not a condition"),
            HELP,
        )),
    }
}

/// An `until` as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum UntilSpec {
    Sentence(Late<Until>),
    Fields {
        at: Span,
        object: Late<Subject>,
        condition: Condition,
        hold: Option<Duration>,
        /// Overrides the step's and the scenario's.
        timeout: Option<Located<Duration>>,
    },
}

impl UntilSpec {
    pub fn at(&self) -> &Span {
        match self {
            Self::Sentence(sentence) => sentence.at(),
            Self::Fields { at, .. } => at,
        }
    }

    pub fn timeout(&self) -> Option<Duration> {
        match self {
            Self::Sentence(_) => None,
            Self::Fields { timeout, .. } => timeout.as_ref().map(|timeout| timeout.value),
        }
    }

    pub fn resolve(&self, scope: &Scope) -> Result<Until, Diagnostic> {
        match self {
            Self::Sentence(sentence) => sentence.resolve(scope),
            Self::Fields {
                object,
                condition,
                hold,
                ..
            } => Ok(Until {
                subject: object.resolve(scope)?,
                condition: condition.clone(),
                hold: *hold,
            }),
        }
    }
}
