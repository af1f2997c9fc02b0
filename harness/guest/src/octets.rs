//! Bytes that are nearly always text.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a body or a stream. In JSON a plain string when they are UTF-8, else
/// `{"base64": "…"}`, so that a transcript stays readable and nothing is lost.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Octets(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire<'a> {
    Text(Cow<'a, str>),
    Encoded { base64: Cow<'a, str> },
}

impl Octets {
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes as text, with replacement characters where they are not UTF-8.
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Octets {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for Octets {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Octets {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_text())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => Wire::Text(text.into()),
            Err(_) => Wire::Encoded {
                base64: STANDARD.encode(&self.0).into(),
            },
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Wire::deserialize(deserializer)? {
            Wire::Text(text) => Ok(Self(text.into_owned().into_bytes())),
            Wire::Encoded { base64 } => STANDARD
                .decode(base64.as_bytes())
                .map(Self)
                .map_err(|error| serde::de::Error::custom(format!("not base64: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Octets;

    #[test]
    fn text_stays_text_and_the_rest_survives() {
        let text = serde_json::to_string(&Octets::from("blue-server")).unwrap();
        assert_eq!(text, r#""blue-server""#);

        let raw = Octets(vec![0xff, 0x00, 0xfe]);
        let json = serde_json::to_string(&raw).unwrap();
        assert_eq!(json, r#"{"base64":"/wD+"}"#);
        assert_eq!(serde_json::from_str::<Octets>(&json).unwrap(), raw);
    }

    #[test]
    fn damaged_base64_is_an_error() {
        let error = serde_json::from_str::<Octets>(r#"{"base64":"%%"}"#).unwrap_err();
        assert!(error.to_string().contains("not base64"), "{error}");
    }
}
