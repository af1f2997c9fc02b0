//! HorizontalPodAutoscalers.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::kinds::autoscaling::to_second;
use crate::object;

/// Metrics that are shown; the rest is counted.
const SHOWN: usize = 2;

pub fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    if object["apiVersion"] == "autoscaling/v1" {
        return cells(&to_second(object.clone()), now);
    }
    let spec = object::at(object, &["spec"]);
    let text = |key: &str| object::text(spec, &["scaleTargetRef", key]);
    let least = object::integer(spec, &["minReplicas"]);
    vec![
        object::name(object).into(),
        format!("{}/{}", text("kind"), text("name")).into(),
        targets(object).into(),
        least
            .map_or_else(|| "<unset>".to_owned(), |n| n.to_string())
            .into(),
        object::integer(spec, &["maxReplicas"]).unwrap_or(0).into(),
        object::integer(object, &["status", "currentReplicas"])
            .unwrap_or(0)
            .into(),
        age(object, now),
    ]
}

fn targets(object: &Value) -> String {
    let metrics = object::list(object, &["spec", "metrics"]);
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let current = object::list(object, &["status", "currentMetrics"]);
    let none = json!({});
    let shown: Vec<String> = metrics
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(index, metric)| target(metric, current.get(index).unwrap_or(&none)))
        .collect();
    let shown = shown.join(", ");
    match metrics.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

/// What there is and what is aimed at.
fn target(metric: &Value, status: &Value) -> String {
    let (key, resource) = match object::text(metric, &["type"]) {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = |name: &str| plain(object::at(metric, &[key, "target", name]));
    let now = |name: &str| plain(object::at(status, &[key, "current", name]));
    let unknown = || "<unknown>".to_owned();
    let average = wanted("averageValue");
    if !resource {
        let mark = if key == "pods" { "" } else { " (avg)" };
        return match average {
            Some(average) => format!(
                "{}/{average}{mark}",
                now("averageValue").unwrap_or_else(unknown)
            ),
            None => format!(
                "{}/{}",
                now("value").unwrap_or_else(unknown),
                wanted("value").unwrap_or_else(|| "<auto>".to_owned())
            ),
        };
    }
    let name = object::text(metric, &[key, "name"]);
    match average {
        Some(average) => format!(
            "{name}: {}/{average}",
            now("averageValue").unwrap_or_else(unknown)
        ),
        None => format!(
            "{name}: {}/{}",
            now("averageUtilization").map_or_else(unknown, |p| format!("{p}%")),
            wanted("averageUtilization").map_or_else(|| "<auto>".to_owned(), |p| format!("{p}%"))
        ),
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
