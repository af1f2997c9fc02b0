//! What can go wrong with containers.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("cannot {action}: {source}")]
    Io {
        action: String,
        #[source]
        source: io::Error,
    },
    /// In runc's own words, without its `runc … failed: `.
    #[error("{0}")]
    Runc(String),
    #[error("cgroups are mounted writable at {}: runc would create some on this machine; unmount them in this mount namespace", .0.display())]
    WritableCgroups(PathBuf),
    #[error("command timed out: {command:?} timed out after {seconds}s")]
    TimedOut { command: String, seconds: u64 },
    #[error("container is not running")]
    NotRunning,
}

impl RuntimeError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }

    pub(crate) fn errno(action: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let action = action.into();
        move |source| Self::Io {
            action,
            source: source.into(),
        }
    }

    pub(crate) fn nix(action: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let action = action.into();
        move |source| Self::Io {
            action,
            source: source.into(),
        }
    }
}
