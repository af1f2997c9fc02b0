//! Discovery: which groups, versions and resources there are, in the old form and aggregated.

use serde_json::{Map, Value, json};

use crate::gvk::api_version;
use crate::registry::{Registry, Served};
use crate::request::{Accept, Discovery, Form};
use crate::status::Status;

/// Answers a discovery path, and the media type of the answer.
pub fn answer(
    registry: &Registry,
    path: &Discovery,
    accept: Accept,
) -> Result<(Value, &'static str), Status> {
    const PLAIN: &str = "application/json";
    if let Form::Discovery(version) = accept.form
        && matches!(path, Discovery::Core | Discovery::Groups)
    {
        let media = match version {
            "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        };
        return Ok((
            aggregated(registry, path == &Discovery::Core, version),
            media,
        ));
    }
    let value = match path {
        Discovery::Core => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
        }),
        Discovery::Groups => {
            let groups: Vec<Value> = registry
                .groups()
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| group_object(group, versions))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        Discovery::Group(group) => {
            let groups = registry.groups();
            let versions = groups
                .get(group.as_str())
                .ok_or_else(Status::no_such_path)?;
            let mut value = group_object(group, versions);
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        Discovery::GroupVersion { group, version } => {
            let resources = registry.in_group_version(group, version);
            if resources.is_empty() {
                return Err(Status::no_such_path());
            }
            let mut list: Vec<Value> = resources.iter().flat_map(entries).collect();
            list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
            json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
                "resources": list,
            })
        }
    };
    Ok((value, PLAIN))
}

fn group_object(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": api_version(group, v), "version": v}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

/// A resource and its subresources in the old form.
fn entries(served: &Served) -> Vec<Value> {
    let resource = &served.resource;
    let mut own = Map::new();
    own.insert("name".to_owned(), resource.plural.as_str().into());
    own.insert("singularName".to_owned(), resource.singular.as_str().into());
    own.insert("namespaced".to_owned(), resource.namespaced.into());
    own.insert("kind".to_owned(), resource.kind.as_str().into());
    own.insert("verbs".to_owned(), resource.verbs.into());
    if !resource.short_names.is_empty() {
        own.insert("shortNames".to_owned(), resource.short_names.clone().into());
    }
    if !resource.categories.is_empty() {
        own.insert("categories".to_owned(), resource.categories.clone().into());
    }
    if resource.is_stored() {
        own.insert("storageVersionHash".to_owned(), storage_hash(served).into());
    }
    let mut all = vec![Value::Object(own)];
    for sub in &served.version().subresources {
        let mut entry = json!({
            "name": format!("{}/{}", resource.plural, sub.name), "singularName": "", "namespaced": resource.namespaced,
            "kind": sub.kind.kind, "verbs": sub.verbs,
        });
        if (sub.kind.group.as_str(), sub.kind.version.as_str())
            != (resource.group.as_str(), served.version().name.as_str())
        {
            entry["group"] = sub.kind.group.as_str().into();
            entry["version"] = sub.kind.version.as_str().into();
        }
        all.push(entry);
    }
    all
}

/// Eight bytes that change when the stored version does.
fn storage_hash(served: &Served) -> String {
    use base64::Engine;
    use sha2::Digest;
    let resource = &served.resource;
    let text = format!(
        "{}/{}/{}",
        resource.group, resource.stored_api_version, resource.kind
    );
    let hash = sha2::Sha256::digest(text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&hash[..8])
}

fn aggregated(registry: &Registry, core: bool, version: &str) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|v| {
                    let resources: Vec<Value> = registry
                        .in_group_version(group, v)
                        .iter()
                        .map(aggregated_resource)
                        .collect();
                    json!({"version": v, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !core {
                metadata["name"] = group.into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(served: &Served) -> Value {
    let resource = &served.resource;
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": served.version().name, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    let subresources: Vec<Value> = served
        .version()
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name, "verbs": sub.verbs,
                "responseKind": {"group": sub.kind.group, "version": sub.kind.version, "kind": sub.kind.kind},
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
