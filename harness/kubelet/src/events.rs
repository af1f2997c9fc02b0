//! Core/v1 events, counted instead of repeated.
//!
//! Recording never waits: one task per recorder writes in order, so an event can never hold up a pod.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::debug;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reporter {
    /// Such as `kubelet`.
    pub component: &'static str,
    /// The node, where the reporter has one.
    pub host: Option<String>,
}

impl Reporter {
    pub fn component(component: &'static str) -> Self {
        Self {
            component,
            host: None,
        }
    }
}

struct Entry {
    reporter: Reporter,
    about: ObjectReference,
    severity: Severity,
    reason: &'static str,
    message: String,
    action: Option<&'static str>,
    at: Timestamp,
}

/// Hands events to the API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Entry>,
}

impl Recorder {
    /// Starts the writing task, which ends with the last clone of the recorder.
    pub fn start(client: kube::Client) -> Self {
        let (queue, entries) = mpsc::unbounded_channel();
        tokio::spawn(write(client, entries));
        Self { queue }
    }

    pub fn record(
        &self,
        reporter: &Reporter,
        about: ObjectReference,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.push(reporter, about, severity, reason, message.into(), None);
    }

    /// An event in the newer style, as the scheduler writes them: with an action and without a count.
    pub(crate) fn act(
        &self,
        reporter: &Reporter,
        about: ObjectReference,
        severity: Severity,
        reason: &'static str,
        action: &'static str,
        message: impl Into<String>,
    ) {
        self.push(
            reporter,
            about,
            severity,
            reason,
            message.into(),
            Some(action),
        );
    }

    fn push(
        &self,
        reporter: &Reporter,
        about: ObjectReference,
        severity: Severity,
        reason: &'static str,
        message: String,
        action: Option<&'static str>,
    ) {
        let entry = Entry {
            reporter: reporter.clone(),
            about,
            severity,
            reason,
            message,
            action,
            at: Timestamp::now(),
        };
        // the writer only ends with the runtime, and then nobody reads events
        let _ = self.queue.send(entry);
    }
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    reporter: Reporter,
    uid: Option<String>,
    name: Option<String>,
    field: Option<String>,
    severity: Severity,
    reason: &'static str,
    message: String,
}

struct Known {
    name: String,
    count: i32,
}

/// Enough for every pod of a large lab; beyond it, counting starts anew.
const REMEMBERED: usize = 4096;

async fn write(client: kube::Client, mut entries: mpsc::UnboundedReceiver<Entry>) {
    let mut known: HashMap<Key, Known> = HashMap::new();
    while let Some(entry) = entries.recv().await {
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let namespace = entry
            .about
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = Key {
            reporter: entry.reporter.clone(),
            uid: entry.about.uid.clone(),
            name: entry.about.name.clone(),
            field: entry.about.field_path.clone(),
            severity: entry.severity,
            reason: entry.reason,
            message: entry.message.clone(),
        };
        if let Some(seen) = known.get_mut(&key) {
            seen.count += 1;
            let patch = if entry.action.is_some() {
                json!({"series": {"count": seen.count, "lastObservedTime": MicroTime(entry.at)}})
            } else {
                json!({"count": seen.count, "lastTimestamp": Time(entry.at)})
            };
            match api
                .patch(&seen.name, &PatchParams::default(), &Patch::Merge(patch))
                .await
            {
                Ok(_) => continue,
                // expired or deleted meanwhile: write it anew
                Err(error) => debug!(%error, "event {} is gone", seen.name),
            }
        }
        let event = event(&entry, &namespace);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                known.insert(key, Known { name, count: 1 });
            }
            Err(error) => {
                // the usual reason is a namespace that is being deleted
                debug!(%error, reason = entry.reason, "event not written");
            }
        }
    }
}

fn event(entry: &Entry, namespace: &str) -> Event {
    let name = format!(
        "{}.{:016x}",
        entry.about.name.as_deref().unwrap_or("unknown"),
        u64::try_from(entry.at.as_nanosecond()).unwrap_or_default()
    );
    let counted = entry.action.is_none();
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: entry.about.clone(),
        type_: Some(entry.severity.as_str().to_owned()),
        reason: Some(entry.reason.to_owned()),
        message: Some(entry.message.clone()),
        action: entry.action.map(str::to_owned),
        count: counted.then_some(1),
        first_timestamp: counted.then_some(Time(entry.at)),
        last_timestamp: counted.then_some(Time(entry.at)),
        event_time: (!counted).then_some(MicroTime(entry.at)),
        source: Some(EventSource {
            component: counted.then(|| entry.reporter.component.to_owned()),
            host: entry.reporter.host.clone(),
        }),
        reporting_component: Some(entry.reporter.component.to_owned()),
        reporting_instance: Some(entry.reporter.host.clone().unwrap_or_else(|| {
            if counted {
                String::new()
            } else {
                format!("{}-lab", entry.reporter.component)
            }
        })),
        ..Event::default()
    }
}
