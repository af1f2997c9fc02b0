//! Pods.

use serde_json::{Value, json};

use super::{Strategy, pod_spec, restore};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

#[derive(Debug)]
pub struct Pod;

impl Strategy for Pod {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = json!({"phase": "Pending", "qosClass": qos_class(object)});
        if !object::list(object, &["spec", "schedulingGates"]).is_empty() {
            object["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": null,
            }]);
        }
    }

    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        pod_spec::default(spec);
        object::default(spec, "enableServiceLinks", true);
        for list in ["containers", "initContainers"] {
            for container in spec
                .get_mut(list)
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                requests_from_limits(container);
            }
        }
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        restore(new, old, &["metadata", "ownerReferences"]);
        if object::text(new, &["status", "qosClass"]).is_empty() {
            restore(new, old, &["status", "qosClass"]);
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        pod_spec::validate(object::at(object, &["spec"]), "spec")
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        spec_change(new, old)
    }

    fn counts_generation(&self) -> bool {
        true
    }

    fn grace_period(&self, object: &Value, asked: Option<i64>) -> Option<i64> {
        let unscheduled = object::text(object, &["spec", "nodeName"]).is_empty();
        let ended = matches!(
            object::text(object, &["status", "phase"]),
            "Failed" | "Succeeded"
        );
        let period = asked
            .or_else(|| object::integer(object, &["spec", "terminationGracePeriodSeconds"]))
            .unwrap_or(0);
        Some(match period {
            _ if unscheduled || ended => 0,
            period if period < 0 => 1,
            period => period,
        })
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Ephemeral containers can be added, and that is all.
pub fn ephemeral_change(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = "spec.ephemeralContainers";
    let list = |pod| object::list(pod, &["spec", "ephemeralContainers"]);
    list(old)
        .iter()
        .filter_map(|before| {
            let name = object::text(before, &["name"]);
            let after = list(new)
                .iter()
                .find(|c| object::text(c, &["name"]) == name);
            let what = match after {
                None => "removed",
                Some(after) if after != before => "changed\n",
                Some(_) => return None,
            };
            let why = format!("existing ephemeral containers {name:?} may not be {what}");
            Some(field::forbidden(path, &why))
        })
        .collect()
}

/// Resizing must leave a pod in its class.
pub fn resize(new: &Value) -> Option<FieldError> {
    let class = object::text(new, &["status", "qosClass"]);
    let why = "Pod QOS Class may not change as a result of resizing";
    (!class.is_empty() && class != qos_class(new)).then(|| field::invalid("spec", class, why))
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = object::map(container, &["resources", "limits"]).cloned() else {
        return;
    };
    for (resource, amount) in limits {
        let requests = object::child(object::child(container, "resources"), "requests");
        object::default(requests, &resource, amount);
    }
}

/// Guaranteed: every container limits cpu and memory and requests as much; BestEffort: nobody asks for anything.
fn qos_class(pod: &Value) -> &'static str {
    let containers = object::list(pod, &["spec", "containers"]);
    let inits = object::list(pod, &["spec", "initContainers"]);
    let amount = |container: &Value, kind: &str, resource: &str| {
        object::at(container, &["resources", kind, resource]).clone()
    };
    let (mut any, mut guaranteed) = (false, true);
    for container in containers.iter().chain(inits) {
        for resource in ["cpu", "memory"] {
            let (limit, request) = (
                amount(container, "limits", resource),
                amount(container, "requests", resource),
            );
            any |= !limit.is_null() || !request.is_null();
            guaranteed &= !limit.is_null() && (request.is_null() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The only parts of a pod's spec that may change: images, tolerations (added), the deadline (shortened), the grace
/// period (to 1), and scheduling gates (removed).
fn spec_change(new: &Value, old: &Value) -> Vec<FieldError> {
    const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                              `spec.tolerations` (only additions to existing tolerations),\
                              `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let mut errors = Vec::new();
    let after = object::at(new, &["spec"]);
    let mut before = object::at(old, &["spec"]).clone();
    for list in ["containers", "initContainers"] {
        let (news, olds) = (object::list(after, &[list]), object::list(&before, &[list]));
        if news.len() != olds.len() {
            errors.push(field::forbidden(
                &format!("spec.{list}"),
                "pod updates may not add or remove containers",
            ));
            return errors;
        }
        let images: Vec<Value> = news
            .iter()
            .map(|container| object::at(container, &["image"]).clone())
            .collect();
        for (container, image) in before
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .zip(images)
        {
            container["image"] = image;
        }
    }
    restore(&mut before, after, &["activeDeadlineSeconds"]);
    let tolerations = object::list(after, &["tolerations"]);
    if object::list(&before, &["tolerations"])
        .iter()
        .all(|old| tolerations.contains(old))
    {
        restore(&mut before, after, &["tolerations"]);
    } else {
        errors.push(field::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = object::list(&before, &["schedulingGates"]);
    if object::list(after, &["schedulingGates"])
        .iter()
        .all(|gate| gates.contains(gate))
    {
        if !gates.is_empty() {
            restore(&mut before, after, &["nodeSelector"]);
            restore(&mut before, after, &["affinity"]);
        }
        restore(&mut before, after, &["schedulingGates"]);
    }
    if object::integer(after, &["terminationGracePeriodSeconds"]) == Some(1)
        && object::integer(&before, &["terminationGracePeriodSeconds"]).is_some_and(|p| p < 0)
    {
        restore(&mut before, after, &["terminationGracePeriodSeconds"]);
    }
    if &before != after {
        errors.push(field::forbidden(
            "spec",
            &format!(
                "pod updates may not change fields other than {CHANGEABLE}\n{}",
                differing(&before, after)
            ),
        ));
    }
    errors
}

/// The fields of two specs that differ, one per line.
fn differing(old: &Value, new: &Value) -> String {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return String::new();
    };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    let show = |value: Option<&Value>| value.map_or("<unset>".to_owned(), Value::to_string);
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| format!("  {key}: {} -> {}", show(old.get(key)), show(new.get(key))))
        .collect::<Vec<_>>()
        .join("\n")
}
