//! Cluster-wide settings and what extends the API.

use jiff::Timestamp;
use serde_json::Value;

use super::{Head, Printer, age, col, int, or_none};
use crate::object;

type Cells = fn(&Value, Timestamp) -> Vec<Value>;

const AGED: &[Head] = &[col("Name"), col("Age")];
const HOOKS: &[Head] = &[col("Name"), int("Webhooks"), col("Age")];

const fn yes_no(name: &'static str) -> Head {
    Head {
        name,
        kind: "boolean",
        wide: false,
    }
}

pub fn printer((group, plural): (&str, &str)) -> Option<Printer> {
    let group = group.strip_suffix(".k8s.io").unwrap_or(group);
    extensions(group, plural)
        .or_else(|| requests(group, plural))
        .or_else(|| settings(group, plural))
        .or_else(|| storage(group, plural))
}

/// What extends the API and what works on top of it.
fn extensions(group: &str, plural: &str) -> Option<Printer> {
    let (heads, cells): (&[Head], Cells) = match (group, plural) {
        (
            "admissionregistration",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => (HOOKS, |object, now| counted(object, &["webhooks"], now)),
        ("admissionregistration", "validatingadmissionpolicies") => (
            const {
                &[
                    col("Name"),
                    int("Validations"),
                    col("ParamKind"),
                    col("Age"),
                ]
            },
            policy,
        ),
        ("admissionregistration", "validatingadmissionpolicybindings") => (
            const { &[col("Name"), col("PolicyName"), col("ParamRef"), col("Age")] },
            policy_binding,
        ),
        ("apiregistration", "apiservices") => (
            const { &[col("Name"), col("Service"), col("Available"), col("Age")] },
            api_service,
        ),
        ("autoscaling", "horizontalpodautoscalers") => (
            const {
                &[
                    col("Name"),
                    col("Reference"),
                    col("Targets"),
                    col("MinPods"),
                    col("MaxPods"),
                    col("Replicas"),
                    col("Age"),
                ]
            },
            super::autoscaling::cells,
        ),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

/// How requests are handled: by signers and by the API itself.
fn requests(group: &str, plural: &str) -> Option<Printer> {
    let (heads, cells): (&[Head], Cells) = match (group, plural) {
        (
            "admissionregistration",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => (HOOKS, |object, now| counted(object, &["webhooks"], now)),
        ("certificates", "certificatesigningrequests") => (
            const {
                &[
                    col("Name"),
                    col("Age"),
                    col("SignerName"),
                    col("Requestor"),
                    col("RequestedDuration"),
                    col("Condition"),
                ]
            },
            certificate_request,
        ),
        ("flowcontrol.apiserver", "flowschemas") => (
            const {
                &[
                    col("Name"),
                    col("PriorityLevel"),
                    col("MatchingPrecedence"),
                    col("DistinguisherMethod"),
                    col("Age"),
                    col("MissingPL"),
                ]
            },
            flow_schema,
        ),
        ("flowcontrol.apiserver", "prioritylevelconfigurations") => (
            const {
                &[
                    col("Name"),
                    col("Type"),
                    col("NominalConcurrencyShares"),
                    col("Queues"),
                    col("HandSize"),
                    col("QueueLengthLimit"),
                    col("Age"),
                ]
            },
            priority_level,
        ),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn settings(group: &str, plural: &str) -> Option<Printer> {
    let (heads, cells): (&[Head], Cells) = match (group, plural) {
        (
            "admissionregistration",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => (HOOKS, |object, now| counted(object, &["webhooks"], now)),
        ("networking", "ipaddresses") => {
            (const { &[col("Name"), col("ParentRef")] }, |object, now| {
                vec![
                    object::name(object).into(),
                    parent(object).into(),
                    age(object, now),
                ]
            })
        }
        ("networking", "servicecidrs") => (
            const { &[col("Name"), col("CIDRs"), col("Age")] },
            |object, now| texts(object, &["spec", "cidrs"], now),
        ),
        ("node", "runtimeclasses") => (
            const { &[col("Name"), col("Handler"), col("Age")] },
            |object, now| named(object, &["handler"], now),
        ),
        ("scheduling", "priorityclasses") => (
            const {
                &[
                    col("Name"),
                    int("Value"),
                    yes_no("Global-Default"),
                    col("Age"),
                    col("PreemptionPolicy"),
                ]
            },
            priority_class,
        ),
        ("resource", "deviceclasses" | "resourceclaimtemplates") => (AGED, |object, now| {
            vec![object::name(object).into(), age(object, now)]
        }),
        ("resource", "resourceclaims") => {
            (const { &[col("Name"), col("State"), col("Age")] }, claim)
        }
        ("resource", "resourceslices") => (
            const {
                &[
                    col("Name"),
                    col("Node"),
                    col("Driver"),
                    col("Pool"),
                    col("Age"),
                ]
            },
            |object, now| {
                let text = |path: &[&str]| Value::from(object::text(object, path));
                vec![
                    object::name(object).into(),
                    text(&["spec", "nodeName"]),
                    text(&["spec", "driver"]),
                    text(&["spec", "pool", "name"]),
                    age(object, now),
                ]
            },
        ),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn storage(group: &str, plural: &str) -> Option<Printer> {
    let (heads, cells): (&[Head], Cells) = match (group, plural) {
        ("storage", "csinodes") => (
            const { &[col("Name"), int("Drivers"), col("Age")] },
            |object, now| counted(object, &["spec", "drivers"], now),
        ),
        ("storage", "csidrivers") => (
            const {
                &[
                    col("Name"),
                    yes_no("AttachRequired"),
                    yes_no("PodInfoOnMount"),
                    yes_no("StorageCapacity"),
                    col("TokenRequests"),
                    yes_no("RequiresRepublish"),
                    col("Modes"),
                    col("Age"),
                ]
            },
            driver,
        ),
        ("storage", "volumeattachments") => (
            const {
                &[
                    col("Name"),
                    col("Attacher"),
                    col("PV"),
                    col("Node"),
                    yes_no("Attached"),
                    col("Age"),
                ]
            },
            |object, now| {
                let text = |path: &[&str]| Value::from(object::text(object, path));
                vec![
                    object::name(object).into(),
                    text(&["spec", "attacher"]),
                    text(&["spec", "source", "persistentVolumeName"]),
                    text(&["spec", "nodeName"]),
                    flag(object, &["status", "attached"], false),
                    age(object, now),
                ]
            },
        ),
        ("storage", "volumeattributesclasses") => (
            const { &[col("Name"), col("DriverName"), col("Age")] },
            |object, now| named(object, &["driverName"], now),
        ),
        ("", "componentstatuses") => (
            const { &[col("Name"), col("Status"), col("Message"), col("Error")] },
            component,
        ),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

/// Name, the length of a list, age.
fn counted(object: &Value, list: &[&str], now: Timestamp) -> Vec<Value> {
    let count = object::list(object, list).len();
    vec![object::name(object).into(), count.into(), age(object, now)]
}

/// Name, a text, age.
fn named(object: &Value, text: &[&str], now: Timestamp) -> Vec<Value> {
    vec![
        object::name(object).into(),
        object::text(object, text).into(),
        age(object, now),
    ]
}

/// Name, a list of texts, age.
fn texts(object: &Value, list: &[&str], now: Timestamp) -> Vec<Value> {
    vec![
        object::name(object).into(),
        joined(object, list).into(),
        age(object, now),
    ]
}

fn joined(object: &Value, list: &[&str]) -> String {
    let texts: Vec<&str> = object::list(object, list)
        .iter()
        .filter_map(Value::as_str)
        .collect();
    texts.join(",")
}

fn flag(object: &Value, path: &[&str], otherwise: bool) -> Value {
    object::at(object, path)
        .as_bool()
        .unwrap_or(otherwise)
        .into()
}

/// The first condition of a type.
fn condition<'a>(object: &'a Value, list: &[&str], kind: &str) -> Option<&'a Value> {
    object::list(object, list)
        .iter()
        .find(|c| object::text(c, &["type"]) == kind)
}

fn policy(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = object::at(object, &["spec", "paramKind"]);
    let kind = if kind.is_null() {
        "<unset>".to_owned()
    } else {
        let text = |key: &str| object::text(kind, &[key]);
        format!("{}/{}", text("apiVersion"), text("kind"))
    };
    vec![
        object::name(object).into(),
        object::list(object, &["spec", "validations"]).len().into(),
        kind.into(),
        age(object, now),
    ]
}

fn policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameter = object::at(object, &["spec", "paramRef"]);
    let text = |key: &str| object::text(parameter, &[key]);
    let shown = match (text("namespace"), text("name")) {
        (_, "") if object::at(parameter, &["selector"]).is_null() => "<unset>".into(),
        (_, "") => super::selector(object::at(parameter, &["selector"])),
        ("", name) => format!("*/{name}").into(),
        (namespace, name) => format!("{namespace}/{name}").into(),
    };
    vec![
        object::name(object).into(),
        object::text(object, &["spec", "policyName"]).into(),
        shown,
        age(object, now),
    ]
}

fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |key: &str| object::text(object, &["spec", "service", key]);
    let service = match text("name") {
        "" => "Local".to_owned(),
        name => format!("{}/{name}", text("namespace")),
    };
    let available = match condition(object, &["status", "conditions"], "Available") {
        None => "Unknown".to_owned(),
        Some(condition) => {
            let text = |key: &str| object::text(condition, &[key]);
            match (text("status"), text("reason")) {
                ("True", _) => "True".to_owned(),
                (status, "") => status.to_owned(),
                (status, reason) => format!("{status} ({reason})"),
            }
        }
    };
    vec![
        object::name(object).into(),
        service.into(),
        available.into(),
        age(object, now),
    ]
}

fn certificate_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let is = |kind: &str| condition(object, &["status", "conditions"], kind).is_some();
    let mut status = if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if is("Failed") {
        status.push_str(",Failed");
    }
    if !object::text(object, &["status", "certificate"]).is_empty() {
        status.push_str(",Issued");
    }
    let duration = object::integer(object, &["spec", "expirationSeconds"]);
    vec![
        object::name(object).into(),
        age(object, now),
        or_none(object::text(object, &["spec", "signerName"])),
        object::text(object, &["spec", "username"]).into(),
        or_none(&duration.map(super::age::human).unwrap_or_default()),
        status.into(),
    ]
}

fn flow_schema(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object::at(object, &["spec"]);
    let dangling = condition(object, &["status", "conditions"], "Dangling");
    vec![
        object::name(object).into(),
        object::text(spec, &["priorityLevelConfiguration", "name"]).into(),
        object::integer(spec, &["matchingPrecedence"])
            .unwrap_or(0)
            .into(),
        or_none(object::text(spec, &["distinguisherMethod", "type"])),
        age(object, now),
        dangling
            .map_or("?", |c| object::text(c, &["status"]))
            .into(),
    ]
}

fn priority_level(object: &Value, now: Timestamp) -> Vec<Value> {
    let limited = object::at(object, &["spec", "limited"]);
    let number = |path: &[&str]| match object::at(limited, path) {
        Value::Null => "<none>".into(),
        number => number.clone(),
    };
    let queuing = |key: &str| number(&["limitResponse", "queuing", key]);
    vec![
        object::name(object).into(),
        object::text(object, &["spec", "type"]).into(),
        number(&["nominalConcurrencyShares"]),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        age(object, now),
    ]
}

fn parent(object: &Value) -> String {
    let text = |key: &str| object::text(object, &["spec", "parentRef", key]);
    if text("name").is_empty() {
        return "<none>".to_owned();
    }
    let parts = [
        match text("group") {
            "" => text("resource").to_owned(),
            group => format!("{}.{group}", text("resource")),
        }
        .to_lowercase(),
        text("namespace").to_owned(),
        text("name").to_owned(),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|p| !p.is_empty()).collect();
    parts.join("/")
}

fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        object::name(object).into(),
        object::integer(object, &["value"]).unwrap_or(0).into(),
        flag(object, &["globalDefault"], false),
        age(object, now),
        object::text(object, &["preemptionPolicy"]).into(),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut states = Vec::new();
    if object::is_deleting(object) {
        states.push("deleted");
    }
    if !object::at(object, &["status", "allocation"]).is_null() {
        states.push("allocated");
        if !object::list(object, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
    } else if states.is_empty() {
        states.push("pending");
    }
    vec![
        object::name(object).into(),
        states.join(",").into(),
        age(object, now),
    ]
}

fn driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let requests = object::list(object, &["spec", "tokenRequests"]);
    let audiences: Vec<&str> = requests
        .iter()
        .map(|request| object::text(request, &["audience"]))
        .collect();
    let spec = |key: &str, otherwise: bool| flag(object, &["spec", key], otherwise);
    vec![
        object::name(object).into(),
        spec("attachRequired", true),
        spec("podInfoOnMount", false),
        spec("storageCapacity", false),
        if requests.is_empty() {
            "<unset>".into()
        } else {
            audiences.join(",").into()
        },
        spec("requiresRepublish", false),
        or_none(&joined(object, &["spec", "volumeLifecycleModes"])),
        age(object, now),
    ]
}

fn component(object: &Value, _: Timestamp) -> Vec<Value> {
    let healthy = condition(object, &["conditions"], "Healthy");
    let text = |key: &str| healthy.map_or("", |c| object::text(c, &[key]));
    let status = match (healthy, text("status")) {
        (None, _) => "Unknown",
        (_, "True") => "Healthy",
        _ => "Unhealthy",
    };
    vec![
        object::name(object).into(),
        status.into(),
        text("message").into(),
        text("error").into(),
    ]
}
