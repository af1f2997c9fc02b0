//! What the API says of itself.

use std::sync::Arc;

use kubeapi::{AggregatedApi, AggregatedHandler, AggregatedVersion, ServiceReference};
use serde_json::{Map, Value, json};

/// What virt-api lists, in its order. Not all of what it serves is among it.
const RESOURCES: &[&str] = &[
    "expand-vm-spec",
    "virtualmachineinstances/vnc",
    "virtualmachineinstances/vnc/screenshot",
    "virtualmachineinstances/console",
    "virtualmachineinstances/portforward",
    "virtualmachineinstances/backup",
    "virtualmachineinstances/redefine-checkpoint",
    "virtualmachineinstances/pause",
    "virtualmachineinstances/unpause",
    "virtualmachineinstances/freeze",
    "virtualmachineinstances/unfreeze",
    "virtualmachineinstances/reset",
    "virtualmachineinstances/softreboot",
    "virtualmachines/start",
    "virtualmachines/stop",
    "virtualmachines/restart",
    "virtualmachines/migrate",
    "virtualmachines/expand-spec",
    "virtualmachines/objectgraph",
    "virtualmachines/evacuate/cancel",
    "virtualmachineinstances/guestosinfo",
    "virtualmachineinstances/userlist",
    "virtualmachineinstances/filesystemlist",
    "virtualmachineinstances/addvolume",
    "virtualmachineinstances/removevolume",
    "virtualmachineinstances/objectgraph",
    "virtualmachineinstances/sev/fetchcertchain",
    "virtualmachineinstances/sev/querylaunchmeasurement",
    "virtualmachineinstances/sev/setupsession",
    "virtualmachineinstances/sev/injectlaunchsecret",
    "virtualmachineinstances/evacuate/cancel",
];

/// The group with its two versions, which are the same.
pub fn api(group: &str, handler: Arc<dyn AggregatedHandler>) -> AggregatedApi {
    let resources: Vec<Value> = RESOURCES
        .iter()
        .map(|name| {
            json!({"name": name, "singularName": "", "namespaced": true, "kind": "", "verbs": null})
        })
        .collect();
    let version = |name: &str| AggregatedVersion {
        name: name.to_owned(),
        resources: resources.clone(),
        group_priority_minimum: 1000,
        version_priority: 15,
    };
    AggregatedApi {
        group: group.to_owned(),
        versions: vec![version("v1"), version("v1alpha3")],
        service: ServiceReference {
            namespace: "kubevirt".to_owned(),
            name: "virt-api".to_owned(),
            port: 443,
        },
        labels: texts(&[
            ("app.kubernetes.io/component", "kubevirt"),
            ("app.kubernetes.io/managed-by", "virt-operator"),
            ("kubevirt.io", "virt-api-aggregator"),
        ]),
        annotations: texts(&[("certificates.kubevirt.io/secret", "kubevirt-virt-api-certs")]),
        handler,
    }
}

fn texts(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect()
}
