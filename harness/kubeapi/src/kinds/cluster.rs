//! Cluster-wide settings: priorities, runtimes, storage drivers, devices, fairness of the API itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::fixed;
use super::simple::{SIMPLE, Simple};
use crate::object;
use crate::schema::FieldError;
use crate::validation::field;

/// The highest priority that users can give.
const USER_PRIORITY: i64 = 1_000_000_000;
/// The classes that every cluster has.
pub const SYSTEM_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

pub static PRIORITY_CLASS: Simple = Simple {
    counts_generation: true,
    default: |object| object::default(object, "preemptionPolicy", "PreemptLowerPriority"),
    validate: priority_errors,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        if object::integer(new, &["value"]) != object::integer(old, &["value"]) {
            errors.push(field::forbidden(
                "value",
                "may not be changed in an update.",
            ));
        }
        errors.extend(fixed(new, old, &["preemptionPolicy"]));
        errors
    },
    ..SIMPLE
};

fn priority_errors(object: &Value) -> Vec<FieldError> {
    let name = object::name(object);
    let value = object::integer(object, &["value"]).unwrap_or(0);
    if name.starts_with("system-") {
        if SYSTEM_CLASSES
            .iter()
            .any(|(n, v, _)| (*n, *v) == (name, value))
        {
            return Vec::new();
        }
        return vec![field::forbidden(
            "metadata.name",
            &format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
            ),
        )];
    }
    if value > USER_PRIORITY {
        return vec![field::forbidden(
            "value",
            &format!("maximum allowed value of a user defined priority is {USER_PRIORITY}"),
        )];
    }
    Vec::new()
}

pub static RUNTIME_CLASS: Simple = Simple {
    unconditional: false,
    creates_on_update: true,
    validate_update: |new, old| fixed(new, old, &["handler"]).into_iter().collect(),
    ..SIMPLE
};

pub static CSI_DRIVER: Simple = Simple {
    returns_deleted: true,
    unconditional: false,
    default: |object| {
        let spec = object::child(object, "spec");
        object::default(spec, "attachRequired", true);
        object::default(spec, "podInfoOnMount", false);
        object::default(spec, "storageCapacity", false);
        object::default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        object::default(spec, "volumeLifecycleModes", json!(["Persistent"]));
        object::default(spec, "requiresRepublish", false);
        object::default(spec, "seLinuxMount", false);
    },
    validate_update: |new, old| {
        ["attachRequired", "volumeLifecycleModes"]
            .iter()
            .filter_map(|key| fixed(new, old, &["spec", key]))
            .collect()
    },
    ..SIMPLE
};

/// CSINodes and volume attachments.
pub static CSI_NODE: Simple = Simple {
    returns_deleted: true,
    unconditional: false,
    ..SIMPLE
};

pub static VOLUME_ATTACHMENT: Simple = Simple {
    validate_update: |new, old| fixed(new, old, &["spec"]).into_iter().collect(),
    ..CSI_NODE
};

pub static STORAGE_CAPACITY: Simple = Simple {
    unconditional: false,
    validate_update: |new, old| {
        ["nodeTopology", "storageClassName"]
            .iter()
            .filter_map(|key| fixed(new, old, &[key]))
            .collect()
    },
    ..SIMPLE
};

pub static ATTRIBUTES_CLASS: Simple = Simple {
    returns_deleted: true,
    validate_update: |new, old| {
        ["driverName", "parameters"]
            .iter()
            .filter(|key| object::at(new, &[key]) != object::at(old, &[key]))
            .map(|key| field::forbidden(key, "updates to this field are forbidden."))
            .collect()
    },
    ..SIMPLE
};

/// Device classes and slices of devices.
pub static DEVICES: Simple = Simple {
    counts_generation: true,
    returns_deleted: true,
    ..SIMPLE
};

pub static RESOURCE_CLAIM: Simple = Simple {
    returns_deleted: true,
    default: |object| devices(object::child(object, "spec")),
    validate_update: |new, old| fixed(new, old, &["spec"]).into_iter().collect(),
    ..SIMPLE
};

pub static RESOURCE_CLAIM_TEMPLATE: Simple = Simple {
    default: |object| devices(object::child(object::child(object, "spec"), "spec")),
    ..RESOURCE_CLAIM
};

/// Requests count devices unless they say otherwise.
fn devices(spec: &mut Value) {
    let requests = spec
        .get_mut("devices")
        .and_then(|devices| devices.get_mut("requests"))
        .and_then(Value::as_array_mut);
    for request in requests.into_iter().flatten() {
        if let Some(exactly) = request.get_mut("exactly").filter(|e| e.is_object()) {
            counted(exactly);
        }
        let alternatives = request
            .get_mut("firstAvailable")
            .and_then(Value::as_array_mut);
        for alternative in alternatives.into_iter().flatten() {
            counted(alternative);
        }
    }
}

fn counted(request: &mut Value) {
    object::default(request, "allocationMode", "ExactCount");
    if request["allocationMode"] == "ExactCount" {
        object::default(request, "count", 1);
    }
}

pub static FLOW_SCHEMA: Simple = Simple {
    counts_generation: true,
    default: |object| nonzero(object::child(object, "spec"), "matchingPrecedence", 1000),
    ..SIMPLE
};

pub static PRIORITY_LEVEL: Simple = Simple {
    counts_generation: true,
    default: |object| {
        let spec = object::child(object, "spec");
        if let Some(exempt) = spec.get_mut("exempt").filter(|e| e.is_object()) {
            object::default(exempt, "nominalConcurrencyShares", 0);
            object::default(exempt, "lendablePercent", 0);
        }
        let Some(limited) = spec.get_mut("limited").filter(|l| l.is_object()) else {
            return;
        };
        object::default(limited, "nominalConcurrencyShares", 30);
        object::default(limited, "lendablePercent", 0);
        if let Some(queuing) = limited
            .get_mut("limitResponse")
            .and_then(|response| response.get_mut("queuing"))
            .filter(|q| q.is_object())
        {
            nonzero(queuing, "handSize", 8);
            nonzero(queuing, "queues", 64);
            nonzero(queuing, "queueLengthLimit", 50);
        }
    },
    ..SIMPLE
};

/// Zero stands for no number here.
fn nonzero(object: &mut Value, key: &str, number: i64) {
    if object::integer(object, &[key]).unwrap_or(0) == 0 {
        object[key] = number.into();
    }
}

/// What is written once: the addresses and ranges of services.
pub static IP_ADDRESS: Simple = Simple {
    validate_update: |new, old| {
        fixed(new, old, &["spec", "parentRef"])
            .into_iter()
            .collect()
    },
    ..SIMPLE
};

pub static SERVICE_CIDR: Simple = Simple {
    validate_update: |new, old| fixed(new, old, &["spec", "cidrs"]).into_iter().collect(),
    ..SIMPLE
};

/// Requests for certificates. Who asks is written by the server, conditions and certificates by approvers and signers.
pub static CERTIFICATE_REQUEST: Simple = Simple {
    prepare_create: |object| object["status"] = json!({}),
    default: |object| {
        object::child(object, "status");
    },
    validate: certificate_errors,
    validate_update: |new, old| {
        let mut before = object::at(old, &["spec"]).clone();
        super::restore(&mut before, object::at(new, &["spec"]), &["extra"]);
        (&before != object::at(new, &["spec"]))
            .then(|| field::invalid("spec", "", "field is immutable"))
            .into_iter()
            .collect()
    },
    ..SIMPLE
};

fn certificate_errors(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let request = object::text(object, &["spec", "request"]);
    let is_request = STANDARD
        .decode(request)
        .is_ok_and(|pem| pem.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----"));
    if !is_request {
        errors.push(field::invalid(
            "spec.request",
            request,
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    if object::list(object, &["spec", "usages"]).is_empty() {
        errors.push(field::required("spec.usages", "usages are required"));
    }
    errors
}
