//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An Ethernet address, written `0a:58:0a:f4:00:06`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

/// The text is not six hexadecimal octets separated by colons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address; write six two-digit hexadecimal octets separated by colons")]
pub struct ParseMacError(String);

impl MacAddr {
    pub const fn new(octets: [u8; 6]) -> Self {
        Self(octets)
    }

    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// True for addresses one interface can have: not multicast and not all zeros.
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self(octets))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::MacAddr;

    #[test]
    fn reads_and_writes() {
        let mac: MacAddr = "0A:58:0a:f4:00:06".parse().unwrap();
        assert_eq!(mac.to_string(), "0a:58:0a:f4:00:06");
        assert_eq!(mac.octets(), [0x0a, 0x58, 0x0a, 0xf4, 0, 6]);
        assert!(mac.is_unicast());
    }

    #[rstest]
    #[case("")]
    #[case("0a:58:0a:f4:00")]
    #[case("0a:58:0a:f4:00:06:07")]
    #[case("0a:58:0a:f4:00:6")]
    #[case("0a:58:0a:f4:00:+6")]
    #[case("0a-58-0a-f4-00-06")]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<MacAddr>().is_err());
    }

    #[test]
    fn knows_multicast() {
        assert!(!MacAddr::new([0xff; 6]).is_unicast());
        assert!(!MacAddr::new([0; 6]).is_unicast());
    }
}
