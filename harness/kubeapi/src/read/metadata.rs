//! `PartialObjectMetadata`: objects without their content.

use serde_json::{Value, json};

use crate::decode;
use crate::registry::Served;
use crate::request::accept::Partial;
use crate::request::{Accept, Form};
use crate::status::{Reason, Status};

/// The metadata of an object, as an object in a version of the group `meta.k8s.io`.
pub fn in_version(object: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": object.get("metadata").cloned().unwrap_or_default(),
    })
}

/// A list of such objects.
pub fn list(metadata: &Value, items: &[Value], version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadataList", "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata, "items": items,
    })
}

/// Who asks for the metadata of one object cannot get those of many, and the other way round.
pub fn check(accept: Accept, served: &Served, many: bool) -> Result<(), Status> {
    let Form::Metadata(Partial { list, .. }) = accept.form else {
        return Ok(());
    };
    if list == many {
        return Ok(());
    }
    let go_type = if served.resource.is_custom() {
        "unstructured.Unstructured".to_owned()
    } else {
        decode::go_type(&served.gvk(), "")
    };
    let message = if many {
        format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{go_type}List)"
        )
    } else {
        format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{go_type})"
        )
    };
    Err(Status::new(406, Reason::NotAcceptable, message))
}
