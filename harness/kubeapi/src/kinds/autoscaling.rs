//! HorizontalPodAutoscalers: stored in version 2, shown in version 1 with what that has no field for in annotations.

use serde_json::{Map, Value, json};

use super::simple::{SIMPLE, Simple};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// The target when none is named.
const UTILIZATION: i64 = 80;

pub static AUTOSCALER: Simple = Simple {
    prepare_create: |object| {
        object["status"] = json!({"desiredReplicas": 0, "currentMetrics": null});
    },
    default: defaults,
    validate: errors,
    ..SIMPLE
};

fn defaults(object: &mut Value) {
    let second = object["apiVersion"] == "autoscaling/v2";
    let spec = object::child(object, "spec");
    object::default(spec, "minReplicas", 1);
    if !second {
        return;
    }
    if object::list(spec, &["metrics"]).is_empty() {
        spec["metrics"] = json!([cpu(UTILIZATION)]);
    }
    if !object::at(spec, &["behavior"]).is_object() {
        return;
    }
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let behavior = object::child(spec, "behavior");
    let up = object::child(behavior, "scaleUp");
    object::default(up, "stabilizationWindowSeconds", 0);
    object::default(up, "selectPolicy", "Max");
    object::default(up, "policies", json!([pods, percent]));
    let down = object::child(behavior, "scaleDown");
    object::default(down, "selectPolicy", "Max");
    object::default(down, "policies", json!([percent]));
}

fn cpu(utilization: i64) -> Value {
    json!({"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": utilization}}})
}

fn errors(object: &Value) -> Vec<FieldError> {
    let number = |key: &str| object::integer(object, &["spec", key]);
    let mut errors = Vec::new();
    let most = number("maxReplicas").unwrap_or(0);
    let least = number("minReplicas").unwrap_or(1);
    if least < 1 {
        errors.push(field::invalid(
            "spec.minReplicas",
            least,
            "must be greater than or equal to 1",
        ));
    }
    if most < 1 {
        errors.push(field::invalid(
            "spec.maxReplicas",
            most,
            "must be greater than 0",
        ));
    }
    if most < least {
        errors.push(field::invalid(
            "spec.maxReplicas",
            most,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    for key in ["kind", "name"] {
        if object::text(object, &["spec", "scaleTargetRef", key]).is_empty() {
            errors.push(field::required(&format!("spec.scaleTargetRef.{key}"), ""));
        }
    }
    errors
}

/// From version 1 to version 2.
pub fn to_second(mut object: Value) -> Value {
    object["apiVersion"] = "autoscaling/v2".into();
    let mut note = |key: &str| -> Value {
        let noted = object::remove(&mut object, &["metadata", "annotations", key]);
        noted
            .as_ref()
            .and_then(Value::as_str)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or(Value::Null)
    };
    let (metrics, current, conditions, behavior) = (
        note(METRICS),
        note(CURRENT),
        note(CONDITIONS),
        note(BEHAVIOR),
    );
    drop_empty_annotations(&mut object);
    let spec = object::child(&mut object, "spec");
    let target = object::remove(spec, &["targetCPUUtilizationPercentage"]);
    let mut all: Vec<Value> = target
        .as_ref()
        .and_then(Value::as_i64)
        .map(cpu)
        .into_iter()
        .collect();
    all.extend(list(metrics, "target", ""));
    if all.is_empty() {
        all.push(cpu(UTILIZATION));
    }
    spec["metrics"] = all.into();
    if behavior.is_object() {
        spec["behavior"] = behavior;
    }
    let status = object::child(&mut object, "status");
    let used = object::remove(status, &["currentCPUUtilizationPercentage"]);
    let mut all: Vec<Value> = used
        .and_then(|used| used.as_i64())
        .map(|used| json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": used}}}))
        .into_iter()
        .collect();
    all.extend(list(current, "current", "current"));
    status["currentMetrics"] = if all.is_empty() {
        Value::Null
    } else {
        all.into()
    };
    object::default(status, "desiredReplicas", 0);
    if object::integer(status, &["currentReplicas"]) == Some(0) {
        object::remove(status, &["currentReplicas"]);
    }
    if conditions.is_array() {
        status["conditions"] = conditions;
    }
    object
}

/// From version 2 to version 1.
pub fn to_first(mut object: Value) -> Value {
    object["apiVersion"] = "autoscaling/v1".into();
    let spec = object::child(&mut object, "spec");
    let metrics = object::remove(spec, &["metrics"]);
    let behavior = object::remove(spec, &["behavior"]);
    let (target, metrics) = without_cpu(metrics, "target");
    if let Some(target) = target {
        spec["targetCPUUtilizationPercentage"] = target;
    }
    let status = object::child(&mut object, "status");
    let current = object::remove(status, &["currentMetrics"]);
    let conditions = object::remove(status, &["conditions"]);
    let (used, current) = without_cpu(current, "current");
    if let Some(used) = used {
        status["currentCPUUtilizationPercentage"] = used;
    }
    object::default(status, "currentReplicas", 0);
    object::default(status, "desiredReplicas", 0);
    let first = |list: Vec<Value>, side: &str, prefix: &str| {
        let list: Vec<Value> = list.iter().map(|m| first_metric(m, side, prefix)).collect();
        (!list.is_empty()).then(|| Value::from(list))
    };
    let notes = [
        (METRICS, first(metrics, "target", "")),
        (CURRENT, first(current, "current", "current")),
        (CONDITIONS, conditions),
        (BEHAVIOR, behavior),
    ];
    for (key, note) in notes {
        if let Some(note) = note.filter(|note| !note.is_null()) {
            object::set(
                &mut object,
                &["metadata", "annotations", key],
                note.to_string(),
            );
        }
    }
    object
}

fn drop_empty_annotations(object: &mut Value) {
    let path = ["metadata", "annotations"];
    if object::map(object, &path).is_some_and(Map::is_empty) {
        object::remove(object, &path);
    }
}

/// The first target of cpu utilization, which version 1 has a field for, and the other metrics.
fn without_cpu(metrics: Option<Value>, side: &str) -> (Option<Value>, Vec<Value>) {
    let Some(Value::Array(mut metrics)) = metrics else {
        return (None, Vec::new());
    };
    let utilization =
        |metric: &Value| object::at(metric, &["resource", side, "averageUtilization"]).clone();
    let place = metrics.iter().position(|metric| {
        object::text(metric, &["resource", "name"]) == "cpu" && !utilization(metric).is_null()
    });
    let cpu = place.map(|at| utilization(&metrics.remove(at)));
    (cpu, metrics)
}

/// A metric in the words of version 1: values lie beside the metric's name, and their names begin with `prefix`.
fn first_metric(metric: &Value, side: &str, prefix: &str) -> Value {
    let kind = object::text(metric, &["type"]);
    let key = lower_first(kind);
    let source = object::at(metric, &[&key]);
    let mut flat = json!({});
    for (from, to) in [
        (&["metric", "name"][..], "metricName"),
        (&["metric", "selector"], "selector"),
        (&["name"], "name"),
        (&["container"], "container"),
    ] {
        let to = if kind == "External" && to == "selector" {
            "metricSelector"
        } else {
            to
        };
        if !object::at(source, from).is_null() {
            flat[to] = object::at(source, from).clone();
        }
    }
    if kind == "Object" {
        flat["target"] = object::at(source, &["describedObject"]).clone();
    }
    for name in VALUES {
        let value = object::at(source, &[side, name]);
        if !value.is_null() {
            flat[value_name(kind, name, prefix)] = value.clone();
        }
    }
    let mut out = json!({"type": kind});
    out[key] = flat;
    out
}

/// The metrics of an annotation in the words of version 2.
fn list(noted: Value, side: &str, prefix: &str) -> Vec<Value> {
    let Value::Array(metrics) = noted else {
        return Vec::new();
    };
    metrics
        .iter()
        .map(|m| second_metric(m, side, prefix))
        .collect()
}

fn second_metric(metric: &Value, side: &str, prefix: &str) -> Value {
    let kind = object::text(metric, &["type"]);
    let key = lower_first(kind);
    let flat = object::at(metric, &[&key]);
    let mut source = json!({});
    for (from, to) in [
        ("metricName", &["metric", "name"][..]),
        ("selector", &["metric", "selector"]),
        ("metricSelector", &["metric", "selector"]),
        ("name", &["name"]),
        ("container", &["container"]),
    ] {
        if !object::at(flat, &[from]).is_null() {
            object::set(&mut source, to, object::at(flat, &[from]).clone());
        }
    }
    if kind == "Object" {
        source["describedObject"] = object::at(flat, &["target"]).clone();
    }
    for name in VALUES {
        let value = object::at(flat, &[value_name(kind, name, prefix).as_str()]);
        if !value.is_null() {
            object::set(&mut source, &[side, name], value.clone());
            if side == "target" {
                let sort = match name {
                    "averageUtilization" => "Utilization",
                    "averageValue" => "AverageValue",
                    _ => "Value",
                };
                object::set(&mut source, &[side, "type"], sort);
            }
        }
    }
    let mut out = json!({"type": kind});
    out[key] = source;
    out
}

const VALUES: [&str; 3] = ["value", "averageValue", "averageUtilization"];

/// What version 1 calls a value of a kind of metric.
fn value_name(kind: &str, name: &str, prefix: &str) -> String {
    let prefix = match (kind, name, prefix) {
        // Objects name their averages alike in both lists.
        ("Object", "averageValue", _) => "",
        (_, _, "") => "target",
        (_, _, prefix) => prefix,
    };
    if prefix.is_empty() {
        return name.to_owned();
    }
    let mut letters = name.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    prefix.chars().chain(first).chain(letters).collect()
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|c| c.to_ascii_lowercase())
        .into_iter()
        .chain(letters)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second() -> Value {
        json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 3,
                "metrics": [
                    cpu(50),
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                    {"type": "Pods", "pods": {"metric": {"name": "packets"}, "target": {"type": "AverageValue", "averageValue": "1k"}}},
                    {"type": "Object", "object": {"metric": {"name": "requests"}, "describedObject": {"kind": "Ingress", "name": "main"},
                        "target": {"type": "Value", "value": "2k"}}},
                    {"type": "External", "external": {"metric": {"name": "queue", "selector": {"matchLabels": {"q": "1"}}},
                        "target": {"type": "AverageValue", "averageValue": "30"}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}},
            },
            "status": {"desiredReplicas": 0, "currentMetrics": null},
        })
    }

    /// Version 1 loses nothing: what it has no field for is noted.
    #[test]
    fn there_and_back() {
        let first = to_first(second());
        assert_eq!(first["spec"]["targetCPUUtilizationPercentage"], 50);
        assert!(first["spec"].get("metrics").is_none());
        let noted: Value =
            serde_json::from_str(object::text(&first, &["metadata", "annotations", METRICS]))
                .unwrap();
        assert_eq!(
            noted[1],
            json!({"type": "Pods", "pods": {"metricName": "packets", "targetAverageValue": "1k"}})
        );
        assert_eq!(to_second(first), second());
    }

    #[test]
    fn a_first_version_without_a_target_gets_the_usual_one() {
        let first = json!({"apiVersion": "autoscaling/v1", "metadata": {"name": "a"}, "spec": {"maxReplicas": 2}});
        assert_eq!(
            to_second(first)["spec"]["metrics"],
            json!([cpu(UTILIZATION)])
        );
    }
}
