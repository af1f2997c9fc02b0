//! Continue tokens of paged lists.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::go_json;
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
        let refuse = |why: String| {
            Status::bad_request(format!(
                "invalid continue token: continue key is not valid{why}"
            ))
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|e| refuse(format!(": {e}")))?;
        let token = go_json::parse(&bytes).map_err(|e| refuse(format!(": {e}")))?;
        Self::of(&token).ok_or_else(|| refuse(String::new()))
    }

    fn of(token: &Value) -> Option<Self> {
        let (namespace, name) = object::text(token, &["start"])
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
