//! Nodes, namespaces and events.

use jiff::Timestamp;
use serde_json::Value;

use super::age::since;
use super::{Head, Printer, age, col, or_none, wide};
use crate::object;

const NODE: &[Head] = &[
    col("Name"),
    col("Status"),
    col("Roles"),
    col("Age"),
    col("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];
const NAMESPACE: &[Head] = &[col("Name"), col("Status"), col("Age")];
const EVENT: &[Head] = &[
    col("Last Seen"),
    col("Type"),
    col("Reason"),
    col("Object"),
    wide("Subobject"),
    wide("Source"),
    col("Message"),
    wide("First Seen"),
    wide("Count"),
    wide("Name"),
];
const ROLE_LABEL: &str = "node-role.kubernetes.io/";

pub fn printer(key: (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match key {
        ("", "nodes") => (NODE, node),
        ("", "namespaces") => (NAMESPACE, |object, now| {
            vec![
                object::name(object).into(),
                object::text(object, &["status", "phase"]).into(),
                age(object, now),
            ]
        }),
        ("", "events") => (EVENT, event),
        ("events.k8s.io", "events") => (EVENT, |object, now| {
            event(&crate::kinds::events::to_core(object.clone()), now)
        }),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn node(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |key: &str| object::text(node, &["status", "nodeInfo", key]);
    let or_unknown = |text: &str| Value::from(if text.is_empty() { "<unknown>" } else { text });
    let address = |kind: &str| {
        let found = object::list(node, &["status", "addresses"])
            .iter()
            .find(|a| object::text(a, &["type"]) == kind)
            .map_or("", |a| object::text(a, &["address"]));
        or_none(found)
    };
    vec![
        object::name(node).into(),
        node_status(node).into(),
        or_none(&roles(node)),
        age(node, now),
        info("kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(info("osImage")),
        or_unknown(info("kernelVersion")),
        or_unknown(info("containerRuntimeVersion")),
    ]
}

fn node_status(node: &Value) -> String {
    let ready = object::list(node, &["status", "conditions"])
        .iter()
        .find(|c| object::text(c, &["type"]) == "Ready")
        .map(|c| object::text(c, &["status"]));
    let mut status = match ready {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object::at(node, &["spec", "unschedulable"]) == &Value::Bool(true) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = object::map(node, &["metadata", "labels"])
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL) {
            Some("") => None,
            None if key == "kubernetes.io/role" => value.as_str(),
            role => role,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let time = |path: &[&str]| Some(object::text(event, path)).filter(|t| !t.is_empty());
    let first = time(&["firstTimestamp"])
        .or_else(|| time(&["eventTime"]))
        .unwrap_or_default();
    let last = time(&["series", "lastObservedTime"])
        .or_else(|| time(&["lastTimestamp"]))
        .unwrap_or(first);
    let count = object::integer(event, &["series", "count"])
        .or_else(|| object::integer(event, &["count"]).filter(|c| *c > 0))
        .unwrap_or(1);
    let kind = object::text(event, &["involvedObject", "kind"]).to_lowercase();
    let target = match object::text(event, &["involvedObject", "name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let text = |path: &[&str]| Value::from(object::text(event, path));
    vec![
        since(last, now).into(),
        text(&["type"]),
        text(&["reason"]),
        target.into(),
        text(&["involvedObject", "fieldPath"]),
        source(event).into(),
        object::text(event, &["message"]).trim().into(),
        since(first, now).into(),
        count.into(),
        object::name(event).into(),
    ]
}

fn source(event: &Value) -> String {
    let component = object::text(event, &["source", "component"]);
    let host = object::text(event, &["source", "host"]);
    let (component, host) = if component.is_empty() {
        (
            object::text(event, &["reportingComponent"]),
            object::text(event, &["reportingInstance"]),
        )
    } else {
        (component, host)
    };
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}
