//! A conversation with an API server, as data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// Exchanges that belong together. Each conversation has a server, or at least a namespace, of its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// The name of the file, and of the namespace.
    #[serde(skip)]
    pub name: String,
    /// What is looked at.
    #[allow(dead_code)] // for readers of the file
    pub about: String,
    /// Whether it is held before those that leave something behind on the real server.
    #[serde(default)]
    pub first: bool,
    /// Whether the namespace `${ns}` is there when the conversation starts.
    #[serde(default)]
    pub namespace: bool,
    /// Values that occur more than once; a step that has one as its only body says `body: ${name}`.
    #[serde(default)]
    pub values: BTreeMap<String, Value>,
    pub exchanges: Vec<Exchange>,
}

/// A request with its answer, or the frames of a watch that an earlier request opened.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Exchange {
    /// `GET /api/v1/…`
    pub send: String,
    /// The watch, by name, whose frames are read: `count` of them, or all until the server ends it.
    pub frames: String,
    pub count: Option<usize>,
    /// Keeps the answer open, under a name.
    pub watch: String,
    /// The patch in the body: apply, merge, strategic, json.
    pub patch: String,
    /// Another type of the body than JSON.
    pub content: String,
    pub accept: String,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// A body that is not JSON.
    pub text: Option<String>,
    /// Whom to impersonate.
    pub user: String,
    pub groups: Vec<String>,
    /// Says nothing about who asks.
    pub anonymous: bool,
    /// Values of the answer for later exchanges: a name and a JSON pointer.
    pub keep: BTreeMap<String, String>,
    /// The parts of the body that are compared; all of it without. See `select`.
    pub show: Vec<String>,
    /// Asks again until the answer has this code: some things take effect a moment later on the real server.
    pub settle: Option<u16>,
    /// Asks again until the answer contains this text.
    pub contains: String,
}

impl Exchange {
    /// What this exchange is called in records and differences.
    pub fn title(&self) -> String {
        if self.frames.is_empty() {
            self.send.clone()
        } else {
            format!("frames of {}", self.frames)
        }
    }
}

/// Reads every conversation of a directory, by name.
pub fn read_all(directory: &Path) -> Vec<Conversation> {
    let mut all: Vec<Conversation> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut conversation: Conversation = serde_yaml::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().unwrap().to_str().unwrap();
            name.clone_into(&mut conversation.name);
            conversation
        })
        .collect();
    all.sort_by(|a, b| b.first.cmp(&a.first).then_with(|| a.name.cmp(&b.name)));
    all
}

/// Replaces `${name}` in every text of a value.
pub fn fill(value: &Value, variables: &BTreeMap<String, Value>) -> Value {
    match value {
        Value::String(text) => {
            let whole = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
            match whole.and_then(|name| variables.get(name)) {
                Some(Value::String(_)) | None => fill_text(text, variables).into(),
                Some(value) => fill(value, variables),
            }
        }
        Value::Array(items) => items.iter().map(|item| fill(item, variables)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (fill_text(key, variables), fill(value, variables)))
            .collect(),
        other => other.clone(),
    }
}

pub fn fill_text(text: &str, variables: &BTreeMap<String, Value>) -> String {
    let mut filled = text.to_owned();
    for (name, value) in variables {
        if let Value::String(value) = value {
            filled = filled.replace(&format!("${{{name}}}"), value);
        }
    }
    filled
}

/// The parts of a body that a pattern names: a JSON pointer whose segments may be `*`, or `key=value` for the elements
/// of a list with that field (`metadata.name=x` looks deeper), and whose last may be `#keys` or `#count`.
pub fn select(body: &Value, patterns: &[String]) -> Value {
    let mut shown = serde_json::Map::new();
    for pattern in patterns {
        let segments: Vec<&str> = pattern.split('/').skip(1).collect();
        walk(body, &segments, String::new(), &mut shown);
    }
    Value::Object(shown)
}

fn walk(value: &Value, segments: &[&str], at: String, shown: &mut serde_json::Map<String, Value>) {
    let Some((first, rest)) = segments.split_first() else {
        shown.insert(at, value.clone());
        return;
    };
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.map(|(n, v)| (n.to_string(), v)).collect()
        }
        _ => Vec::new(),
    };
    match *first {
        "#keys" => {
            let mut keys: Vec<String> = children.into_iter().map(|(key, _)| key).collect();
            keys.sort();
            shown.insert(format!("{at}/#keys"), keys.into());
        }
        "#count" => {
            shown.insert(format!("{at}/#count"), children.len().into());
        }
        "*" => {
            for (key, child) in children {
                walk(child, rest, format!("{at}/{key}"), shown);
            }
        }
        segment => {
            let (key, wanted) = segment.split_once('=').unwrap_or((segment, ""));
            let plain = segment.replace("~1", "/").replace("~0", "~");
            for (name, child) in children {
                let found = if wanted.is_empty() {
                    name == plain
                } else {
                    let field = key.split('.').try_fold(child, |v, key| v.get(key));
                    field.and_then(Value::as_str) == Some(wanted)
                };
                if found {
                    walk(child, rest, format!("{at}/{segment}"), shown);
                }
            }
        }
    }
}
