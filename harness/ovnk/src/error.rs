//! What can go wrong.

use std::sync::Arc;

use trunkline_fabric::NodeName;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("zone {zone}: {source}")]
    Database {
        zone: NodeName,
        source: ovsdb::Error,
    },
    #[error("cannot create namespace {namespace}: {source}")]
    Namespace {
        namespace: String,
        source: Box<kube::Error>,
    },
    #[error("cannot set up the gateway of {node}: {source}")]
    Gateway {
        node: NodeName,
        source: trunkline_fabric::Error,
    },
    #[error("a node is not ready: {0}")]
    NotReady(Arc<Error>),
    #[error("cannot list what exists: {0}")]
    List(Box<kube::Error>),
    #[error("the network controllers have ended")]
    Ended,
}
