//! Deployments, ReplicaSets, StatefulSets, DaemonSets, ReplicationControllers and pod templates.

use serde_json::{Value, json};

use super::{Strategy, fixed, pod_spec, restore};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

#[derive(Debug)]
pub struct Deployment;

impl Strategy for Deployment {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        object::default(spec, "replicas", 1);
        let strategy = object::child(spec, "strategy");
        object::default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = object::child(strategy, "rollingUpdate");
            object::default(rolling, "maxUnavailable", "25%");
            object::default(rolling, "maxSurge", "25%");
        }
        object::default(spec, "revisionHistoryLimit", 10);
        object::default(spec, "progressDeadlineSeconds", 600);
        pod_spec::default_template(spec);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = template_errors(object);
        if object::at(object, &["spec", "strategy", "type"]) == "Recreate"
            && !object::at(object, &["spec", "strategy", "rollingUpdate"]).is_null()
        {
            errors.push(field::forbidden(
                "spec.strategy.rollingUpdate",
                "may not be specified when strategy `type` is 'Recreate'",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        fixed(new, old, &["spec", "selector"]).into_iter().collect()
    }

    fn prepare_status(&self, new: &mut Value, old: &Value) {
        restore(new, old, &["metadata", "labels"]);
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn prepare_create(&self, object: &mut Value) {
        object["status"] = serde_json::json!({"replicas": 0});
    }

    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        object::default(spec, "replicas", 1);
        pod_spec::default_template(spec);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        template_errors(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        fixed(new, old, &["spec", "selector"]).into_iter().collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct DaemonSet;

/// Counts changes of the template, from times before generations.
const TEMPLATE_GENERATION: &[&str] = &[
    "metadata",
    "annotations",
    "deprecated.daemonset.template.generation",
];

impl Strategy for DaemonSet {
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let template = ["spec", "template"];
        let count = object::text(old, TEMPLATE_GENERATION).parse().unwrap_or(0);
        let changed = object::at(new, &template) != object::at(old, &template);
        let count = count + i64::from(changed);
        object::set(new, TEMPLATE_GENERATION, count.to_string());
    }

    fn default(&self, object: &mut Value) {
        if object::text(object, TEMPLATE_GENERATION).is_empty() {
            object::set(object, TEMPLATE_GENERATION, "1");
        }
        let spec = object::child(object, "spec");
        let strategy = object::child(spec, "updateStrategy");
        object::default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = object::child(strategy, "rollingUpdate");
            object::default(rolling, "maxUnavailable", 1);
            object::default(rolling, "maxSurge", 0);
        }
        object::default(spec, "revisionHistoryLimit", 10);
        pod_spec::default_template(spec);
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        template_errors(object)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        fixed(new, old, &["spec", "selector"]).into_iter().collect()
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct StatefulSet;

/// What of a StatefulSet's spec may change.
const STATEFUL_SET_MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

impl Strategy for StatefulSet {
    fn default(&self, object: &mut Value) {
        let spec = object::child(object, "spec");
        object::default(spec, "podManagementPolicy", "OrderedReady");
        let strategy = object::child(spec, "updateStrategy");
        object::default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            object::default(object::child(strategy, "rollingUpdate"), "partition", 0);
        }
        let retention = object::child(spec, "persistentVolumeClaimRetentionPolicy");
        object::default(retention, "whenDeleted", "Retain");
        object::default(retention, "whenScaled", "Retain");
        object::default(spec, "replicas", 1);
        object::default(spec, "revisionHistoryLimit", 10);
        pod_spec::default_template(spec);
        for claim in spec
            .get_mut("volumeClaimTemplates")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            object::default(claim, "apiVersion", "v1");
            object::default(claim, "kind", "PersistentVolumeClaim");
            object::default(object::child(claim, "spec"), "volumeMode", "Filesystem");
            object::default(object::child(claim, "status"), "phase", "Pending");
        }
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        template_errors(&with_claims_as_volumes(object))
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut before = object::at(old, &["spec"]).clone();
        let after = object::at(new, &["spec"]);
        for key in STATEFUL_SET_MUTABLE {
            restore(&mut before, after, &[key]);
        }
        if &before == after {
            return Vec::new();
        }
        vec![field::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )]
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct ReplicationController;

impl Strategy for ReplicationController {
    fn default(&self, object: &mut Value) {
        let labels = object::at(object, &["spec", "template", "metadata", "labels"]).clone();
        if labels.is_object() {
            object::default(object::child(object, "spec"), "selector", labels.clone());
            object::default(object::child(object, "metadata"), "labels", labels);
        }
        let spec = object::child(object, "spec");
        object::default(spec, "replicas", 1);
        pod_spec::default_template(spec);
    }

    fn counts_generation(&self) -> bool {
        true
    }
}

#[derive(Debug)]
pub struct Template;

impl Strategy for Template {
    fn default(&self, object: &mut Value) {
        pod_spec::default_template(object);
    }

    fn counts_generation(&self) -> bool {
        true
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// The selector must be there and select the template's labels; the template's pods must be valid and restart.
/// Containers of a StatefulSet may mount its claim templates like volumes of the pod.
fn with_claims_as_volumes(object: &Value) -> Value {
    let volumes = object::list(object, &["spec", "template", "spec", "volumes"]);
    let claims: Vec<Value> = object::list(object, &["spec", "volumeClaimTemplates"])
        .iter()
        .map(|claim| object::text(claim, &["metadata", "name"]))
        // A volume of that name is replaced by the claim's when the pods are made.
        .filter(|name| !volumes.iter().any(|volume| volume["name"] == *name))
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    let mut object = object.clone();
    if let Some(Value::Object(spec)) = object.pointer_mut("/spec/template/spec")
        && let Value::Array(volumes) = spec
            .entry("volumes")
            .or_insert_with(|| Value::Array(Vec::new()))
    {
        volumes.extend(claims);
    }
    object
}

fn template_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let selector = object::at(object, &["spec", "selector"]);
    let labels = object::at(object, &["spec", "template", "metadata", "labels"]);
    let mismatch = || {
        field::invalid(
            "spec.template.metadata.labels",
            labels.clone(),
            "`selector` does not match template `labels`",
        )
    };
    if selector.is_null() {
        errors.push(field::required("spec.selector", ""));
        errors.push(mismatch());
    } else if object::map(selector, &["matchLabels"]).is_none_or(serde_json::Map::is_empty)
        && object::list(selector, &["matchExpressions"]).is_empty()
    {
        errors.push(field::invalid(
            "spec.selector",
            selector.clone(),
            "empty selector is invalid for deployment",
        ));
    } else if !selects(selector, labels) {
        errors.push(mismatch());
    }
    let policy = object::text(object, &["spec", "template", "spec", "restartPolicy"]);
    if policy != "Always" {
        errors.push(field::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    errors.extend(pod_spec::validate(
        object::at(object, &["spec", "template", "spec"]),
        "spec.template.spec",
    ));
    errors
}

/// Whether a LabelSelector object selects a set of labels.
pub fn selects(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let exact = object::map(selector, &["matchLabels"])
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    exact
        && object::list(selector, &["matchExpressions"])
            .iter()
            .all(|expression| {
                let found = label(object::text(expression, &["key"]));
                let values = object::list(expression, &["values"]);
                let among = |v: &str| values.iter().any(|value| value == v);
                match object::text(expression, &["operator"]) {
                    "In" => found.is_some_and(among),
                    "NotIn" => !found.is_some_and(among),
                    "Exists" => found.is_some(),
                    "DoesNotExist" => found.is_none(),
                    _ => false,
                }
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_mounts_its_claims() {
        let set = |mount: &str| {
            let mut set = json!({"spec": {
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"containers": [
                        {"name": "c", "image": "i", "volumeMounts": [{"name": mount, "mountPath": "/x"}]}
                    ]}
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]
            }});
            StatefulSet.default(&mut set);
            let errors = StatefulSet.validate(&set);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(set("data"), Vec::<String>::new());
        assert_eq!(set("other").len(), 1);
    }
}
