//! Events of KubeVirt's components: repeated ones are counted.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::mpsc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Such as `virt-handler`.
    pub component: &'static str,
    /// The node, where the reporter has one.
    pub host: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    source: Source,
    api_version: Option<String>,
    kind: Option<String>,
    namespace: String,
    name: Option<String>,
    uid: Option<String>,
    severity: Severity,
    reason: String,
    message: String,
}

struct Entry {
    subject: Subject,
    about: ObjectReference,
    at: Timestamp,
}

/// Hands events to the API in order; recording never waits. Cheap to clone.
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
        source: &Source,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: impl Into<String>,
    ) {
        let subject = Subject {
            source: source.clone(),
            api_version: about.api_version.clone(),
            kind: about.kind.clone(),
            namespace: about.namespace.clone().unwrap_or_else(|| "default".into()),
            name: about.name.clone(),
            uid: about.uid.clone(),
            severity,
            reason: reason.to_owned(),
            message: message.into(),
        };
        let at = Timestamp::now();
        // the writer only ends with the runtime, and then nobody reads events
        let _ = self.queue.send(Entry { subject, about, at });
    }
}

/// What an event is about.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

struct Written {
    name: String,
    count: i32,
}

/// Enough for every machine of a large lab; beyond it, counting starts anew.
const REMEMBERED: usize = 4096;

async fn write(client: kube::Client, mut entries: mpsc::UnboundedReceiver<Entry>) {
    let mut known: HashMap<Subject, Written> = HashMap::new();
    while let Some(entry) = entries.recv().await {
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let api: Api<Event> = Api::namespaced(client.clone(), &entry.subject.namespace);
        if let Some(written) = known.get_mut(&entry.subject) {
            written.count += 1;
            let patch = json!({"count": written.count, "lastTimestamp": Time(entry.at)});
            let params = PatchParams::default();
            match api
                .patch(&written.name, &params, &Patch::Merge(patch))
                .await
            {
                Ok(_) => continue,
                // expired or deleted meanwhile: it is written anew
                Err(error) => tracing::debug!(%error, "event {} is gone", written.name),
            }
        }
        let event = event(&entry);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                known.insert(entry.subject, Written { name, count: 1 });
            }
            // the usual reason is a namespace that is being deleted
            Err(error) => {
                tracing::debug!(%error, reason = entry.subject.reason, "event not written");
            }
        }
    }
}

fn event(entry: &Entry) -> Event {
    let subject = &entry.subject;
    let name = format!(
        "{}.{:016x}",
        subject.name.as_deref().unwrap_or("unknown"),
        u64::try_from(entry.at.as_nanosecond()).unwrap_or_default()
    );
    let severity = match subject.severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(subject.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: entry.about.clone(),
        type_: Some(severity.to_owned()),
        reason: Some(subject.reason.clone()),
        message: Some(subject.message.clone()),
        count: Some(1),
        first_timestamp: Some(Time(entry.at)),
        last_timestamp: Some(Time(entry.at)),
        source: Some(EventSource {
            component: Some(subject.source.component.to_owned()),
            host: subject.source.host.clone(),
        }),
        reporting_component: Some(subject.source.component.to_owned()),
        reporting_instance: Some(subject.source.host.clone().unwrap_or_default()),
        ..Event::default()
    }
}
