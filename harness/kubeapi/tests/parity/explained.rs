//! Differences that have a reason.

use std::path::Path;

use serde::Deserialize;

use crate::answer::Difference;

/// Differences that are known, and why they are there. `*` stands for any text.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// The conversation.
    #[serde(rename = "in")]
    pub conversation: String,
    /// The exchange; any without.
    #[serde(default = "any")]
    pub to: String,
    /// The place in the answer.
    pub at: String,
    /// What the real server says there; anything without.
    #[serde(default = "any")]
    pub real: String,
    /// What kubeapi says there; anything without.
    #[serde(default = "any")]
    pub ours: String,
    pub reason: String,
}

fn any() -> String {
    "*".to_owned()
}

impl Explained {
    pub fn explains(&self, difference: &Difference) -> bool {
        let text = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or(String::new(), |value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
        };
        let to = difference.to.split_once(". ").map_or("", |(_, to)| to);
        like(&self.conversation, &difference.conversation)
            && like(&self.to, to)
            && like(&self.at, &difference.at)
            && like(&self.real, &text(&difference.real))
            && like(&self.ours, &text(&difference.ours))
    }

    /// The line of docs/fidelity.md that shows it.
    pub fn line(&self) -> String {
        let to = if self.to == "*" {
            String::new()
        } else {
            format!("`{}`", self.to)
        };
        let cell = |text: &str| text.replace('|', "\\|");
        format!(
            "| `{}` | {} | `{}` | {} |",
            self.conversation,
            cell(&to),
            cell(&self.at),
            self.reason
        )
    }
}

/// Whether a text is like a pattern in which `*` stands for any text.
pub fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

pub fn read(path: &Path) -> Vec<Explained> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
