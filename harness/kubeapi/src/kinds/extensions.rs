//! What extends the API itself: webhooks, admission policies, API services.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::simple::{SIMPLE, Simple};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

/// Webhook configurations of both sorts.
pub static WEBHOOKS: Simple = Simple {
    counts_generation: true,
    unconditional: false,
    default: webhook_defaults,
    validate: webhook_errors,
    ..SIMPLE
};

pub static POLICY: Simple = Simple {
    counts_generation: true,
    unconditional: false,
    default: |object| {
        let spec = object::child(object, "spec");
        object::default(spec, "failurePolicy", "Fail");
        match_resources(spec, "matchConstraints");
    },
    validate: policy_errors,
    ..SIMPLE
};

pub static POLICY_BINDING: Simple = Simple {
    counts_generation: true,
    unconditional: false,
    default: |object| match_resources(object::child(object, "spec"), "matchResources"),
    validate: |object| {
        let missing = object::list(object, &["spec", "validationActions"]).is_empty();
        missing
            .then(|| field::required("spec.validationActions", ""))
            .into_iter()
            .collect()
    },
    ..SIMPLE
};

pub static API_SERVICE: Simple = Simple {
    unconditional: false,
    default: |object| {
        if let Some(service) = object
            .get_mut("spec")
            .and_then(|spec| spec.get_mut("service"))
            .filter(|service| service.is_object())
        {
            object::default(service, "port", 443);
        }
    },
    validate: api_service_errors,
    ..SIMPLE
};

fn items<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn webhook_defaults(object: &mut Value) {
    let mutating = object["kind"] == "MutatingWebhookConfiguration";
    for hook in items(object, "webhooks") {
        object::default(hook, "failurePolicy", "Fail");
        object::default(hook, "matchPolicy", "Equivalent");
        object::default(hook, "namespaceSelector", json!({}));
        object::default(hook, "objectSelector", json!({}));
        object::default(hook, "timeoutSeconds", 10);
        if mutating {
            object::default(hook, "reinvocationPolicy", "Never");
        }
        for rule in items(hook, "rules") {
            object::default(rule, "scope", "*");
        }
        if let Some(service) = hook
            .get_mut("clientConfig")
            .and_then(|config| config.get_mut("service"))
            .filter(|service| service.is_object())
        {
            object::default(service, "port", 443);
        }
    }
}

fn match_resources(spec: &mut Value, key: &str) {
    let Some(matched) = spec.get_mut(key).filter(|matched| matched.is_object()) else {
        return;
    };
    object::default(matched, "matchPolicy", "Equivalent");
    object::default(matched, "namespaceSelector", json!({}));
    object::default(matched, "objectSelector", json!({}));
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in items(matched, rules) {
            object::default(rule, "scope", "*");
        }
    }
}

fn webhook_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut names = HashSet::new();
    for (index, hook) in object::list(object, &["webhooks"]).iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = object::text(hook, &["name"]);
        if name.split('.').filter(|part| !part.is_empty()).count() < 3 {
            errors.push(field::invalid(
                &format!("{path}.name"),
                name,
                "should be a domain with at least three segments separated by dots",
            ));
        }
        if !names.insert(name) {
            errors.push(field::duplicate(&format!("{path}.name"), name));
        }
        let has = |key: &str| !object::at(hook, &["clientConfig", key]).is_null();
        if has("url") == has("service") {
            errors.push(field::required(
                &format!("{path}.clientConfig"),
                "exactly one of url or service is required",
            ));
        }
        let effects = object::text(hook, &["sideEffects"]);
        if !matches!(effects, "None" | "NoneOnDryRun") {
            errors.push(field::not_supported(
                &format!("{path}.sideEffects"),
                effects,
                &["None", "NoneOnDryRun"],
            ));
        }
        let seconds = object::integer(hook, &["timeoutSeconds"]).unwrap_or(10);
        if !(1..=30).contains(&seconds) {
            errors.push(field::invalid(
                &format!("{path}.timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
    }
    errors
}

fn policy_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = object::at(object, &["spec"]);
    let none = |key: &str| object::list(spec, &[key]).is_empty();
    if none("validations") && none("auditAnnotations") {
        let text = "validations or auditAnnotations must contain at least one item";
        errors.push(field::required("spec.validations", text));
        errors.push(field::required("spec.auditAnnotations", text));
    }
    if object::at(spec, &["matchConstraints"]).is_null() {
        errors.push(field::required("spec.matchConstraints", ""));
    }
    errors
}

fn api_service_errors(object: &Value) -> Vec<FieldError> {
    let text = |key: &str| object::text(object, &["spec", key]);
    let wanted = format!("{}.{}", text("version"), text("group"));
    let mut errors = Vec::new();
    if object::name(object) != wanted {
        errors.push(field::invalid(
            "metadata.name",
            object::name(object),
            &format!("must be `spec.version+\".\"+spec.group`: {wanted:?}"),
        ));
    }
    for (key, limit) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let value = object::integer(object, &["spec", key]).unwrap_or(0);
        if value <= 0 || value > limit {
            errors.push(field::invalid(
                &format!("spec.{key}"),
                value,
                &format!("must be positive and less than {limit}"),
            ));
        }
    }
    errors
}
