//! Discovery: which groups, versions and resources there are, in the old form and aggregated.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use crate::aggregated::{AggregatedApi, AggregatedVersion};
use crate::gvk::{api_version, split_api_version};
use crate::registry::{Registry, Resource, Served};
use crate::request::{Accept, Discovery, Form};
use crate::schema::Gvk;
use crate::server::core::Core;

/// In which form the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    /// Made for being kept by clients and asked for again by its hash.
    Aggregated,
}

/// What a discovery path shows, aggregated where the client takes that form; None where nothing is served.
pub fn answer(
    core: &Core,
    path: &Discovery,
    accept: Accept,
    server: &str,
) -> Option<(Value, Style)> {
    let registry = &core.registry();
    let elsewhere = |group: &str| core.aggregated.iter().find(|api| api.group == group);
    if accept.form == Form::Discovery && matches!(path, Discovery::Core | Discovery::Groups) {
        let mut value = aggregated(registry, path == &Discovery::Core);
        if let (Discovery::Groups, Some(items)) = (path, value["items"].as_array_mut()) {
            items.extend(core.aggregated.iter().map(|api| converted(api)));
        }
        return Some((value, Style::Aggregated));
    }
    let value = match path {
        Discovery::Core => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server}],
        }),
        Discovery::Groups => {
            let groups: Vec<Value> = registry
                .groups()
                .iter()
                .filter(|(group, _)| !group.is_empty())
                .map(|(group, versions)| group_object(group, versions))
                .chain(core.aggregated.iter().map(|api| group_of(api)))
                .collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        Discovery::Group(group) => {
            let groups = registry.groups();
            let mut value = match elsewhere(group) {
                Some(api) => group_of(api),
                None => group_object(group, groups.get(group.as_str())?),
            };
            value["kind"] = "APIGroup".into();
            value["apiVersion"] = "v1".into();
            value
        }
        Discovery::GroupVersion { group, version } => {
            if let Some(api) = elsewhere(group) {
                let offered = api.versions.iter().find(|v| v.name == *version)?;
                return Some((resource_list(group, offered), Style::Plain));
            }
            let resources = registry.in_group_version(group, version);
            if resources.is_empty() {
                return None;
            }
            let mut list: Vec<Value> = resources.iter().flat_map(entries).collect();
            list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
            let mut value = json!({"kind": "APIResourceList"});
            // The core group has always left it out.
            if !group.is_empty() {
                value["apiVersion"] = "v1".into();
            }
            value["groupVersion"] = api_version(group, version).into();
            value["resources"] = list.into();
            value
        }
    };
    Some((value, Style::Plain))
}

fn group_object(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|v| json!({"groupVersion": api_version(group, v), "version": v}))
        .collect();
    json!({"name": group, "versions": versions, "preferredVersion": versions[0]})
}

fn group_of(api: &AggregatedApi) -> Value {
    let versions: Vec<&str> = api.versions.iter().map(|v| v.name.as_str()).collect();
    group_object(&api.group, &versions)
}

/// What the server behind the group says itself.
fn resource_list(group: &str, version: &AggregatedVersion) -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, &version.name),
        "resources": version.resources,
    })
}

/// An aggregated group that knows the old form only, in the new one.
fn converted(api: &AggregatedApi) -> Value {
    let versions: Vec<Value> = api
        .versions
        .iter()
        .map(|version| {
            json!({
                "version": version.name, "resources": parents(&version.resources), "freshness": "Current",
            })
        })
        .collect();
    json!({"metadata": {"name": api.group}, "versions": versions})
}

/// Resources with their subresources below them; a subresource without its resource gets one that can do nothing.
fn parents(list: &[Value]) -> Vec<Value> {
    let text = |resource: &Value, key: &str| resource[key].as_str().unwrap_or_default().to_owned();
    let kind = |resource: &Value| {
        json!({
            "group": text(resource, "group"), "version": text(resource, "version"), "kind": text(resource, "kind"),
        })
    };
    let scope = |resource: &Value| match resource["namespaced"] {
        Value::Bool(true) => "Namespaced",
        _ => "Cluster",
    };
    let mut parents: IndexMap<String, Value> = IndexMap::new();
    for resource in list {
        let name = text(resource, "name");
        if name.contains('/') {
            continue;
        }
        let mut parent = json!({
            "resource": name, "responseKind": kind(resource), "scope": scope(resource),
            "singularResource": text(resource, "singularName"), "verbs": resource["verbs"],
        });
        for key in ["shortNames", "categories"] {
            if let Some(names) = resource.get(key) {
                parent[key] = names.clone();
            }
        }
        parents.insert(name, parent);
    }
    for resource in list {
        let name = text(resource, "name");
        let Some((parent, subresource)) = name.split_once('/') else {
            continue;
        };
        let parent = parents.entry(parent.to_owned()).or_insert_with(|| {
            json!({
                "resource": parent, "responseKind": {"group": "", "version": "", "kind": ""},
                "scope": scope(resource), "singularResource": "", "verbs": null,
            })
        });
        let entry = json!({
            "subresource": subresource, "responseKind": kind(resource), "verbs": resource["verbs"],
        });
        match parent.get_mut("subresources").and_then(Value::as_array_mut) {
            Some(below) => below.push(entry),
            None => parent["subresources"] = json!([entry]),
        }
    }
    parents.into_values().collect()
}

/// A resource and its subresources in the old form.
fn entries(served: &Served) -> Vec<Value> {
    let resource = &served.resource;
    let mut own = Map::new();
    own.insert("name".to_owned(), resource.plural.as_str().into());
    own.insert("singularName".to_owned(), resource.singular.as_str().into());
    own.insert("namespaced".to_owned(), resource.namespaced.into());
    own.insert("kind".to_owned(), resource.kind.as_str().into());
    own.insert("verbs".to_owned(), verbs(resource).into());
    if !resource.short_names.is_empty() {
        own.insert("shortNames".to_owned(), resource.short_names.clone().into());
    }
    if !resource.categories.is_empty() {
        own.insert("categories".to_owned(), resource.categories.clone().into());
    }
    if let Some(hash) = storage_hash(served).filter(|_| resource.is_stored()) {
        own.insert("storageVersionHash".to_owned(), hash.into());
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

/// What can be done, in the order in which upstream lists it.
fn verbs(resource: &Resource) -> &'static [&'static str] {
    const OF_CUSTOM: &[&str] = &[
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "create",
        "update",
        "watch",
    ];
    if resource.is_custom() {
        OF_CUSTOM
    } else {
        resource.verbs
    }
}

/// Eight bytes that change when the stored version does. Custom resources have one in their stored version only.
fn storage_hash(served: &Served) -> Option<String> {
    use base64::Engine;
    use sha2::Digest;
    let resource = &served.resource;
    if resource.verbs.len() < 4 || (resource.is_custom() && !served.is_storage_version()) {
        return None;
    }
    let (group, version) = split_api_version(&resource.hashed_api_version);
    let hash = sha2::Sha256::digest(format!("{group}/{version}/{}", resource.kind));
    Some(base64::engine::general_purpose::STANDARD.encode(&hash[..8]))
}

fn aggregated(registry: &Registry, core: bool) -> Value {
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
            let mut metadata = json!({});
            if !core {
                metadata["name"] = group.into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

/// The kind of an answer. Built-in resources leave out a group version that is the resource's own.
fn response_kind(served: &Served, kind: &Gvk) -> Value {
    let own = &served.resource;
    let implied = !own.is_custom()
        && (kind.group.as_str(), kind.version.as_str())
            == (own.group.as_str(), served.version().name.as_str());
    let (group, version) = if implied {
        ("", "")
    } else {
        (kind.group.as_str(), kind.version.as_str())
    };
    json!({"group": group, "version": version, "kind": kind.kind})
}

fn aggregated_resource(served: &Served) -> Value {
    let resource = &served.resource;
    let mut entry = json!({
        "resource": resource.plural, "responseKind": response_kind(served, &served.gvk()),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": verbs(resource),
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
                "subresource": sub.name, "responseKind": response_kind(served, &sub.kind), "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
