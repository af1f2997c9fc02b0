//! The fields of messages, from the data file that `examples/derive-protobuf.rs` writes.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::gvk::split_api_version;

static DATA: &[u8] = include_bytes!("../../data/protobuf-1.34.txt.zst");

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    Bytes,
    Bool,
    Int,
    Float,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    /// JSON in a message of one field.
    Json,
    /// A list of texts in a message of one field.
    Texts,
    /// Another message, by name (`core.v1.PodSpec`).
    Message(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    List,
    Map,
    /// Its fields are its parent's in JSON.
    Inline,
}

#[derive(Debug, Clone)]
pub struct Field {
    pub number: u64,
    pub name: String,
    pub kind: Kind,
    pub shape: Shape,
    /// Whether JSON has the field even when it is zero.
    pub keeps_zero: bool,
}

static MESSAGES: LazyLock<HashMap<String, Vec<Field>>> = LazyLock::new(|| {
    let text = zstd::stream::decode_all(DATA).expect("the embedded data is valid zstd");
    let text = String::from_utf8(text).expect("the embedded data is text");
    let mut messages: HashMap<String, Vec<Field>> = HashMap::new();
    let mut current = String::new();
    for line in text.lines() {
        match line.strip_prefix('>') {
            Some(name) => name.clone_into(&mut current),
            None => messages
                .entry(current.clone())
                .or_default()
                .push(field(line).expect("the embedded data has four words a line")),
        }
    }
    messages
});

fn field(line: &str) -> Option<Field> {
    let mut words = line.split(' ');
    let number = words.next()?.parse().ok()?;
    let flags = words.next()?;
    let name = words.next()?.to_owned();
    let kind = match words.next()? {
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int32" | "int64" | "uint32" => Kind::Int,
        "float64" => Kind::Float,
        "Quantity" => Kind::Quantity,
        "IntOrString" => Kind::IntOrString,
        "Time" => Kind::Time,
        "MicroTime" => Kind::MicroTime,
        "RawExtension" | "FieldsV1" => Kind::Json,
        "ExtraValue" => Kind::Texts,
        message => Kind::Message(message.to_owned()),
    };
    let shape = if flags.contains('^') {
        Shape::Inline
    } else if flags.contains('*') {
        Shape::List
    } else if flags.contains('%') {
        Shape::Map
    } else {
        Shape::One
    };
    Some(Field {
        number,
        name,
        kind,
        shape,
        keeps_zero: flags.contains('z'),
    })
}

/// A message by its name; an unknown one has no fields.
pub fn named(name: &str) -> &'static [Field] {
    MESSAGES.get(name).map_or(&[][..], Vec::as_slice)
}

/// The message of a kind; option kinds of any group are those of `meta.k8s.io`.
pub fn of_kind(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    let (group, version) = split_api_version(api_version);
    let package = match group.split('.').next().unwrap_or_default() {
        "" => "core",
        first => first,
    };
    MESSAGES
        .get(&format!("{package}.{version}.{kind}"))
        .or_else(|| MESSAGES.get(&format!("meta.v1.{kind}")))
        .map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A type that the data file refers to and does not have would make every object with it unreadable.
    #[test]
    fn every_message_is_there() {
        let missing: Vec<&String> = MESSAGES
            .values()
            .flatten()
            .filter_map(|field| match &field.kind {
                Kind::Message(name) if !MESSAGES.contains_key(name) => Some(name),
                _ => None,
            })
            .collect();
        assert_eq!(missing, Vec::<&String>::new());
    }
}
