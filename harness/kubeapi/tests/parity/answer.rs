//! Answers as they are recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a server said, without what differs from run to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The exchange this answers.
    pub to: String,
    /// Nothing for frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// The record of a conversation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The server that answered.
    pub server: String,
    pub answers: Vec<Answer>,
}

/// A place where two answers differ.
#[derive(Debug, Clone)]
pub struct Difference {
    pub conversation: String,
    pub to: String,
    /// A JSON pointer into the answer.
    pub at: String,
    pub real: Option<Value>,
    pub ours: Option<Value>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<Value>| {
            value.as_ref().map_or("nothing".to_owned(), |value| {
                let text = value.to_string();
                match text.char_indices().nth(1500) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            })
        };
        write!(
            f,
            "{}: {} at {}\n    real: {}\n    ours: {}",
            self.conversation,
            self.to,
            self.at,
            text(&self.real),
            text(&self.ours)
        )
    }
}

/// Every place where two answers to the same exchange differ.
pub fn compare(conversation: &str, number: usize, real: &Answer, ours: &Answer) -> Vec<Difference> {
    let value = |answer: &Answer| serde_json::to_value(answer).unwrap();
    let mut found = Vec::new();
    places(Some(&value(real)), Some(&value(ours)), "", &mut found);
    found
        .into_iter()
        .map(|(at, real, ours_here)| Difference {
            conversation: conversation.to_owned(),
            to: format!("{number}. {}", ours.to),
            at,
            real,
            ours: ours_here,
        })
        .collect()
}

type Place = (String, Option<Value>, Option<Value>);

fn places(real: Option<&Value>, ours: Option<&Value>, at: &str, found: &mut Vec<Place>) {
    match (real, ours) {
        // Quite another object is one difference, not one per field.
        (Some(Value::Object(a)), Some(Value::Object(b)))
            if at == "/body" && a.contains_key("kind") && a.get("kind") != b.get("kind") =>
        {
            found.push((at.to_owned(), real.cloned(), ours.cloned()));
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let escaped = key.replace('~', "~0").replace('/', "~1");
                places(a.get(key), b.get(key), &format!("{at}/{escaped}"), found);
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if lines(a) && lines(b) => {
            missing_lines(a, b, at, found);
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            for n in 0..a.len().max(b.len()) {
                places(a.get(n), b.get(n), &format!("{at}/{n}"), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push((at.to_owned(), a.cloned(), b.cloned())),
    }
}

fn lines(items: &[Value]) -> bool {
    items.iter().all(Value::is_string)
}

/// Lines that only one of two texts has, so that a line more does not make all that follow different.
fn missing_lines(real: &[Value], ours: &[Value], at: &str, found: &mut Vec<Place>) {
    // The lengths of the longest common subsequences of what follows.
    let mut common = vec![vec![0_usize; ours.len() + 1]; real.len() + 1];
    for (r, line) in real.iter().enumerate().rev() {
        for (o, other) in ours.iter().enumerate().rev() {
            common[r][o] = if line == other {
                common[r + 1][o + 1] + 1
            } else {
                common[r + 1][o].max(common[r][o + 1])
            };
        }
    }
    let (mut r, mut o) = (0, 0);
    while r < real.len() || o < ours.len() {
        match (real.get(r), ours.get(o)) {
            (Some(a), Some(b)) if a == b => (r, o) = (r + 1, o + 1),
            (Some(a), b) if b.is_none() || common[r + 1][o] >= common[r][o + 1] => {
                found.push((at.to_owned(), Some(a.clone()), None));
                r += 1;
            }
            (_, b) => {
                found.push((at.to_owned(), None, b.cloned()));
                o += 1;
            }
        }
    }
}
