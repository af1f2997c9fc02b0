//! Nodes as others see them: names, namespaces and the sockets of their databases.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, MacAddr, NetNs};

/// The longest node name whose sockets still fit into a Unix socket address under `/run/lab`.
const MAX_NAME: usize = 63;

/// The one socket of a node's database server, in the node's directory.
pub(crate) const SOCKET: &str = "db.sock";

/// A node's name, which is also its zone's: a DNS label or a dotted sequence of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(String);

impl NodeName {
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = name.as_bytes();
        let valid = bytes.len() <= MAX_NAME
            && bytes.iter().all(|b| plain(*b) || matches!(b, b'-' | b'.'))
            && bytes.first().copied().is_some_and(plain)
            && bytes.last().copied().is_some_and(plain);
        if valid {
            Ok(Self(name))
        } else {
            Err(Error::NodeName(name))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl FromStr for NodeName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The `system-id` of a node's Open vSwitch, the name of its SB Chassis row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChassisId(Uuid);

impl ChassisId {
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for ChassisId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sockets of a zone's databases. One server holds these and `Open_vSwitch`, so all paths of a node are equal; the database's name tells them apart.
#[derive(Debug, Clone)]
pub struct Zone {
    pub nb: PathBuf,
    pub sb: PathBuf,
}

/// A running node.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: NodeName,
    pub ip: Ipv4Net,
    pub mac: MacAddr,
    pub chassis: ChassisId,
    pub netns: NetNs,
    pub zone: Zone,
    /// Socket of the `Open_vSwitch` database.
    pub vswitch: PathBuf,
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::NodeName;

    #[rstest]
    #[case("lab-worker", true)]
    #[case("n1.example", true)]
    #[case("", false)]
    #[case("-n", false)]
    #[case("n/../../etc", false)]
    #[case("Upper", false)]
    #[case(&"n".repeat(64), false)]
    fn names(#[case] name: &str, #[case] valid: bool) {
        assert_eq!(NodeName::new(name).is_ok(), valid);
    }
}
