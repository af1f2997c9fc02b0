//! OpenAPI v3: what kubectl looks for in the documents.

use kubeapi::openapi::{self, Resource, Shape, Subresource};
use serde_json::{Value, json};

fn verbs(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

fn deployments() -> Resource {
    Resource {
        plural: "deployments".into(),
        kind: "Deployment".into(),
        namespaced: true,
        verbs: verbs(ALL),
        subresources: vec![
            Subresource {
                name: "status".into(),
                kind: "Deployment".into(),
                group: None,
                version: None,
                verbs: verbs(&["get", "patch", "update"]),
            },
            Subresource {
                name: "scale".into(),
                kind: "Scale".into(),
                group: Some("autoscaling".into()),
                version: Some("v1".into()),
                verbs: verbs(&["get", "patch", "update"]),
            },
        ],
        shape: Shape::Builtin,
        returns_deleted: false,
    }
}

fn things() -> Resource {
    Resource {
        plural: "things".into(),
        kind: "Thing".into(),
        namespaced: false,
        verbs: verbs(ALL),
        subresources: Vec::new(),
        shape: Shape::Custom(json!({
            "type": "object",
            "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
        })),
        returns_deleted: false,
    }
}

fn parameters(operation: &Value) -> Vec<&str> {
    operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["name"].as_str())
        .collect()
}

/// Every reference in a document leads to one of its components.
fn dangling(value: &Value, document: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str)
                && document.pointer(&reference[1..]).is_none()
            {
                found.push(reference.to_owned());
            }
            map.values().for_each(|v| dangling(v, document, found));
        }
        Value::Array(items) => items.iter().for_each(|v| dangling(v, document, found)),
        _ => {}
    }
}

#[test]
fn paths_of_a_namespaced_kind_with_subresources() {
    let document = openapi::document("apps", "v1", &[deployments()]);
    let paths: Vec<&String> = document["paths"]
        .as_object()
        .expect("paths")
        .keys()
        .collect();
    assert_eq!(
        paths,
        [
            "/apis/apps/v1/",
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status",
            "/apis/apps/v1/watch/deployments",
            "/apis/apps/v1/watch/namespaces/{namespace}/deployments",
            "/apis/apps/v1/watch/namespaces/{namespace}/deployments/{name}",
        ]
    );
    let item = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    assert_eq!(
        item["patch"]["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    assert_eq!(
        parameters(&item["patch"]),
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
    assert_eq!(
        item["patch"]["operationId"],
        "patchAppsV1NamespacedDeployment"
    );
    let scale = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(
        scale["get"]["x-kubernetes-group-version-kind"]["group"],
        "autoscaling"
    );
    assert_eq!(
        scale["get"]["operationId"],
        "readAppsV1NamespacedDeploymentScale"
    );
    let mut missing = Vec::new();
    dangling(&document, &document, &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn types_keep_what_patches_need() {
    let document = openapi::document("apps", "v1", &[deployments()]);
    let schemas = &document["components"]["schemas"];
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(pod["containers"]["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(
        pod["containers"]["x-kubernetes-list-map-keys"],
        json!(["name"])
    );
    assert_eq!(
        pod["restartPolicy"],
        json!({"type": "string", "enum": ["Always", "Never", "OnFailure"]})
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"],
        json!({"default": {}, "allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]})
    );
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "kind": "Deployment", "version": "v1"}])
    );
}

#[test]
fn custom_resources_are_described_like_built_in_ones() {
    let document = openapi::document("stable.example.org", "v1", &[things()]);
    let schemas = &document["components"]["schemas"];
    let thing = &schemas["org.example.stable.v1.Thing"];
    assert_eq!(
        thing["x-kubernetes-group-version-kind"],
        json!([{"group": "stable.example.org", "kind": "Thing", "version": "v1"}])
    );
    assert_eq!(
        thing["properties"]["metadata"],
        json!({"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}]})
    );
    assert!(schemas["org.example.stable.v1.ThingList"].is_object());
    let item = &document["paths"]["/apis/stable.example.org/v1/things/{name}"];
    let media: Vec<&String> = item["patch"]["requestBody"]["content"]
        .as_object()
        .expect("content")
        .keys()
        .collect();
    assert!(!media.iter().any(|m| m.contains("strategic")));
    let mut missing = Vec::new();
    dangling(&document, &document, &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_index_carries_the_hash_of_each_document() {
    let document = openapi::document("apps", "v1", &[deployments()]);
    let hash = openapi::hash(&document);
    assert_eq!(hash.len(), 128);
    assert_eq!(
        hash,
        openapi::hash(&openapi::document("apps", "v1", &[deployments()]))
    );
    assert_ne!(
        hash,
        openapi::hash(&openapi::document("stable.example.org", "v1", &[things()]))
    );
    assert_eq!(
        openapi::index([("apps", "v1", hash.as_str()), ("", "v1", "ABC")]),
        json!({"paths": {
            "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=ABC"},
            "apis/apps/v1": {"serverRelativeURL": format!("/openapi/v3/apis/apps/v1?hash={hash}")},
        }})
    );
}
