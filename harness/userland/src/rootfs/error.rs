//! What can stand in the way of a root file system.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::contain::{ContainError, IdMapError};
use crate::yaml::Wrong;

#[derive(Debug, Error)]
pub enum RootFsError {
    #[error("the recipe {kind}.yaml is wrong at line {}, column {}: {}", .wrong.line, .wrong.column, .wrong.message)]
    Recipe { kind: &'static str, wrong: Wrong },
    #[error(
        "mmdebstrap is not installed, and root file systems are built with it: apt-get install mmdebstrap"
    )]
    NoMmdebstrap,
    #[error(
        "{} is missing, and Debian's packages are checked with it: apt-get install debian-archive-keyring", .0.display()
    )]
    NoKeyring(PathBuf),
    #[error(
        "the keys in {} do not vouch for Debian {release}: they are too old (apt-get install --only-upgrade debian-archive-keyring) or {mirror} is not Debian's ({detail})", .keyring.display()
    )]
    KeyringTooOld {
        keyring: PathBuf,
        release: String,
        mirror: String,
        detail: String,
    },
    #[error(
        "the package source {host} does not answer ({detail}); check the network, or name another mirror in TRUNKLINE_DEBIAN_MIRROR. What was downloaded is kept"
    )]
    SourceSilent { host: String, detail: String },
    #[error(
        "the package source {mirror} lacks something ({detail}); name a complete mirror in TRUNKLINE_DEBIAN_MIRROR"
    )]
    SourceIncomplete { mirror: String, detail: String },
    #[error(
        "TRUNKLINE_DEBIAN_MIRROR is `{0}`, which is not an address that starts with http:// or https://"
    )]
    BadMirror(String),
    #[error("TRUNKLINE_DEBIAN_TIMEOUT is `{0}`, which is not a whole number of seconds above 0")]
    BadTimeout(String),
    #[error(
        "root file system {kind} needs {needs_mb} MB at {}, and {free_mb} MB are free; make room there or set TRUNKLINE_CACHE", .path.display()
    )]
    NoRoom {
        kind: &'static str,
        needs_mb: u64,
        free_mb: u64,
        path: PathBuf,
    },
    #[error("the disk at {} is full; make room there or set TRUNKLINE_CACHE. What was downloaded is kept", .0.display())]
    DiskFull(PathBuf),
    #[error("root file system {kind} was not built: {detail}; everything that was said is in {}", .log.display())]
    Failed {
        kind: &'static str,
        detail: String,
        log: PathBuf,
    },
    #[error("root file system {kind} is unusable: `{check}` fails in it: {output}")]
    Check {
        kind: &'static str,
        check: String,
        output: String,
    },
    #[error("cancelled; what was downloaded is kept")]
    Cancelled,
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    #[error(transparent)]
    Contain(#[from] ContainError),
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl RootFsError {
    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull => Self::DiskFull(path),
            _ => Self::Io { what, path, source },
        }
    }
}
