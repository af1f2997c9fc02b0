//! How a case's objects and events differ from the recorded ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use serde_json::{Value, json};
use trunkline_ovnk::Key;
use trunkline_ovnk::northbound::Placeholders;

use super::live::Live;
use crate::record::{read, world_after};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    Missing,
    Additional,
    Different,
}

impl Difference {
    pub fn word(self) -> &'static str {
        match self {
            Difference::Missing => "missing",
            Difference::Additional => "additional",
            Difference::Different => "different",
        }
    }
}

/// Something that the documentation must have a line for.
#[derive(Debug)]
pub struct Finding {
    pub case: String,
    /// Kind and name.
    pub object: String,
    pub what: String,
    pub difference: Difference,
    #[allow(dead_code, reason = "read by whoever reads the failure")]
    pub detail: String,
}

/// What the kubelet makes of an error of the network.
const SANDBOX: &str = "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \"<sandbox>\": ";

/// How long nothing must have happened for nothing more to be told.
const LIMIT: Duration = Duration::from_secs(1);

/// Annotations that OVN-Kubernetes and Multus write and read.
const OURS: [&str; 2] = ["k8s.ovn.org/", "k8s.v1.cni.cncf.io/"];

pub async fn all(live: &Live<'_>) -> Vec<Finding> {
    let here = Placeholders::new(&live.cluster.ovnk.world());
    let there = Placeholders::new(&world_after(live.case, live.case.compared));
    let mut found = Vec::new();
    for recorded in &live.compared {
        let kind = recorded["kind"].as_str().unwrap();
        if !matches!(kind, "Pod" | "NetworkAttachmentDefinition") {
            continue;
        }
        let name = recorded["metadata"]["name"].as_str().unwrap();
        let object = format!("{kind}/{name}");
        let actual = live.api(&with_version(recorded)).get(name).await.unwrap();
        let actual = serde_json::to_value(actual).unwrap();
        let (expected, actual) = (annotations(recorded, &there), annotations(&actual, &here));
        for (key, difference, detail) in differences(&expected, &actual) {
            found.push(live.finding(&object, format!("annotation {key}"), difference, detail));
        }
        if kind == "Pod" {
            found.extend(live.outcome(recorded, &there, &here));
        }
    }
    found.extend(live.events(&there, &here).await);
    found
}

/// The recorder left the version of built-in kinds out.
fn with_version(object: &Value) -> Value {
    let mut object = object.clone();
    if object["apiVersion"].is_null() {
        object["apiVersion"] = json!("v1");
    }
    object
}

fn annotations(object: &Value, placeholders: &Placeholders) -> BTreeMap<String, Value> {
    let annotations = object["metadata"]["annotations"].as_object();
    annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| OURS.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| {
            let text = value.as_str().unwrap();
            let value = match serde_json::from_str(text) {
                Ok(Value::Number(_)) => json!("<number>"),
                Ok(value @ (Value::Object(_) | Value::Array(_))) => normal(value, placeholders),
                _ => json!(placeholders.text(text)),
            };
            (key.clone(), value)
        })
        .collect()
}

fn normal(value: Value, placeholders: &Placeholders) -> Value {
    match value {
        Value::String(text) => json!(placeholders.text(&text)),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| normal(item, placeholders));
            Value::Array(items.collect())
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| {
                let value = match key.as_str() {
                    "tunnel_id" => json!("<tunnel>"),
                    _ => normal(value, placeholders),
                };
                (key, value)
            });
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// By key.
fn differences(
    expected: &BTreeMap<String, Value>,
    actual: &BTreeMap<String, Value>,
) -> Vec<(String, Difference, String)> {
    let keys: BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
    let compare = |key: &String| match (expected.get(key), actual.get(key)) {
        (Some(expected), Some(actual)) if expected == actual => None,
        (Some(expected), Some(actual)) => {
            let detail = format!("expected {expected}, got {actual}");
            Some((Difference::Different, detail))
        }
        (Some(expected), None) => Some((Difference::Missing, expected.to_string())),
        (None, actual) => Some((Difference::Additional, format!("{actual:?}"))),
    };
    keys.into_iter()
        .filter_map(|key| {
            let (difference, detail) = compare(key)?;
            Some((key.clone(), difference, detail))
        })
        .collect()
}

/// An event without its times.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    object: String,
    reason: String,
    kind: String,
    message: String,
}

impl Live<'_> {
    fn finding(
        &self,
        object: &str,
        what: String,
        difference: Difference,
        detail: String,
    ) -> Finding {
        Finding {
            case: self.case.name.clone(),
            object: object.to_owned(),
            what,
            difference,
            detail,
        }
    }

    /// A pod runs when it was connected, and has the addresses of its default network.
    fn outcome(
        &self,
        recorded: &Value,
        there: &Placeholders,
        here: &Placeholders,
    ) -> Option<Finding> {
        let text = |field: &str| recorded["metadata"][field].as_str().unwrap();
        let key = Key::new(text("namespace"), text("name"));
        let ips = recorded["status"]["podIPs"].as_array();
        let expected: Vec<_> = ips
            .into_iter()
            .flatten()
            .map(|ip| there.text(ip["ip"].as_str().unwrap()))
            .collect();
        let actual: Vec<_> = match &self.pods[&key].outcome {
            Some(Ok(addresses)) => addresses.iter().map(|ip| here.text(ip)).collect(),
            Some(Err(_)) | None => Vec::new(),
        };
        (expected != actual).then(|| {
            let detail = format!("expected {expected:?}, got {actual:?}");
            let object = format!("Pod/{}", key.name);
            self.finding(
                &object,
                "addresses".to_owned(),
                Difference::Different,
                detail,
            )
        })
    }

    async fn events(&self, there: &Placeholders, here: &Placeholders) -> Vec<Finding> {
        let mut found = Vec::new();
        let expected = self.recorded_events(there);
        let actual = self.settled_events(here, &expected).await;
        let told: BTreeSet<_> = expected.keys().chain(actual.keys()).collect();
        for told in told {
            let (difference, detail) = match (expected.get(told), actual.get(told)) {
                (Some(_), None) => (Difference::Missing, told.message.clone()),
                (None, _) => (Difference::Additional, told.message.clone()),
                (Some(expected), Some(actual)) if expected != actual && !self.is_repeated(told) => {
                    let detail = format!("{actual} times, not {expected}: {}", told.message);
                    (Difference::Different, detail)
                }
                (Some(_), Some(_)) => continue,
            };
            let what = format!("event {}", told.reason);
            found.push(self.finding(&told.object, what, difference, detail));
        }
        found
    }

    /// How often depends on how long the kubelet went on trying.
    fn is_repeated(&self, told: &Told) -> bool {
        let tried = ["AddedInterface", "FailedCreatePodSandBox", "NoNetworkFound"];
        let pod = told.object.strip_prefix("Pod/");
        let connected = self.pods.iter().any(|(key, connected)| {
            Some(key.name.as_str()) == pod && matches!(connected.outcome, Some(Ok(_)))
        });
        tried.contains(&told.reason.as_str()) && !connected
    }

    fn recorded_events(&self, there: &Placeholders) -> BTreeMap<Told, i64> {
        let recorded = read(&self.case.name, "objects.json");
        let lists = recorded["objects"].as_array().unwrap().iter();
        lists
            .filter(|object| object["kind"] == "Events")
            .flat_map(|list| list["items"].as_array().unwrap())
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                let told = Told {
                    object: text("object"),
                    reason: text("reason"),
                    kind: text("type"),
                    message: there.text(&text("message")),
                };
                (told, event["times"].as_i64().unwrap())
            })
            .filter(|(told, _)| self.is_about_compared(&told.object))
            .collect()
    }

    /// Events about definitions do not say that they are about one.
    fn is_about_compared(&self, object: &str) -> bool {
        self.compared.iter().any(|compared| {
            let name = compared["metadata"]["name"].as_str().unwrap();
            match compared["kind"].as_str() {
                Some("Pod") => object == format!("Pod/{name}"),
                _ => object == format!("None/{name}"),
            }
        })
    }

    /// They are written after what they tell of; some never are.
    async fn settled_events(
        &self,
        here: &Placeholders,
        expected: &BTreeMap<Told, i64>,
    ) -> BTreeMap<Told, i64> {
        let api: Api<Event> = Api::all(self.cluster.client.clone());
        let changes = watcher(api, watcher::Config::default()).touched_objects();
        let mut changes = std::pin::pin!(changes);
        loop {
            let told = self.live_events(here).await;
            let change = tokio::time::timeout(LIMIT, changes.next());
            if expected.keys().all(|event| told.contains_key(event)) || change.await.is_err() {
                return told;
            }
        }
    }

    async fn live_events(&self, here: &Placeholders) -> BTreeMap<Told, i64> {
        let mut told = BTreeMap::new();
        let namespaces: BTreeSet<_> = self
            .compared
            .iter()
            .filter_map(|object| object["metadata"]["namespace"].as_str())
            .collect();
        for namespace in namespaces {
            let api: Api<Event> = Api::namespaced(self.cluster.client.clone(), namespace);
            for event in api.list(&ListParams::default()).await.unwrap() {
                let about = &event.involved_object;
                let kind = about.kind.as_deref().unwrap_or("None");
                let object = format!("{kind}/{}", about.name.as_deref().unwrap());
                if !self.is_about_compared(&object) {
                    continue;
                }
                let event_told = Told {
                    object,
                    reason: event.reason.unwrap(),
                    kind: event.type_.unwrap(),
                    message: here.text(&event.message.unwrap()),
                };
                *told.entry(event_told).or_insert(0) += i64::from(event.count.unwrap());
            }
        }
        // The kubelet is not here to say it.
        for connected in self.pods.values() {
            let Some(Err(error)) = &connected.outcome else {
                continue;
            };
            let error = anonymous(error, &connected.pod, &connected.sandbox);
            let failed = Told {
                object: format!("Pod/{}", connected.pod.name_any()),
                reason: "FailedCreatePodSandBox".to_owned(),
                kind: "Warning".to_owned(),
                message: here.text(&format!("{SANDBOX}{error}")),
            };
            told.insert(failed, 1);
        }
        told
    }
}

/// As the recorder writes it.
fn anonymous(message: &str, pod: &Pod, sandbox: &str) -> String {
    let uid = pod.uid().unwrap();
    message.replace(&uid, "<uid>").replace(sandbox, "<sandbox>")
}
