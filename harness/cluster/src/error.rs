use crate::{context::ContextError, docker::DockerError, kind::KindError, outside::OutsideError};

/// Anything that goes wrong with a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(transparent)]
    Kind(#[from] KindError),
    #[error(transparent)]
    Docker(#[from] DockerError),
    #[error(transparent)]
    Outside(#[from] OutsideError),
}
