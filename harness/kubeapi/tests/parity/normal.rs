//! What differs from run to run becomes a placeholder.
//!
//! Equal values become equal placeholders within a conversation, so that "the same uid as before" is compared too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::{Captures, Regex};
use serde_json::Value;

static UID: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap()
});
static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap());
static SERVICE_ADDRESS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b10\.96\.\d+\.\d+\b").unwrap());
static NODE_PORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r":(3[0-2]\d{3})/(TCP|UDP|SCTP)").unwrap());
static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+[smhdy])+$|^<invalid>$").unwrap());
/// Numbers of versions within messages.
static VERSIONS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(resource ?version:? |current: |ResourceVersion in (?:the precondition|record) \()(\d+)( \(\d+\))?").unwrap()
});
/// Objects within messages: what they say is compared elsewhere, and the order of their fields is the server's own.
static QUOTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"Invalid value: (\[\{|\{|"\{)(?s:.*?)(\}\]|\}|\}"): "#).unwrap());
/// Upstream shows changes of its internal types.
static POD_CHANGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(previously negative\)|may not be changed)\n(?s:.*)").unwrap());
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"127\.0\.0\.1:\d+").unwrap());

/// Times this close to now (in seconds) are set by the server.
const SOON: i64 = 3600;

/// The placeholders of a conversation.
#[derive(Debug, Default)]
pub struct Placeholders {
    known: BTreeMap<&'static str, Vec<String>>,
    /// The placeholder of each uid, and of each version of an object.
    uids: BTreeMap<String, String>,
    versions: BTreeMap<(String, String), usize>,
    /// Names the server has made, with what replaces them.
    made: Vec<(String, String)>,
    /// Everything the client has said: what occurs there is no accident.
    said: String,
}

impl Placeholders {
    pub fn hear(&mut self, text: &str) {
        self.said.push_str(text);
        self.said.push('\n');
    }

    fn number(&mut self, what: &'static str, value: &str) -> String {
        let known = self.known.entry(what).or_default();
        let at = known.iter().position(|k| k == value).unwrap_or_else(|| {
            known.push(value.to_owned());
            known.len() - 1
        });
        format!("<{what} {}>", at + 1)
    }

    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, placeholder) in &self.made {
            text = text.replace(name, placeholder);
        }
        let said = self.said.clone();
        let text = UID.replace_all(&text, |found: &Captures<'_>| {
            match self.uids.get(&found[0]) {
                Some(placeholder) => placeholder.clone(),
                None if said.contains(&found[0]) => found[0].to_owned(),
                None => self.number("uid", &found[0]),
            }
        });
        let text = TIME.replace_all(&text, |found: &Captures<'_>| time(&found[0]));
        let text = SERVICE_ADDRESS.replace_all(&text, |found: &Captures<'_>| {
            if said.contains(&found[0]) || &found[0] == "10.96.0.1" {
                return found[0].to_owned();
            }
            self.number("service address", &found[0])
        });
        let text = NODE_PORT.replace_all(&text, |found: &Captures<'_>| {
            if said.contains(&found[1]) {
                return found[0].to_owned();
            }
            let port = self.number("node port", &found[1]);
            format!(":{port}/{}", &found[2])
        });
        let text = VERSIONS.replace_all(&text, |found: &Captures<'_>| {
            let said = found[2].len() > 4 && said.contains(&found[2]);
            let number = if said { &found[2] } else { "<n>" };
            let oldest = if found.get(3).is_some() { " (<n>)" } else { "" };
            format!("{}{number}{oldest}", &found[1])
        });
        let text = QUOTED.replace_all(&text, "Invalid value: <object>: ");
        let text = POD_CHANGE.replace_all(&text, "$1<difference>");
        ADDRESS.replace_all(&text, "<server>").into_owned()
    }

    /// Objects are named by their names, so that one object more does not change the names of all that follow.
    fn identity(&mut self, name: &str, uid: &str) -> String {
        if let Some(known) = self.uids.get(uid) {
            return known.clone();
        }
        let name = self.text(name);
        let taken = self
            .uids
            .values()
            .filter(|of| of.starts_with(&format!("<uid of {name}")))
            .count();
        let placeholder = match taken {
            0 => format!("<uid of {name}>"),
            _ => format!("<uid of {name} {}>", taken + 1),
        };
        self.uids.insert(uid.to_owned(), placeholder.clone());
        placeholder
    }

    /// The versions of an object are counted as they are seen.
    fn version(&mut self, object: &str, version: &str) -> String {
        let of = |object: &str| {
            (object.to_owned(), String::new())..(format!("{object}\0"), String::new())
        };
        let seen = self.versions.range(of(object)).count();
        let number = *self
            .versions
            .entry((object.to_owned(), version.to_owned()))
            .or_insert(seen + 1);
        if object.is_empty() {
            return "<current version>".to_owned();
        }
        let object = object.trim_start_matches("<uid of ").trim_end_matches('>');
        format!("<version {number} of {object}>")
    }

    /// The value with placeholders, its keys in order.
    pub fn value(&mut self, value: &Value) -> Value {
        let value = sort(value);
        self.names(&value);
        self.within(&value, "", false)
    }

    /// Remembers the names that the server has made up.
    fn names(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let text = |key: &str| fields.get(key).and_then(Value::as_str);
                if let (Some(prefix), Some(name)) = (text("generateName"), text("name"))
                    && name.starts_with(prefix)
                    && !self.made.iter().any(|(made, _)| made == name)
                {
                    self.made.push((name.to_owned(), format!("{prefix}<made>")));
                }
                fields.values().for_each(|field| self.names(field));
            }
            Value::Array(items) => items.iter().for_each(|item| self.names(item)),
            _ => {}
        }
    }

    /// `floats`: a version here is not an object's, but as high as the server's writes so far.
    fn within(&mut self, value: &Value, key: &str, floats: bool) -> Value {
        match value {
            Value::String(text) => match key {
                "resourceVersion" if text.is_empty() => "".into(),
                "resourceVersion" if floats => "<current version>".into(),
                "continue" if !text.is_empty() => "<token>".into(),
                "serverAddress" if !text.is_empty() => "<server>".into(),
                _ => self.text(text).into(),
            },
            Value::Number(number)
                if matches!(key, "nodePort" | "healthCheckNodePort")
                    && !self.said.contains(&number.to_string()) =>
            {
                self.number("node port", &number.to_string()).into()
            }
            Value::Array(items) => items.iter().map(|i| self.within(i, key, false)).collect(),
            Value::Object(fields) => {
                let whole = fields.contains_key("items") || fields.contains_key("rows");
                let bookmark = fields.get("type").is_some_and(|kind| kind == "BOOKMARK");
                let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
                let object = match text("uid") {
                    "" => text("name").to_owned(),
                    uid if self.said.contains(uid) => text("name").to_owned(),
                    uid => self.identity(text("name"), uid),
                };
                let mut normal: serde_json::Map<String, Value> = fields
                    .iter()
                    .map(|(name, field)| {
                        let floats = match name.as_str() {
                            "metadata" => whole || floats,
                            "object" => bookmark,
                            "resourceVersion" => floats,
                            _ => false,
                        };
                        let version = field.as_str().filter(|text| {
                            let number = text.bytes().all(|b| b.is_ascii_digit());
                            name == "resourceVersion" && !floats && number && !text.is_empty()
                        });
                        let value = match version {
                            Some(version) => self.version(&object, version).into(),
                            None => self.within(field, name, floats),
                        };
                        (self.text(name), value)
                    })
                    .collect();
                ages(&mut normal);
                causes(&mut normal);
                owners(&mut normal);
                Value::Object(normal)
            }
            other => other.clone(),
        }
    }
}

/// Tables say how old things are.
fn ages(table: &mut serde_json::Map<String, Value>) {
    let Some(Value::Array(rows)) = table.get_mut("rows") else {
        return;
    };
    for cell in rows
        .iter_mut()
        .filter_map(|row| row.get_mut("cells"))
        .filter_map(Value::as_array_mut)
        .flatten()
    {
        if cell.as_str().is_some_and(|text| AGE.is_match(text)) {
            *cell = "<age>".into();
        }
    }
}

/// How often a cause is said depends on how many of upstream's functions look at the same field, and the order is that
/// of a Go map. So they are sorted, each once, and the message that repeats several of them ends where they begin.
fn causes(status: &mut serde_json::Map<String, Value>) {
    let several = match status.get_mut("details").and_then(|d| d.get_mut("causes")) {
        Some(Value::Array(causes)) => {
            let mut sorted: BTreeMap<String, Value> = BTreeMap::new();
            for cause in causes.drain(..) {
                let text = |key: &str| cause.get(key).map(Value::to_string);
                let key = format!("{:?} {:?}", text("field"), text("message"));
                sorted.insert(key, cause);
            }
            causes.extend(sorted.into_values());
            causes.len() > 1
        }
        _ => false,
    };
    let Some(Value::String(message)) = status.get_mut("message") else {
        return;
    };
    for (start, end) in [
        (" is invalid: [", "<causes>]"),
        (" conflicts: conflicts with ", "<causes>"),
    ] {
        if let Some(at) = message.find(start).filter(|_| several) {
            message.truncate(at + start.len());
            message.push_str(end);
        }
    }
    if message.starts_with("failed to create typed patch object") {
        let mut lines: Vec<&str> = message.lines().collect();
        lines.sort_unstable();
        *message = lines.join("\n");
    }
}

/// The order of owners depends on whether two writes fell into one second.
fn owners(metadata: &mut serde_json::Map<String, Value>) {
    if let Some(Value::Array(owners)) = metadata.get_mut("managedFields") {
        owners.sort_by_key(|owner| {
            let text = |key: &str| owner.get(key).map(Value::to_string);
            (
                text("operation"),
                text("manager"),
                text("subresource"),
                text("apiVersion"),
            )
        });
    }
}

/// Times around now are the server's.
fn time(text: &str) -> String {
    let now = Timestamp::now().as_second();
    match text.parse::<Timestamp>() {
        Ok(time) if (time.as_second() - now).abs() < SOON => {
            if text.contains('.') {
                "<time with fraction>".to_owned()
            } else {
                "<time>".to_owned()
            }
        }
        _ => text.to_owned(),
    }
}

/// Keys in order, at every depth.
pub fn sort(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, Value> = fields
                .iter()
                .map(|(key, value)| (key, sort(value)))
                .collect();
            sorted.into_iter().map(|(k, v)| (k.clone(), v)).collect()
        }
        Value::Array(items) => items.iter().map(sort).collect(),
        other => other.clone(),
    }
}
