//! Continue tokens of paged lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::object;
use crate::status::Status;
use crate::storage::Key;

/// Where the next page starts: after this key, in the state of this revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub revision: u64,
    pub after: Key,
}

impl Token {
    pub fn encode(&self) -> String {
        let start = format!("{}/{}\u{0}", self.after.namespace, self.after.name);
        let token = json!({"v": "meta.k8s.io/v1", "rv": self.revision, "start": start});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }

    pub fn decode(text: &str) -> Result<Self, Status> {
        Self::try_decode(text)
            .ok_or_else(|| Status::bad_request("invalid continue token: continue key is not valid"))
    }

    fn try_decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let token: Value = serde_json::from_slice(&bytes).ok()?;
        let (namespace, name) = object::text(&token, &["start"])
            .trim_end_matches('\u{0}')
            .split_once('/')?;
        Some(Self {
            revision: token.get("rv")?.as_u64()?,
            after: Key::new(namespace, name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let token = Token {
            revision: 7,
            after: Key::new("ns", "a.b"),
        };
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
        assert!(Token::decode("nonsense").is_err());
    }
}
