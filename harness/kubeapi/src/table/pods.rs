//! Pods and pod templates.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Head, Printer, age, col, containers, or_none, wide};
use crate::object;
use crate::registry::Served;
use crate::registry::builtin::PODS as STORED_PODS;

const PODS: &[Head] = &[
    col("Name"),
    col("Ready"),
    col("Status"),
    col("Restarts"),
    col("Age"),
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];
const TEMPLATES: &[Head] = &[
    col("Name"),
    col("Containers"),
    col("Images"),
    col("Pod Labels"),
];

/// What is said of the row of a pod that has ended.
pub fn conditions(served: &Served, pod: &Value) -> Option<Value> {
    if &*served.resource.storage != STORED_PODS {
        return None;
    }
    let phase = object::text(pod, &["status", "phase"]);
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
}

pub fn printer(key: (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match key {
        ("", "pods") => (PODS, pod),
        ("", "podtemplates") => (TEMPLATES, |object, _| {
            let [names, images] = containers(object::at(object, &["template", "spec"]));
            let labels = object::at(object, &["template", "metadata", "labels"]);
            vec![
                object::name(object).into(),
                names,
                images,
                super::selector(labels),
            ]
        }),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

/// What is counted while looking at the container statuses.
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: String,
}

impl Summary {
    fn restarted(&mut self, status: &Value) {
        self.restarts += object::integer(status, &["restartCount"]).unwrap_or(0);
        let finished = object::text(status, &["lastState", "terminated", "finishedAt"]);
        if finished > self.last_restart.as_str() {
            finished.clone_into(&mut self.last_restart);
        }
    }
}

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let sidecars: Vec<&str> = object::list(pod, &["spec", "initContainers"])
        .iter()
        .filter(|c| object::text(c, &["restartPolicy"]) == "Always")
        .map(|c| object::text(c, &["name"]))
        .collect();
    let total = object::list(pod, &["spec", "containers"]).len() + sidecars.len();
    let phase = object::text(pod, &["status", "phase"]);
    let mut summary = Summary {
        reason: first_reason(pod, phase).to_owned(),
        ready: 0,
        restarts: 0,
        last_restart: String::new(),
    };
    let initializing = init_containers(pod, &sidecars, &mut summary);
    if !initializing || condition(pod, "Initialized") {
        main_containers(pod, &sidecars, &mut summary);
    }
    let deleting = object::is_deleting(pod);
    if deleting && object::text(pod, &["status", "reason"]) == "NodeLost" {
        "Unknown".clone_into(&mut summary.reason);
    } else if deleting && !matches!(phase, "Failed" | "Succeeded") {
        "Terminating".clone_into(&mut summary.reason);
    }
    let restarts = match (summary.restarts, summary.last_restart.as_str()) {
        (0, _) | (_, "") => summary.restarts.to_string(),
        (count, last) => format!("{count} ({} ago)", age::since(last, now)),
    };
    vec![
        object::name(pod).into(),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts.into(),
        super::age(pod, now),
        or_none(first_ip(pod)),
        or_none(object::text(pod, &["spec", "nodeName"])),
        or_none(object::text(pod, &["status", "nominatedNodeName"])),
        readiness_gates(pod),
    ]
}

fn first_reason<'a>(pod: &'a Value, phase: &'a str) -> &'a str {
    let gated = object::list(pod, &["status", "conditions"])
        .iter()
        .any(|c| {
            object::text(c, &["type"]) == "PodScheduled"
                && object::text(c, &["reason"]) == "SchedulingGated"
        });
    match object::text(pod, &["status", "reason"]) {
        _ if gated => "SchedulingGated",
        "" => phase,
        reason => reason,
    }
}

fn first_ip(pod: &Value) -> &str {
    object::list(pod, &["status", "podIPs"])
        .first()
        .map_or("", |ip| object::text(ip, &["ip"]))
}

fn condition(pod: &Value, kind: &str) -> bool {
    object::list(pod, &["status", "conditions"])
        .iter()
        .any(|c| object::text(c, &["type"]) == kind && object::text(c, &["status"]) == "True")
}

fn exit_reason(terminated: &Value) -> String {
    let signal = object::integer(terminated, &["signal"]).unwrap_or(0);
    match object::text(terminated, &["reason"]) {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!(
            "ExitCode:{}",
            object::integer(terminated, &["exitCode"]).unwrap_or(0)
        ),
        reason => reason.to_owned(),
    }
}

/// Whether the pod is still initialising; then the summary's reason says how far it is.
fn init_containers(pod: &Value, sidecars: &[&str], summary: &mut Summary) -> bool {
    let total = object::list(pod, &["spec", "initContainers"]).len();
    let statuses = object::list(pod, &["status", "initContainerStatuses"]);
    for (index, status) in statuses.iter().enumerate() {
        summary.restarted(status);
        let terminated = object::at(status, &["state", "terminated"]);
        let waiting = object::text(status, &["state", "waiting", "reason"]);
        let sidecar = sidecars.contains(&object::text(status, &["name"]));
        if object::integer(terminated, &["exitCode"]) == Some(0) {
            continue;
        }
        if sidecar && object::at(status, &["started"]) == &Value::Bool(true) {
            if object::at(status, &["ready"]) == &Value::Bool(true) {
                summary.ready += 1;
            }
            continue;
        }
        summary.reason = if terminated.is_object() {
            format!("Init:{}", exit_reason(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{total}")
        };
        return true;
    }
    false
}

fn main_containers(pod: &Value, sidecars: &[&str], summary: &mut Summary) {
    // From here on only restarts of sidecars and main containers count.
    summary.restarts = 0;
    summary.last_restart.clear();
    for status in object::list(pod, &["status", "initContainerStatuses"]) {
        if sidecars.contains(&object::text(status, &["name"])) {
            summary.restarted(status);
        }
    }
    let mut running = false;
    for status in object::list(pod, &["status", "containerStatuses"])
        .iter()
        .rev()
    {
        summary.restarted(status);
        let waiting = object::text(status, &["state", "waiting", "reason"]);
        let terminated = object::at(status, &["state", "terminated"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut summary.reason);
        } else if terminated.is_object() {
            summary.reason = exit_reason(terminated);
        } else if object::at(status, &["ready"]) == &Value::Bool(true)
            && object::at(status, &["state", "running"]).is_object()
        {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let reason = if condition(pod, "Ready") {
            "Running"
        } else {
            "NotReady"
        };
        reason.clone_into(&mut summary.reason);
    }
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = object::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates
        .iter()
        .filter(|gate| condition(pod, object::text(gate, &["conditionType"])))
        .count();
    format!("{open}/{}", gates.len()).into()
}
