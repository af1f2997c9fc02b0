//! An APIService for every group version that is served. They are always available: even those that name a service are
//! answered here.

use serde_json::{Value, json};

use super::delete;
use crate::aggregated::{AggregatedApi, AggregatedVersion};
use crate::object;
use crate::registry::builtin::{API_SERVICES, CRDS};
use crate::request::DeleteOptions;
use crate::server::bootstrap;
use crate::server::core::Core;
use crate::storage::{Change, Key};

/// Where the group of APIServices itself is: it has none.
const GROUP: &str = "apiregistration.k8s.io";
/// How a service is kept: from the start, or as long as there are definitions for it.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Priorities of the built-in groups, and of their versions.
fn priorities(group: &str, version: &str) -> Option<(u32, u32)> {
    Some(match (group, version) {
        ("", "v1") => (18000, 1),
        ("apps", "v1") => (17800, 15),
        ("events.k8s.io", "v1") => (17750, 15),
        ("authentication.k8s.io", "v1") => (17700, 15),
        ("authorization.k8s.io", "v1") => (17600, 15),
        ("autoscaling", "v1") => (17500, 15),
        ("autoscaling", "v2") => (17500, 30),
        ("batch", "v1") => (17400, 15),
        ("certificates.k8s.io", "v1") => (17300, 15),
        ("networking.k8s.io", "v1") => (17200, 15),
        ("policy", "v1") => (17100, 15),
        ("rbac.authorization.k8s.io", "v1") => (17000, 15),
        ("storage.k8s.io", "v1") => (16800, 15),
        ("admissionregistration.k8s.io" | "apiextensions.k8s.io", "v1") => (16700, 15),
        ("scheduling.k8s.io", "v1") => (16600, 15),
        ("coordination.k8s.io", "v1") => (16500, 15),
        ("node.k8s.io", "v1") => (16300, 15),
        ("discovery.k8s.io", "v1") => (16200, 15),
        ("resource.k8s.io", "v1") => (16200, 21),
        ("flowcontrol.apiserver.k8s.io", "v1") => (16100, 21),
        _ => return None,
    })
}

fn name(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

/// Brings the services in line with what is served.
pub fn publish(core: &Core) {
    let registry = core.registry();
    let groups = registry.groups();
    let served = groups
        .iter()
        .filter(|(group, _)| **group != GROUP)
        .flat_map(|(group, versions)| versions.iter().map(move |version| (*group, *version)));
    for (group, version) in served {
        create(core, service(group, version));
    }
    for api in &core.aggregated {
        for version in &api.versions {
            create(core, aggregated(api, version));
        }
    }
}

/// Creates a service that is not there yet.
fn create(core: &Core, service: Value) {
    let key = Key::of(&service);
    if core.store.get(API_SERVICES, &key).is_some() {
        return;
    }
    if let Err(error) = bootstrap::create_with_status(core, GROUP, "apiservices", service) {
        tracing::warn!(%error, "APIService cannot be created");
    }
}

/// The service of a group version that another server answers for.
fn aggregated(api: &AggregatedApi, version: &AggregatedVersion) -> Value {
    let mut service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name(&api.group, &version.name)},
        "spec": {
            "group": api.group, "version": version.name, "insecureSkipTLSVerify": true,
            "groupPriorityMinimum": version.group_priority_minimum, "versionPriority": version.version_priority,
            "service": {
                "namespace": api.service.namespace, "name": api.service.name, "port": api.service.port,
            },
        },
        "status": {"conditions": [{
            "type": "Available", "status": "True", "lastTransitionTime": object::time(jiff::Timestamp::now()),
            "reason": "Passed", "message": "all checks passed",
        }]},
    });
    for (key, map) in [("labels", &api.labels), ("annotations", &api.annotations)] {
        if !map.is_empty() {
            service["metadata"][key] = map.clone().into();
        }
    }
    service
}

/// Follows the definitions.
pub fn changed(core: &Core, change: &Change) {
    if &*change.resource != CRDS {
        return;
    }
    publish(core);
    let registry = core.registry();
    let groups = registry.groups();
    let Some(services) = registry.by_storage(API_SERVICES) else {
        return;
    };
    for entry in core.store.list(API_SERVICES, None).entries {
        let text = |key: &str| object::text(&entry.object, &["spec", key]);
        let managed = object::text(&entry.object, &["metadata", "labels", MANAGED]) == "true";
        let served = groups
            .get(text("group"))
            .is_some_and(|versions| versions.contains(&text("version")));
        if managed && !served {
            delete(core, &services, &entry, DeleteOptions::default());
        }
    }
}

fn service(group: &str, version: &str) -> Value {
    let known = priorities(group, version);
    let (group_priority, version_priority) = known.unwrap_or((1000, 100));
    let managed = if known.is_some() { "onstart" } else { "true" };
    let mut service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name(group, version), "labels": {MANAGED: managed}},
        "spec": {"version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority},
        "status": {"conditions": [{
            "type": "Available", "status": "True", "lastTransitionTime": object::time(jiff::Timestamp::now()),
            "reason": "Local", "message": "Local APIServices are always available",
        }]},
    });
    if !group.is_empty() {
        service["spec"]["group"] = group.into();
    }
    service
}
