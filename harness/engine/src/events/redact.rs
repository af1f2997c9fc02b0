//! Secrets never reach a consumer: the sender replaces them before an event leaves the engine.

use std::sync::{Arc, RwLock};

use serde_json::Value;

use super::Event;

/// What stands where a secret stood.
const MASK: &str = "***";

/// Shorter strings would mask half of every ordinary word.
const SHORTEST: usize = 4;

/// The secrets of a run. Clones share one list, so a secret learnt late is masked everywhere from then on.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// Adds a secret; ones too short to be told from ordinary text are left out.
    pub fn add(&self, secret: impl Into<String>) {
        let secret = secret.into();
        let mut secrets = self
            .secrets
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if secret.len() >= SHORTEST && !secrets.contains(&secret) {
            secrets.push(secret);
            // Longest first, so that a secret that contains another one disappears whole.
            secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
        }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        let secrets = self
            .secrets
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        secrets.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), MASK)
        })
    }

    /// The event without secrets, wherever in it they stand.
    pub(super) fn event(&self, event: Event) -> Event {
        if self
            .secrets
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_empty()
        {
            return event;
        }
        let Event {
            v,
            at,
            run,
            case,
            step,
            kind,
        } = event;
        // Through JSON, because that reaches every string of every kind without a list that could be incomplete.
        let masked = serde_json::to_value(&kind)
            .map(|value| self.value(value))
            .and_then(serde_json::from_value);
        let kind = masked.unwrap_or_else(|error| super::EventKind::Warning {
            message: format!("an event was withheld because it could not be redacted: {error}"),
            at_line: None,
        });
        Event {
            v,
            at,
            run,
            case,
            step,
            kind,
        }
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (String, Value)| {
                    // The tag decides the event's kind and is never data.
                    let value = if name == "event" {
                        value
                    } else {
                        self.value(value)
                    };
                    (name, value)
                };
                Value::Object(fields.into_iter().map(field).collect())
            }
            other => other,
        }
    }
}
