//! OpenAPI v3 documents: an index, and one document per group version.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

mod components;
mod operations;
mod paths;

/// Where the shape of a resource comes from.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A kind of the data file.
    Builtin,
    /// A CRD version's `openAPIV3Schema`.
    Custom(Value),
}

/// A resource served in a group version.
#[derive(Debug, Clone)]
pub struct Resource {
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    /// As in discovery: create, get, list, watch, update, patch, delete, deletecollection.
    pub verbs: Vec<String>,
    pub subresources: Vec<Subresource>,
    pub shape: Shape,
    /// Whether deletion answers with the object.
    pub returns_deleted: bool,
}

#[derive(Debug, Clone)]
pub struct Subresource {
    /// `status`, `scale`, `exec`, …
    pub name: String,
    /// Kind of the subresource's object, with group and version where they differ from the parent's.
    pub kind: String,
    pub group: Option<String>,
    pub version: Option<String>,
    pub verbs: Vec<String>,
}

/// The document served at `/openapi/v3/apis/GROUP/VERSION` (or `/openapi/v3/api/v1`).
pub fn document(group: &str, version: &str, resources: &[Resource]) -> Value {
    let mut components = components::Components::default();
    let mut all = Map::new();
    let custom = resources
        .iter()
        .all(|resource| matches!(resource.shape, Shape::Custom(_)));
    if !custom {
        paths::root(&mut all, &mut components, group, version);
    }
    for resource in resources {
        paths::add(&mut all, &mut components, group, version, resource);
    }
    all.sort_keys();
    json!({
        "openapi": "3.0.0",
        "info": if custom {
            json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"})
        } else {
            json!({"title": "Kubernetes", "version": "1.34"})
        },
        "paths": all,
        "components": {
            "schemas": components.finish(),
            "securitySchemes": {
                "BearerToken": {
                    "description": "Bearer Token authentication",
                    "in": "header",
                    "name": "authorization",
                    "type": "apiKey",
                },
            },
        },
    })
}

/// The version 2 document: empty, because clients only look here for what version 3 does not have.
pub fn v2() -> Value {
    json!({"swagger": "2.0", "info": {"title": "Kubernetes", "version": "unversioned"}, "paths": {}})
}

/// The same in protobuf: `openapi.v2.Document` with its fields swagger (1), info (2) and paths (8).
pub fn v2_protobuf() -> Vec<u8> {
    [
        b"\x0a\x032.0".as_slice(),
        b"\x12\x19\x0a\x0aKubernetes\x12\x0bunversioned",
        b"\x42\x00",
    ]
    .concat()
}

/// The hash of a document: its `ETag` and the `hash` parameter in the index.
pub fn hash(document: &Value) -> String {
    let digest = Sha512::digest(document.to_string().as_bytes());
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The index served at `/openapi/v3`: `(group, version, hash)` of every document.
pub fn index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Value {
    let mut paths = Map::new();
    for (group, version, hash) in documents {
        let path = base(group, version);
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    paths.sort_keys();
    json!({"paths": paths})
}

/// `api/v1` or `apis/GROUP/VERSION`.
fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}
