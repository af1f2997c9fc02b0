//! CDI's DataVolume, as far as the lab fills it.

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::types::Condition;

#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "cdi.kubevirt.io",
    version = "v1beta1",
    kind = "DataVolume",
    status = "DataVolumeStatus",
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default",
    namespaced
)]
#[serde(rename_all = "camelCase")]
pub(in crate::controller) struct DataVolumeSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<DataVolumeSource>,
    /// A claim's specification; `storage` is one whose gaps are filled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Value>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Exactly one is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::controller) struct DataVolumeSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blank: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistrySource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<ClaimSource>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::controller) struct RegistrySource {
    /// `docker://REFERENCE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::controller) struct ClaimSource {
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::controller) struct DataVolumeStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The CustomResourceDefinition of DataVolumes.
pub(crate) fn definition() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let column = |name: &str, path: &str, description: &str| json!({"name": name, "type": "string", "jsonPath": path, "description": description});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "datavolumes.cdi.kubevirt.io", "labels": {"cdi.kubevirt.io": ""}},
        "spec": {
            "group": "cdi.kubevirt.io", "scope": "Namespaced",
            "names": {
                "plural": "datavolumes", "singular": "datavolume", "kind": "DataVolume",
                "listKind": "DataVolumeList", "shortNames": ["dv", "dvs"], "categories": ["all"],
            },
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    column("Phase", ".status.phase", "The phase the data volume is in"),
                    column("Progress", ".status.progress", "Transfer progress in percentage if known, N/A otherwise"),
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {"openAPIV3Schema": {
                    "type": "object", "required": ["spec"],
                    "properties": {
                        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                        "metadata": {"type": "object"}, "spec": open, "status": open,
                    },
                }},
            }],
        },
    })
}
