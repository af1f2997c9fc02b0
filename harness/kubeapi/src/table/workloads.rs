//! Workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs.

use jiff::Timestamp;
use serde_json::Value;

use super::age::{human, since};
use super::{Head, Printer, age, col, containers, int, or_none, selector, wide};
use crate::object;

const DEPLOYMENT: &[Head] = &[
    col("Name"),
    col("Ready"),
    col("Up-to-date"),
    col("Available"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const REPLICA_SET: &[Head] = &[
    col("Name"),
    int("Desired"),
    int("Current"),
    int("Ready"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const STATEFUL_SET: &[Head] = &[
    col("Name"),
    col("Ready"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
];
const DAEMON_SET: &[Head] = &[
    col("Name"),
    int("Desired"),
    int("Current"),
    int("Ready"),
    int("Up-to-date"),
    int("Available"),
    col("Node Selector"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const JOB: &[Head] = &[
    col("Name"),
    col("Status"),
    col("Completions"),
    col("Duration"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];
const CRON_JOB: &[Head] = &[
    col("Name"),
    col("Schedule"),
    col("Timezone"),
    Head {
        name: "Suspend",
        kind: "boolean",
        wide: false,
    },
    int("Active"),
    col("Last Schedule"),
    col("Age"),
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

pub fn printer(key: (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match key {
        ("apps", "deployments") => (DEPLOYMENT, deployment),
        ("apps", "replicasets") | ("", "replicationcontrollers") => (REPLICA_SET, replica_set),
        ("apps", "statefulsets") => (STATEFUL_SET, stateful_set),
        ("apps", "daemonsets") => (DAEMON_SET, daemon_set),
        ("batch", "jobs") => (JOB, job),
        ("batch", "cronjobs") => (CRON_JOB, cron_job),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn number(object: &Value, path: &[&str]) -> i64 {
    object::integer(object, path).unwrap_or(0)
}

fn template(object: &Value) -> [Value; 2] {
    containers(object::at(object, &["spec", "template", "spec"]))
}

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |key: &str| number(object, &["status", key]);
    let [names, images] = template(object);
    vec![
        object::name(object).into(),
        format!(
            "{}/{}",
            status("readyReplicas"),
            number(object, &["spec", "replicas"])
        )
        .into(),
        status("updatedReplicas").into(),
        status("availableReplicas").into(),
        age(object, now),
        names,
        images,
        selector(object::at(object, &["spec", "selector"])),
    ]
}

fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template(object);
    vec![
        object::name(object).into(),
        number(object, &["spec", "replicas"]).into(),
        number(object, &["status", "replicas"]).into(),
        number(object, &["status", "readyReplicas"]).into(),
        age(object, now),
        names,
        images,
        selector(object::at(object, &["spec", "selector"])),
    ]
}

fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [names, images] = template(object);
    let ready = number(object, &["status", "readyReplicas"]);
    vec![
        object::name(object).into(),
        format!("{ready}/{}", number(object, &["spec", "replicas"])).into(),
        age(object, now),
        names,
        images,
    ]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |key: &str| Value::from(number(object, &["status", key]));
    let [names, images] = template(object);
    vec![
        object::name(object).into(),
        status("desiredNumberScheduled"),
        status("currentNumberScheduled"),
        status("numberReady"),
        status("updatedNumberScheduled"),
        status("numberAvailable"),
        selector(object::at(
            object,
            &["spec", "template", "spec", "nodeSelector"],
        )),
        age(object, now),
        names,
        images,
        selector(object::at(object, &["spec", "selector"])),
    ]
}

fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let succeeded = number(object, &["status", "succeeded"]);
    let parallelism = number(object, &["spec", "parallelism"]);
    let completions = match object::integer(object, &["spec", "completions"]) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let time = |key: &str| object::parse_time(object::text(object, &["status", key]));
    let duration = match (time("startTime"), time("completionTime")) {
        (None, _) => String::new(),
        (Some(start), end) => human(end.unwrap_or(now).as_second() - start.as_second()),
    };
    let [names, images] = template(object);
    vec![
        object::name(object).into(),
        job_status(object).into(),
        completions.into(),
        duration.into(),
        age(object, now),
        names,
        images,
        selector(object::at(object, &["spec", "selector"])),
    ]
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        object::list(job, &["status", "conditions"])
            .iter()
            .any(|c| object::text(c, &["type"]) == kind && object::text(c, &["status"]) == "True")
    };
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object::is_deleting(job) {
        "Terminating"
    } else {
        ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
            .into_iter()
            .find(|kind| has(kind))
            .unwrap_or("Running")
    }
}

fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let last = object::text(object, &["status", "lastScheduleTime"]);
    let [names, images] = containers(object::at(
        object,
        &["spec", "jobTemplate", "spec", "template", "spec"],
    ));
    let suspend = object::at(object, &["spec", "suspend"])
        .as_bool()
        .unwrap_or(false);
    vec![
        object::name(object).into(),
        object::text(object, &["spec", "schedule"]).into(),
        or_none(object::text(object, &["spec", "timeZone"])),
        if suspend { "True" } else { "False" }.into(),
        object::list(object, &["status", "active"]).len().into(),
        if last.is_empty() {
            "<none>".into()
        } else {
            since(last, now).into()
        },
        age(object, now),
        names,
        images,
        selector(object::at(
            object,
            &["spec", "jobTemplate", "spec", "selector"],
        )),
    ]
}
