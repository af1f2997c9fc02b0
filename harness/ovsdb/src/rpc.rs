//! JSON-RPC 1.0 on a byte stream: objects follow each other with nothing in between.

use bytes::{Buf, BytesMut};
use serde_json::{Value, json};
use tokio_util::codec::{Decoder, Encoder};

use crate::error::Error;

/// What a server sends.
#[derive(Debug)]
pub(crate) enum Message {
    Request {
        id: Value,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
    },
    Reply {
        id: Value,
        result: Result<Value, Value>,
    },
}

impl Message {
    fn parse(mut json: Value) -> Result<Message, Error> {
        let id = json["id"].take();
        if let Value::String(method) = json["method"].take() {
            let params = json["params"].take();
            return Ok(if id.is_null() {
                Message::Notification { method, params }
            } else {
                Message::Request { id, method, params }
            });
        }
        if id.is_null() {
            return Err(Error::Protocol(format!(
                "neither request nor reply: {json}"
            )));
        }
        let result = match json["error"].take() {
            Value::Null => Ok(json["result"].take()),
            error => Err(error),
        };
        Ok(Message::Reply { id, result })
    }
}

pub(crate) fn request(id: u64, method: &str, params: &Value) -> Value {
    json!({"id": id, "method": method, "params": params})
}

pub(crate) fn reply(id: &Value, result: &Value) -> Value {
    json!({"id": id, "result": result, "error": null})
}

/// Finds the end of each object by counting braces outside of strings, looking at every byte
/// once however the stream is cut, and parses it then.
#[derive(Debug, Default)]
pub(crate) struct JsonCodec {
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl JsonCodec {
    /// The length of the first complete object in the buffer.
    fn complete(&mut self, buffer: &[u8]) -> Option<usize> {
        for (at, byte) in buffer.iter().enumerate().skip(self.scanned) {
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        *self = JsonCodec::default();
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        self.scanned = buffer.len();
        None
    }
}

impl Decoder for JsonCodec {
    type Item = Message;
    type Error = Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Message>, Error> {
        let Some(length) = self.complete(buffer) else {
            return Ok(None);
        };
        let json = serde_json::from_slice(&buffer[..length])
            .map_err(|error| Error::Protocol(format!("not JSON: {error}")))?;
        buffer.advance(length);
        Message::parse(json).map(Some)
    }
}

impl Encoder<Value> for JsonCodec {
    type Error = Error;

    fn encode(&mut self, message: Value, buffer: &mut BytesMut) -> Result<(), Error> {
        buffer.extend_from_slice(message.to_string().as_bytes());
        Ok(())
    }
}

/// What the codec needs to be usable with `Framed`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error::Protocol(format!("the stream failed: {error}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ids(chunks: &[&[u8]]) -> Vec<Value> {
        let mut codec = JsonCodec::default();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            while let Some(message) = codec.decode(&mut buffer).unwrap() {
                match message {
                    Message::Reply { id, .. } | Message::Request { id, .. } => seen.push(id),
                    Message::Notification { .. } => seen.push(Value::Null),
                }
            }
        }
        seen
    }

    #[test]
    fn objects_follow_each_other_directly() {
        let stream = br#"{"id":1,"result":[],"error":null}{"id":"x}","method":"echo","params":[]}
            {"id":null,"method":"update3","params":["\"}{",{}]}"#;
        assert_eq!(ids(&[stream]), [json!(1), json!("x}"), Value::Null]);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(cuts in prop::collection::vec(0usize..90, 0..6)) {
            let stream: &[u8] = br#"{"id":1,"result":{"a":"\\\"{[","b":[[]]},"error":null}{"id":2,"method":"echo","params":[]}"#;
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(ids(&chunks), [json!(1), json!(2)]);
        }
    }

    #[test]
    fn a_reply_without_id_is_refused() {
        let mut buffer = BytesMut::from(&br#"{"result":1}"#[..]);
        assert!(JsonCodec::default().decode(&mut buffer).is_err());
    }
}
