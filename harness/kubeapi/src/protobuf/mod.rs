//! Requests in Kubernetes' protobuf encoding, as typed Go clients (kubectl's create commands among them) send them.
//!
//! Only reading: answers are JSON, which those clients accept too.

mod messages;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::object;
use crate::status::Status;
use messages::{Field, Kind, Shape};
use wire::{Fields, Wire};

/// The media type of these bodies.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What such a body starts with.
const MAGIC: &[u8] = b"k8s\0";

/// The object in a protobuf body, as its JSON encoding would have it.
pub fn parse(body: &[u8]) -> Result<Value, Status> {
    let broken = || Status::bad_request("the body is not a valid protobuf encoding of an object");
    let envelope = body.strip_prefix(MAGIC).ok_or_else(|| {
        Status::bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        )
    })?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for (number, wire) in Fields(envelope) {
        match (number, wire) {
            (1, Wire::Bytes(bytes)) => (api_version, kind) = type_meta(bytes),
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = messages::of_kind(&api_version, &kind)
        .ok_or_else(|| Status::unsupported_media_type(crate::decode::OBJECTS))?;
    let mut out = Map::new();
    out.insert("apiVersion".to_owned(), api_version.into());
    out.insert("kind".to_owned(), kind.into());
    message(raw, fields, &mut out).ok_or_else(broken)?;
    Ok(Value::Object(out))
}

fn type_meta(bytes: &[u8]) -> (String, String) {
    let (mut api_version, mut kind) = (String::new(), String::new());
    for (number, wire) in Fields(bytes) {
        match (number, wire) {
            (1, Wire::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
            (2, Wire::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    (api_version, kind)
}

/// Reads the fields of a message into a map. None when the encoding is broken.
fn message(bytes: &[u8], fields: &[Field], out: &mut Map<String, Value>) -> Option<()> {
    for (number, wire) in Fields(bytes) {
        if matches!(wire, Wire::Broken) {
            return None;
        }
        // Fields newer than this server are dropped, as its JSON decoder drops them.
        let Some(field) = fields.iter().find(|field| field.number == number) else {
            continue;
        };
        match field.shape {
            Shape::Inline => {
                let (Wire::Bytes(bytes), Kind::Message(name)) = (&wire, &field.kind) else {
                    return None;
                };
                message(bytes, messages::named(name), out)?;
            }
            Shape::One => {
                let value = value(&wire, &field.kind)?;
                if field.keeps_zero || !is_zero(&value) {
                    out.insert(field.name.clone(), value);
                }
            }
            Shape::List => {
                let item = value(&wire, &field.kind)?;
                let list = out
                    .entry(field.name.clone())
                    .or_insert_with(|| Value::Array(Vec::new()));
                list.as_array_mut()?.push(item);
            }
            Shape::Map => {
                let Wire::Bytes(bytes) = wire else {
                    return None;
                };
                let (key, item) = entry(bytes, &field.kind)?;
                let map = out
                    .entry(field.name.clone())
                    .or_insert_with(|| Value::Object(Map::new()));
                map.as_object_mut()?.insert(key, item);
            }
        }
    }
    Some(())
}

/// Go leaves these out of JSON where a field may be empty.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}

fn entry(bytes: &[u8], kind: &Kind) -> Option<(String, Value)> {
    let mut key = String::new();
    let mut item = match kind {
        Kind::Text | Kind::Bytes => Value::from(""),
        _ => Value::Null,
    };
    for (number, wire) in Fields(bytes) {
        match (number, wire) {
            (1, Wire::Bytes(text)) => key = String::from_utf8(text.to_vec()).ok()?,
            (2, wire) => item = value(&wire, kind)?,
            _ => return None,
        }
    }
    Some((key, item))
}

fn value(wire: &Wire<'_>, kind: &Kind) -> Option<Value> {
    Some(match (kind, wire) {
        (Kind::Text, Wire::Bytes(text)) => std::str::from_utf8(text).ok()?.into(),
        (Kind::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Kind::Bool, Wire::Varint(number)) => (*number != 0).into(),
        (Kind::Int, Wire::Varint(number)) => number.cast_signed().into(),
        (Kind::Float, Wire::Fixed64(bits)) => f64::from_bits(*bits).into(),
        (Kind::Quantity, Wire::Bytes(bytes)) => first_text(bytes)?.into(),
        (Kind::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Kind::Time, Wire::Bytes(bytes)) => time(bytes, false)?,
        (Kind::MicroTime, Wire::Bytes(bytes)) => time(bytes, true)?,
        (Kind::Json, Wire::Bytes(bytes)) => serde_json::from_slice(first_bytes(bytes)).ok()?,
        (Kind::Texts, Wire::Bytes(bytes)) => texts(bytes)?,
        (Kind::Message(name), Wire::Bytes(bytes)) => {
            let mut out = Map::new();
            message(bytes, messages::named(name), &mut out)?;
            Value::Object(out)
        }
        _ => return None,
    })
}

fn first_bytes(bytes: &[u8]) -> &[u8] {
    Fields(bytes)
        .find_map(|field| match field {
            (1, Wire::Bytes(bytes)) => Some(bytes),
            _ => None,
        })
        .unwrap_or_default()
}

fn first_text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(first_bytes(bytes).to_vec()).ok()
}

fn texts(bytes: &[u8]) -> Option<Value> {
    let items: Option<Vec<Value>> = Fields(bytes)
        .map(|(_, wire)| value(&wire, &Kind::Text))
        .collect();
    items.map(Value::Array)
}

/// Type 0 is a number (field 2), type 1 a text (field 3).
fn int_or_string(bytes: &[u8]) -> Option<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Fields(bytes) {
        match field {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => text = String::from_utf8(value.to_vec()).ok()?,
            _ => {}
        }
    }
    Some(if is_text { text.into() } else { json!(number) })
}

/// Seconds and nanoseconds; an empty message is no time.
fn time(bytes: &[u8], micro: bool) -> Option<Value> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Fields(bytes) {
        match field {
            (1, Wire::Varint(value)) => seconds = Some(value.cast_signed()),
            (2, Wire::Varint(value)) => nanos = i32::try_from(value).ok()?,
            _ => {}
        }
    }
    let Some(seconds) = seconds else {
        return Some(Value::Null);
    };
    let time = Timestamp::new(seconds, nanos).ok()?;
    Some(if micro {
        time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string().into()
    } else {
        object::time(time).into()
    })
}

#[cfg(test)]
mod tests;
