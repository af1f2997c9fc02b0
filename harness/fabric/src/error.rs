//! What can go wrong.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::NodeName;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "{0:?} is no node name; use up to 63 lower-case letters, digits, dashes and dots, with a letter or digit at \
         both ends"
    )]
    NodeName(String),
    #[error("node {0} is there twice; give every node a name and an address of its own")]
    DuplicateNode(NodeName),
    #[error("the address {ip} of {node} is not usable in {subnet}; choose another one inside it")]
    NodeAddress {
        node: NodeName,
        ip: std::net::Ipv4Addr,
        subnet: ipnet::Ipv4Net,
    },
    #[error("no node {0} in this fabric")]
    UnknownNode(NodeName),
    #[error("cannot {action}: {source}")]
    Io { action: String, source: io::Error },
    #[error("cannot {action}: {}", kernel_says(source))]
    Netlink {
        action: String,
        source: Box<rtnetlink::Error>,
    },
    #[error("the databases of {node}: {source}")]
    Ovsdb {
        node: NodeName,
        source: Box<ovsdb::Error>,
    },
    #[error("cannot read the database schema {}: {reason}", path.display())]
    Schema { path: PathBuf, reason: String },
    #[error("Open vSwitch of {node} refuses the interface {ifname}: {reason}")]
    Interface {
        node: NodeName,
        ifname: String,
        reason: String,
    },
    #[error("ovs-ofctl on {node} failed ({status}): {output}")]
    Flows {
        node: NodeName,
        status: String,
        output: String,
    },
    #[error(transparent)]
    DaemonDied(#[from] DaemonDied),
    #[error("{what} on {node} did not happen within {limit:?}")]
    Timeout {
        node: NodeName,
        what: String,
        limit: Duration,
    },
}

/// A daemon that the fabric cannot do without is gone. The fabric does not recover from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{daemon} of {node} ended ({status}); its last words were:\n{log}")]
pub struct DaemonDied {
    pub node: NodeName,
    pub daemon: &'static str,
    pub status: String,
    /// The last lines of its log.
    pub log: String,
}

/// In the words everybody knows; the library's own list the whole message in bytes.
fn kernel_says(error: &rtnetlink::Error) -> String {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        |source| Self::Io { action, source }
    }

    pub(crate) fn netlink(action: impl Fn() -> String) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |source| Self::Netlink {
            action: action(),
            source: Box::new(source),
        }
    }

    pub(crate) fn ovsdb(node: &NodeName) -> impl FnOnce(ovsdb::Error) -> Self {
        let node = node.clone();
        |source| Self::Ovsdb {
            node,
            source: Box::new(source),
        }
    }
}
