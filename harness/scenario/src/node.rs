//! YAML as it was written: every key and value with its place.
//!
//! serde is used only to get from text to this tree; everything typed is built from the tree by hand,
//! because serde's `flatten`, `untagged` and tagged enums lose positions.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::{Location, Spanned};

use crate::diagnostic::{Code, Diagnostic};
use crate::span::{Located, SourceFile, Span};

/// A YAML value.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Span,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Located<String>,
    pub(crate) value: Node,
}

impl Node {
    /// As a reader would call it in a message.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("the boolean {value}"),
            Kind::Number(value) => format!("the number {value}"),
            Kind::Text(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
            Kind::Text(_) => "text".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries
                .iter()
                .find(|entry| entry.key.value == key)
                .map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The node at a path such as `spec.containers[0].image`, or its closest parent; of a field the
    /// value's place, of an object its first line.
    pub(crate) fn locate(&self, path: &str) -> Span {
        let mut node = self;
        let mut place = self.at.clone();
        for key in path.split(['.', '[', ']']).filter(|key| !key.is_empty()) {
            let next = match &node.kind {
                Kind::Map(_) => node.get(key),
                Kind::List(items) => key.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
            place = node.at.clone();
        }
        place
    }

    /// Calls `visit` for this node and everything below it.
    pub(crate) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Node)) {
        visit(self);
        match &self.kind {
            Kind::List(items) => items.iter().for_each(|item| item.walk(visit)),
            Kind::Map(entries) => entries.iter().for_each(|entry| entry.value.walk(visit)),
            _ => {}
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Number(value) => Value::Number(value.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|entry| (entry.key.value.clone(), entry.value.to_json()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

/// Reads every document of a file. Keys that occur twice are reported with both places; empty
/// documents are left out.
pub(crate) fn parse(source: &Arc<SourceFile>) -> Result<Vec<Node>, Vec<Diagnostic>> {
    let options = serde_yaml::options! {
        // kubectl reads 0644 as octal
        legacy_octal_numbers: true,
        // errors keys reach our visitor, so that both places can be shown
        duplicate_keys: serde_yaml::DuplicateKeyPolicy::PassThrough,
    };
    let documents: Vec<Raw> = serde_yaml::from_multiple_with_options(source.text(), options)
        .map_err(|error| vec![syntax_error(source, &error)])?;
    let mut errors = Vec::new();
    let documents: Vec<Node> = documents
        .into_iter()
        .map(|raw| raw.place(source, &mut errors))
        .filter(|node| !matches!(node.kind, Kind::Null))
        .collect();
    if errors.is_empty() {
        Ok(documents)
    } else {
        Err(errors)
    }
}

fn syntax_error(source: &Arc<SourceFile>, error: &serde_yaml::Error) -> Diagnostic {
    let at = error.location().map_or_else(
        || Span::start_of(source),
        |location| {
            let offset = source.offset(location.line(), location.column());
            Span::new(Arc::clone(source), offset..offset + 1)
        },
    );
    let text = error.without_snippet().to_string();
    // the place is ours to say
    let message = text.split(" at line ").next().unwrap_or(&text).trim();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let mut fragment = message.to_owned();
    if let Some(first) = fragment.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    let line = source
        .text()
        .lines()
        .nth(at.line() as usize - 1)
        .unwrap_or("");
    let help = if line.contains("${") {
        "between `{…}` or `[…]`, text with `${…}` needs quotes: `{host: '${server.ip}'}`"
    } else {
        "look at the indentation, at quotes that are not closed, and at `: ` inside plain text"
    };
    Diagnostic::error(Code::Syntax, &at, format!("this is not YAML: {fragment}")).help(help)
}

fn span(source: &Arc<SourceFile>, location: Location) -> Span {
    let range = location.span();
    let start = range
        .byte_offset()
        .and_then(|offset| usize::try_from(offset).ok());
    let length = range
        .byte_len()
        .and_then(|length| usize::try_from(length).ok());
    match start {
        Some(start) => Span::new(Arc::clone(source), start..start + length.unwrap_or(0)),
        None => Span::start_of(source),
    }
}

/// What serde delivers: places as numbers, not yet tied to a file.
struct Raw {
    kind: RawKind,
    location: Location,
}

enum RawKind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl Raw {
    fn place(self, source: &Arc<SourceFile>, errors: &mut Vec<Diagnostic>) -> Node {
        let own = trimmed(&span(source, self.location));
        let (kind, at) = match self.kind {
            RawKind::Null => (Kind::Null, own),
            RawKind::Bool(value) => (Kind::Bool(value), own),
            RawKind::Number(value) => (Kind::Number(value), own),
            RawKind::Text(text) => (Kind::Text(text), own),
            RawKind::List(items) => {
                let items: Vec<Node> = items
                    .into_iter()
                    .map(|item| item.place(source, errors))
                    .collect();
                let at = items.iter().fold(own, |at, item| at.to(&item.at));
                (Kind::List(items), closed(at))
            }
            RawKind::Map(entries) => {
                let entries = place_entries(entries, source, errors);
                let at = entries
                    .iter()
                    .fold(own, |at, entry| at.to(&entry.key.at).to(&entry.value.at));
                (Kind::Map(entries), closed(at))
            }
        };
        Node { at, kind }
    }
}

fn place_entries(
    raw: Vec<(Raw, Raw)>,
    source: &Arc<SourceFile>,
    errors: &mut Vec<Diagnostic>,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
    for (key, value) in raw {
        let key = key.place(source, errors);
        let value = value.place(source, errors);
        if matches!(key.kind, Kind::List(_) | Kind::Map(_)) {
            errors.push(
                Diagnostic::error(Code::Syntax, &key.at, "a key must be text")
                    .help("quote it when it begins with `[` or `{`"),
            );
            continue;
        }
        let name = match key.kind {
            Kind::Text(text) => text,
            _ => key.at.text().to_owned(),
        };
        let key = Located::new(name, key.at);
        match entries.iter().find(|entry| entry.key.value == key.value) {
            Some(first) => errors.push(
                Diagnostic::error(
                    Code::DuplicateKey,
                    &key.at,
                    format!("`{}` is here twice", key.value),
                )
                .label("the second time")
                .and(&first.key.at, "the first time")
                .help("keep one of them; kubectl would silently take the last"),
            ),
            None => entries.push(Entry { key, value }),
        }
    }
    entries
}

/// The parser says where a flow collection begins; its end is the bracket after the last item.
fn closed(at: Span) -> Span {
    let bracket = match at.text().chars().next() {
        Some('{') => '}',
        Some('[') => ']',
        _ => return at,
    };
    let range = at.range();
    let rest = &at.source().text()[range.end..];
    let skipped = rest.len() - rest.trim_start_matches([' ', ',', '\n', '\r', '\t']).len();
    if rest[skipped..].starts_with(bracket) {
        let end = range.end + skipped + 1;
        Span::new(Arc::clone(at.source()), range.start..end)
    } else {
        at
    }
}

/// Block scalars reach to the next token; their end is the end of their text.
fn trimmed(at: &Span) -> Span {
    let end = at.text().trim_end().len();
    at.part(0..end)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<RawKind>::deserialize(deserializer)?;
        Ok(Self {
            kind: spanned.value,
            location: spanned.defined,
        })
    }
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_none<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawKind, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawKind, E> {
        Ok(RawKind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawKind, E> {
        Ok(RawKind::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawKind, E> {
        Ok(RawKind::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawKind, E> {
        // JSON has no NaN or infinity; as text they at least survive
        Ok(Number::from_f64(value)
            .map_or_else(|| RawKind::Text(value.to_string()), RawKind::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawKind, E> {
        Ok(RawKind::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawKind, E> {
        Ok(RawKind::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawKind, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawKind::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawKind, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawKind::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        parse(&SourceFile::new("t.yaml", text)).unwrap().remove(0)
    }

    #[test]
    fn every_value_has_its_place() {
        let text = "a: 1\nb:\n- x: 'yes'\n  o: 0644\nc: |\n  one\n  two\n\nd: {k: v,  l: [1, 2] }\ne:\nf: &x {g: ${1}\n";
        let text = text.replace("${1}", "1}");
        let root = one(&text);
        let at = |path: &str| {
            let place = root.locate(path);
            (place.to_string(), place.text().to_owned())
        };
        let place =
            |line_column: &str, text: &str| (format!("t.yaml:{line_column}"), text.to_owned());
        assert_eq!(at("a"), place("1:4", "1"));
        assert_eq!(at("b[0].x"), place("3:6", "'yes'"));
        assert_eq!(at("b[0]"), place("3:3", "x: 'yes'\n  o: 0644"));
        assert_eq!(at("c"), place("6:3", "one\n  two"));
        assert_eq!(at("d"), place("9:4", "{k: v,  l: [1, 2] }"));
        assert_eq!(at("d.l"), place("9:15", "[1, 2]"));
        assert_eq!(at("e"), place("10:2", ""));
        assert_eq!(at("b[0].none.deeper"), at("b[0]"));
    }

    #[test]
    fn values_are_read_as_kubectl_does() {
        let json = one("o: 0644\nt: yes\nm: 02:00:00:00:00:01\nn: ~\nf: 1.10\nl: [on, \"on\"]\n")
            .to_json();
        assert_eq!(
            json,
            serde_json::json!({"o": 420, "t": true, "m": "02:00:00:00:00:01", "n": null, "f": 1.1, "l": [true, "on"]})
        );
    }

    #[test]
    fn documents_without_content_are_left_out() {
        let source = SourceFile::new("t.yaml", "---\n# nothing\n---\na: 1\n---\n");
        let documents = parse(&source).unwrap();
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0].at.line(), 4);
    }

    #[test]
    fn places_count_characters() {
        let root = one("ä: \"ö\"\nü: x\n");
        assert_eq!(root.locate("ä").column(), 4);
        assert_eq!(root.locate("ü").line(), 2);
    }
}
