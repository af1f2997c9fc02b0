//! Steps: what is done, in order.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::capture::Let;
use super::matcher::{Statement, TextMatch};
use super::probe::Probe;
use super::reference::ObjectRef;
use super::scenario::{ExpectedFailure, Retry};
use super::template::Late;
use super::until::UntilSpec;
use crate::span::{Located, Span};

/// One step. The engine does, in this order: `action`; wait for all of `until`; take the captures of
/// `lets`; check the `statements`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The whole mapping.
    pub at: Span,
    /// A sentence that says what is shown.
    pub title: Located<String>,
    pub action: Action,
    /// All must become true before the step is over.
    pub until: Vec<UntilSpec>,
    pub lets: Vec<Let>,
    /// Sentences about captured values that must hold.
    pub statements: Vec<Statement>,
    pub known: Option<ExpectedFailure>,
    pub retry: Option<Retry>,
    /// For the step as a whole where it waits for objects; for each attempt where it probes.
    pub timeout: Option<Located<Duration>>,
}

#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one per step of a file: few, and never moved in bulk"
)]
pub enum Action {
    Apply(Apply),
    Delete(Delete),
    /// `start`, `stop` or `restart` of these.
    Run(Lifecycle, Vec<Late<ObjectRef>>),
    /// Started together; each is judged by itself. A step with one verb is a list of one.
    Probe(Vec<Probe>),
    /// Nothing is done: the step only waits (`until`), captures (`let`) or states (`expect`).
    Look,
}

impl Action {
    /// The verb as written in the file.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Delete(_) => "delete",
            Self::Run(what, _) => what.verb(),
            Self::Probe(probes) => match probes.as_slice() {
                [probe] => probe.call.verb(),
                _ => "together",
            },
            Self::Look => "look",
        }
    }
}

/// What happens to a virtual machine, or (only `restart`) to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    Start,
    /// Waits until the instance is gone.
    Stop,
    /// Waits until nothing of what ran before is left.
    Restart,
}

impl Lifecycle {
    pub const ALL: &[Lifecycle] = &[Self::Start, Self::Stop, Self::Restart];

    pub fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// The kinds it can be done to.
    pub fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Start | Self::Stop => &["vm"],
            Self::Restart => &["vm", "deployment", "statefulset", "daemonset"],
        }
    }
}

/// Server-side apply of every object of the manifests, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Apply {
    /// Keys of [`crate::Manifests`].
    pub files: Vec<Located<Utf8PathBuf>>,
    /// For objects whose manifest names no namespace; `default` when `None`.
    pub namespace: Option<Located<String>>,
    /// The API must refuse it, with this.
    pub rejected: Option<Rejected>,
}

/// How the API must refuse a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    pub at: Span,
    /// The `reason` of the status, as in `Forbidden` or `Invalid`.
    pub reason: Option<Located<String>>,
    pub message: Option<TextMatch>,
}

/// Objects are deleted together; the step waits until they are gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Delete {
    pub targets: Vec<Target>,
    /// For objects whose manifest names no namespace.
    pub namespace: Option<Located<String>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Object(Late<ObjectRef>),
    /// Every object of a manifest.
    File(Located<Utf8PathBuf>),
}
