//! Kubernetes events, repeated ones counted instead of written again.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

use crate::names::Key;

/// Who says it: Kubernetes shows this as the event's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// OVN-Kubernetes, all of its processes.
    ControlPlane,
    Multus,
}

impl Source {
    fn component(self) -> &'static str {
        match self {
            Source::ControlPlane => "controlplane",
            Source::Multus => "multus",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// What happened to an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Happening {
    pub(crate) source: Source,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What it happened to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Pod {
        key: Key,
        uid: String,
    },
    /// Upstream forgets to say which kind of object it is.
    Nad {
        key: Key,
    },
}

impl Subject {
    fn key(&self) -> &Key {
        match self {
            Subject::Pod { key, .. } | Subject::Nad { key } => key,
        }
    }

    fn reference(&self) -> ObjectReference {
        let key = self.key();
        let mut reference = ObjectReference {
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            ..ObjectReference::default()
        };
        if let Subject::Pod { uid, .. } = self {
            reference.api_version = Some("v1".to_owned());
            reference.kind = Some("Pod".to_owned());
            reference.uid = Some(uid.clone());
        }
        reference
    }
}

/// Writes events in the order in which they were recorded, without making anybody wait.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(mpsc::UnboundedSender<(Subject, Happening)>);

impl Recorder {
    /// Ends with its last clone.
    pub(crate) fn start(client: kube::Client) -> Recorder {
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(write_all(client, rx));
        Recorder(tx)
    }

    pub(crate) fn record(&self, subject: Subject, happening: Happening) {
        // Nobody reads events of a lab that is being torn down.
        let _ = self.0.send((subject, happening));
    }
}

/// The object that an event became.
struct Written {
    name: String,
    count: i32,
}

async fn write_all(client: kube::Client, mut queue: mpsc::UnboundedReceiver<(Subject, Happening)>) {
    let mut written: HashMap<(Subject, Happening), Written> = HashMap::new();
    while let Some((subject, happening)) = queue.recv().await {
        let namespace = subject.key().namespace.clone();
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let about = (subject, happening);
        let result = if let Some(known) = written.get_mut(&about) {
            known.count += 1;
            let patch = json!({"count": known.count, "lastTimestamp": now()});
            let params = PatchParams::default();
            let patched = api.patch(&known.name, &params, &Patch::Merge(patch)).await;
            patched.map(drop)
        } else {
            let event = new_event(&about.0, &about.1);
            let name = event.metadata.name.clone().unwrap_or_default();
            let created = api.create(&PostParams::default(), &event).await;
            written.insert(about, Written { name, count: 1 });
            created.map(drop)
        };
        if let Err(error) = result {
            // As with the real thing: an event that cannot be written is lost.
            tracing::debug!(%namespace, %error, "event lost");
        }
    }
}

fn now() -> Time {
    Time(jiff::Timestamp::now())
}

fn new_event(subject: &Subject, happening: &Happening) -> Event {
    let key = subject.key();
    // As Go's recorder names them; lists are in the order of names, and so in the order of time.
    let moment = jiff::Timestamp::now().as_nanosecond();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{moment:x}", key.name)),
            namespace: Some(key.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: subject.reference(),
        reason: Some(happening.reason.to_owned()),
        message: Some(happening.message.clone()),
        type_: Some(
            match happening.severity {
                Severity::Normal => "Normal",
                Severity::Warning => "Warning",
            }
            .to_owned(),
        ),
        source: Some(EventSource {
            component: Some(happening.source.component().to_owned()),
            host: None,
        }),
        reporting_component: Some(happening.source.component().to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(now()),
        last_timestamp: Some(now()),
        count: Some(1),
        ..Event::default()
    }
}
