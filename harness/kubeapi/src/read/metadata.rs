//! `PartialObjectMetadata`: objects without their content.

use serde_json::{Value, json};

const API_VERSION: &str = "meta.k8s.io/v1";

/// The metadata of an object, as an object.
pub fn of(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": API_VERSION,
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// A list of such objects.
pub fn list(metadata: &Value, items: &[Value]) -> Value {
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": API_VERSION, "metadata": metadata, "items": items,
    })
}
