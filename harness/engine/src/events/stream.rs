//! Sending and receiving events.

use std::{
    pin::Pin,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use futures::Stream;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{CaseId, Event, EventKind, Redactor, RunId, StepId, VERSION};

/// A stream for one run. It is unbounded: reports are cheap, and a slow one must not slow down what is measured.
pub fn channel(run: RunId) -> (EventSender, EventReceiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (
        EventSender {
            run,
            sender,
            redactor: Redactor::default(),
        },
        EventReceiver(receiver),
    )
}

/// Sends events of a run; clones send into the same stream.
#[derive(Clone, Debug)]
pub struct EventSender {
    run: RunId,
    sender: mpsc::UnboundedSender<Event>,
    redactor: Redactor,
}

impl EventSender {
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// The secrets that are masked in this stream.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Sends an event about the run as a whole.
    pub fn send(&self, kind: EventKind) {
        self.emit(None, None, kind);
    }

    /// A sender for one case.
    pub fn case(&self, case: CaseId) -> CaseEvents {
        CaseEvents {
            sender: self.clone(),
            case,
            probes: Arc::default(),
        }
    }

    fn emit(&self, case: Option<&CaseId>, step: Option<StepId>, kind: EventKind) {
        let event = Event {
            v: VERSION,
            at: Timestamp::now(),
            run: self.run.clone(),
            case: case.cloned(),
            step,
            kind,
        };
        // Nobody listening is no error: a library user may not care for events.
        let _ = self.sender.send(self.redactor.event(event));
    }
}

/// Sends events of one case.
#[derive(Clone, Debug)]
pub struct CaseEvents {
    sender: EventSender,
    case: CaseId,
    probes: Arc<AtomicU64>,
}

impl CaseEvents {
    pub fn send(&self, kind: EventKind) {
        self.sender.emit(Some(&self.case), None, kind);
    }

    pub fn case(&self) -> &CaseId {
        &self.case
    }

    pub fn redactor(&self) -> &Redactor {
        &self.sender.redactor
    }

    /// A sender for one step.
    pub fn step(&self, step: StepId) -> StepEvents {
        StepEvents {
            case: self.clone(),
            step: Some(step),
        }
    }

    /// A sender for what happens before the first step and after the last one.
    pub fn around(&self) -> StepEvents {
        StepEvents {
            case: self.clone(),
            step: None,
        }
    }
}

/// Sends events of one step, or of what happens around the steps.
#[derive(Clone, Debug)]
pub struct StepEvents {
    case: CaseEvents,
    step: Option<StepId>,
}

impl StepEvents {
    pub fn send(&self, kind: EventKind) {
        self.case
            .sender
            .emit(Some(&self.case.case), self.step, kind);
    }

    pub fn progress(&self, message: impl Into<String>) {
        self.send(EventKind::StepProgress {
            message: message.into(),
        });
    }

    /// The next probe's number in this case.
    pub fn next_probe(&self) -> u64 {
        self.case.probes.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn redactor(&self) -> &Redactor {
        self.case.redactor()
    }
}

/// Receives the events of a run, until every sender is gone.
#[derive(Debug)]
pub struct EventReceiver(mpsc::UnboundedReceiver<Event>);

impl EventReceiver {
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// An event that is already there.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

impl Stream for EventReceiver {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Location, Phase};

    #[test]
    fn events_survive_a_round_trip_through_a_line() {
        let (sender, mut receiver) = channel(RunId::random());
        let step = sender.case(CaseId("a[b=c]".into())).step(StepId {
            phase: Phase::Steps,
            index: 2,
        });
        step.send(EventKind::StepStarted {
            title: "Hello".into(),
            verb: "curl".into(),
            at_line: Location {
                file: "a.yaml".into(),
                line: 3,
                column: Some(5),
            },
        });
        let event = receiver.try_recv().expect("one event");
        let line = serde_json::to_string(&event).expect("serialises");
        assert!(line.contains(r#""event":"step_started""#), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).expect("parses"), event);
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let (sender, mut receiver) = channel(RunId::random());
        sender.redactor().add("cheese");
        sender.redactor().add("cheesecake");
        sender.redactor().add("abc");
        sender.send(EventKind::Warning {
            message: "cheesecake, cheese and abc".into(),
            at_line: None,
        });
        sender.send(EventKind::Captured {
            name: "x".into(),
            value: serde_json::json!([{"deep": "a cheese"}]),
        });
        let Some(EventKind::Warning { message, .. }) = receiver.try_recv().map(|e| e.kind) else {
            panic!()
        };
        assert_eq!(message, "***, *** and abc");
        let Some(EventKind::Captured { value, .. }) = receiver.try_recv().map(|e| e.kind) else {
            panic!()
        };
        assert_eq!(value, serde_json::json!([{"deep": "a ***"}]));
    }
}
