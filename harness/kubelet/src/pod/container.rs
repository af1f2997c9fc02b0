//! What is known of one container of a pod.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::status::{SlotView, StateView};
use crate::backoff::{Backoff, Schedule};
use crate::connector::{ContainerEntry, Running};
use crate::logs::LogBuffer;
use crate::probe::{Probes, Target};
use crate::refs::Kind;
use crate::runtime::{Bundle, Process};

/// How containers are prefixed in the API. What runs them here does so in containerd's place.
pub(super) const ID_PREFIX: &str = "containerd://";

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub reason: &'static str,
    pub message: Option<String>,
}

/// A container of the spec, over all its runs.
pub(super) struct Slot {
    pub spec: Container,
    pub kind: Kind,
    pub restarts: i32,
    pub run: Option<Run>,
    /// The run before the current one.
    pub last: Option<ContainerStateTerminated>,
    pub last_log: Option<Arc<LogBuffer>>,
    pub waiting: Option<Waiting>,
    pub crash: Backoff,
    pub pull: Backoff,
    /// When the image could not be had, and why.
    pub pull_failure: Option<(Instant, String)>,
    /// When a configuration error is looked at again.
    pub retry_at: Option<Instant>,
}

/// One run, ended or not.
pub(super) struct Run {
    pub id: String,
    pub image: String,
    pub image_id: String,
    pub begun: Timestamp,
    pub process: Option<Process>,
    pub finished: Option<Finished>,
    pub log: Arc<LogBuffer>,
    /// Startup has succeeded, or there is no such probe.
    pub started: bool,
    pub ready: bool,
    pub probes: Option<Probes>,
    pub target: Option<Target>,
    pub running: Option<Running>,
    pub bundle: Option<Bundle>,
    pub stop_signal: Option<String>,
    pub stopping: Option<AbortOnDropHandle<()>>,
}

pub(super) struct Finished {
    pub state: ContainerStateTerminated,
    pub at: Instant,
}

impl Slot {
    pub(super) fn new(spec: Container, kind: Kind) -> Self {
        Self {
            spec,
            kind,
            restarts: 0,
            run: None,
            last: None,
            last_log: None,
            waiting: None,
            crash: Backoff::new(Schedule::CONTAINERS),
            pull: Backoff::new(Schedule::CONTAINERS),
            pull_failure: None,
            retry_at: None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|r| r.finished.is_none())
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.run.as_ref().is_some_and(|r| r.stopping.is_some())
    }

    /// The exit code of the last run, if it has ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        Some(self.run.as_ref()?.finished.as_ref()?.state.exit_code)
    }

    pub(super) fn wait(&mut self, reason: &'static str, message: Option<String>) {
        self.waiting = Some(Waiting { reason, message });
    }

    /// What the API server may reach of it.
    pub(super) fn entry(&self) -> ContainerEntry {
        ContainerEntry {
            running: self
                .run
                .as_ref()
                .filter(|r| r.finished.is_none())
                .and_then(|r| r.running.clone()),
            log: self.run.as_ref().map(|r| Arc::clone(&r.log)),
            previous_log: self.last_log.clone(),
            waiting: self.waiting.as_ref().map(|w| match &w.message {
                Some(message) if w.reason.ends_with("Error") || w.reason.ends_with("BackOff") => {
                    match w.reason {
                        "ErrImagePull" | "ImagePullBackOff" => {
                            "trying and failing to pull image".to_owned()
                        }
                        _ => format!("{}: {message}", w.reason),
                    }
                }
                _ => w.reason.to_owned(),
            }),
        }
    }

    pub(super) fn view(&self) -> SlotView<'_> {
        let finished = self
            .run
            .as_ref()
            .and_then(|r| r.finished.as_ref())
            .map(|f| &f.state);
        let state = match (&self.waiting, &self.run, finished) {
            (Some(waiting), _, _) => StateView::Waiting {
                reason: Some(waiting.reason),
                message: waiting.message.as_deref(),
            },
            (None, Some(run), None) => StateView::Running(run.begun),
            (None, Some(_), Some(finished)) => StateView::Terminated(finished),
            (None, None, _) => StateView::Waiting {
                reason: None,
                message: None,
            },
        };
        // the run that a waiting container is about to repeat is its last one
        let last = match (&state, finished) {
            (StateView::Waiting { .. }, Some(finished)) => Some(finished),
            _ => self.last.as_ref(),
        };
        let running = matches!(state, StateView::Running(_));
        let run = self.run.as_ref();
        SlotView {
            spec: &self.spec,
            kind: self.kind,
            state,
            last,
            restarts: self.restarts,
            started: running && run.is_some_and(|r| r.started),
            ready: match self.kind {
                Kind::Init => finished.is_some_and(|f| f.exit_code == 0) && self.waiting.is_none(),
                Kind::Sidecar | Kind::Main => running && run.is_some_and(|r| r.started && r.ready),
            },
            container_id: run.map(|r| format!("{ID_PREFIX}{}", r.id)),
            image: run.map(|r| r.image.as_str()),
            image_id: run.map_or("", |r| r.image_id.as_str()),
        }
    }
}

impl Run {
    /// A run that could not even be started.
    pub(super) fn stillborn(id: String, image: String, image_id: String, message: String) -> Self {
        let now = Timestamp::now();
        let log = LogBuffer::new();
        log.close();
        Self {
            finished: Some(Finished {
                state: ContainerStateTerminated {
                    container_id: Some(format!("{ID_PREFIX}{id}")),
                    exit_code: 128,
                    finished_at: Some(Time(now)),
                    started_at: Some(Time(Timestamp::UNIX_EPOCH)),
                    reason: Some("StartError".to_owned()),
                    message: Some(message),
                    signal: None,
                },
                at: Instant::now(),
            }),
            id,
            image,
            image_id,
            begun: now,
            process: None,
            log,
            started: false,
            ready: false,
            probes: None,
            target: None,
            running: None,
            bundle: None,
            stop_signal: None,
            stopping: None,
        }
    }
}
