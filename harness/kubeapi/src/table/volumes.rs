//! Volumes, claims and storage classes.

use jiff::Timestamp;
use serde_json::Value;

use super::{Head, Printer, age, col, wide};
use crate::object;

const VOLUME: &[Head] = &[
    col("Name"),
    col("Capacity"),
    col("Access Modes"),
    col("Reclaim Policy"),
    col("Status"),
    col("Claim"),
    col("StorageClass"),
    col("VolumeAttributesClass"),
    col("Reason"),
    col("Age"),
    wide("VolumeMode"),
];
const CLAIM: &[Head] = &[
    col("Name"),
    col("Status"),
    col("Volume"),
    col("Capacity"),
    col("Access Modes"),
    col("StorageClass"),
    col("VolumeAttributesClass"),
    col("Age"),
    wide("VolumeMode"),
];
const STORAGE_CLASS: &[Head] = &[
    col("Name"),
    col("Provisioner"),
    col("ReclaimPolicy"),
    col("VolumeBindingMode"),
    col("AllowVolumeExpansion"),
    col("Age"),
];
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

pub fn printer(key: (&str, &str)) -> Option<Printer> {
    let (heads, cells): (_, fn(&Value, Timestamp) -> Vec<Value>) = match key {
        ("", "persistentvolumes") => (VOLUME, volume),
        ("", "persistentvolumeclaims") => (CLAIM, claim),
        ("storage.k8s.io", "storageclasses") => (STORAGE_CLASS, class),
        _ => return None,
    };
    Some(Printer { heads, cells })
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>" } else { text }.into()
}

fn modes(value: &Value, path: &[&str]) -> String {
    let short: Vec<&str> = object::list(value, path)
        .iter()
        .filter_map(|mode| match mode.as_str()? {
            "ReadWriteOnce" => Some("RWO"),
            "ReadOnlyMany" => Some("ROX"),
            "ReadWriteMany" => Some("RWX"),
            "ReadWriteOncePod" => Some("RWOP"),
            _ => None,
        })
        .collect();
    short.join(",")
}

fn phase(object: &Value) -> Value {
    if object::is_deleting(object) {
        return "Terminating".into();
    }
    object::text(object, &["status", "phase"]).into()
}

fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object::at(object, &["spec"]);
    let text = |path: &[&str]| object::text(spec, path);
    let claim = match text(&["claimRef", "name"]) {
        "" => String::new(),
        name => format!("{}/{name}", text(&["claimRef", "namespace"])),
    };
    vec![
        object::name(object).into(),
        text(&["capacity", "storage"]).into(),
        modes(spec, &["accessModes"]).into(),
        text(&["persistentVolumeReclaimPolicy"]).into(),
        phase(object),
        claim.into(),
        text(&["storageClassName"]).into(),
        or_unset(text(&["volumeAttributesClassName"])),
        object::text(object, &["status", "reason"]).into(),
        age(object, now),
        or_unset(text(&["volumeMode"])),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object::at(object, &["spec"]);
    let text = |path: &[&str]| object::text(spec, path);
    let volume = text(&["volumeName"]);
    let (capacity, modes) = if volume.is_empty() {
        ("", String::new())
    } else {
        (
            object::text(object, &["status", "capacity", "storage"]),
            modes(object, &["status", "accessModes"]),
        )
    };
    vec![
        object::name(object).into(),
        phase(object),
        volume.into(),
        capacity.into(),
        modes.into(),
        text(&["storageClassName"]).into(),
        or_unset(text(&["volumeAttributesClassName"])),
        age(object, now),
        or_unset(text(&["volumeMode"])),
    ]
}

fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let text = |path: &[&str]| object::text(object, path);
    let default = text(&["metadata", "annotations", DEFAULT_CLASS]) == "true";
    let name = object::name(object);
    vec![
        if default {
            format!("{name} (default)")
        } else {
            name.to_owned()
        }
        .into(),
        text(&["provisioner"]).into(),
        text(&["reclaimPolicy"]).into(),
        text(&["volumeBindingMode"]).into(),
        object::at(object, &["allowVolumeExpansion"])
            .as_bool()
            .unwrap_or(false)
            .into(),
        age(object, now),
    ]
}
