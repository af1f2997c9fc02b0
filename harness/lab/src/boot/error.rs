//! Why a lab did not start.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::doctor::Check;

#[derive(Debug, thiserror::Error)]
pub enum BootError {
    #[error("no root file system at {}: {source}", path.display())]
    RootFs { path: PathBuf, source: io::Error },
    #[error("cannot open the lab's log {}: {source}", path.display())]
    Log { path: PathBuf, source: io::Error },
    /// The host refuses something a lab needs, and the doctor knows what to do.
    #[error("cannot {}: {}{}", failure.step, check.found, fix(check))]
    Host { failure: Failure, check: Box<Check> },
    #[error("{0}")]
    Failed(Failure),
    #[error("cannot {action}: {source}")]
    Supervise {
        action: &'static str,
        source: io::Error,
    },
    #[error("the lab ended while it was starting ({0}); its log says more")]
    Ended(ExitStatus),
    #[error("the lab did not start within {0:?}; its log says more")]
    Slow(Duration),
}

fn fix(check: &Check) -> String {
    check
        .fix
        .as_ref()
        .map(|command| format!("; run: {command}"))
        .unwrap_or_default()
}

/// A step of boot that failed, as told by the process that tried it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub step: Step,
    pub errno: i32,
    /// What the step was working on.
    pub detail: String,
}

impl Failure {
    pub(super) fn new(step: Step, errno: Errno, detail: impl Into<String>) -> Self {
        Self {
            step,
            errno: errno as i32,
            detail: detail.into(),
        }
    }

    pub(super) fn io(step: Step, error: &io::Error, detail: impl Into<String>) -> Self {
        Self {
            step,
            errno: error.raw_os_error().unwrap_or(0),
            detail: match (error.raw_os_error(), detail.into()) {
                (Some(_), detail) => detail,
                (None, detail) if detail.is_empty() => error.to_string(),
                (None, detail) => format!("{detail}: {error}"),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.step)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        if self.errno != 0 {
            write!(f, ": {}", io::Error::from_raw_os_error(self.errno))?;
        }
        Ok(())
    }
}

/// What boot does, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Step {
    Handshake,
    SingleThread,
    UserNamespace,
    IdMaps,
    Namespaces,
    Tun,
    Fork,
    Tree,
    Overlay,
    Proc,
    Sys,
    Devices,
    Cache,
    PivotRoot,
    Runtime,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handshake => "talk to the lab's supervisor",
            Self::SingleThread => "boot a lab from a process with several threads",
            Self::UserNamespace => "make a user namespace",
            Self::IdMaps => "map user and group ids into the lab",
            Self::Namespaces => "make the lab's namespaces",
            Self::Tun => "use /dev/net/tun",
            Self::Fork => "start a process of the lab",
            Self::Tree => "prepare the lab's directory tree",
            Self::Overlay => "mount the lab's root file system",
            Self::Proc => "mount /proc in the lab",
            Self::Sys => "mount /sys in the lab",
            Self::Devices => "make the lab's devices",
            Self::Cache => "show the cache to the lab",
            Self::PivotRoot => "enter the lab's root file system",
            Self::Runtime => "start the lab's server",
        })
    }
}
