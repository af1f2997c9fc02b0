//! What kinds of object the API serves, asked once and again when something unknown turns up.

use std::sync::Arc;

use kube::{
    Client,
    api::{Api, DynamicObject},
    core::{
        ApiResource,
        discovery::v2::{
            ACCEPT_AGGREGATED_DISCOVERY_V2, APIGroupDiscovery, APIGroupDiscoveryList,
            APIResourceDiscovery,
        },
    },
};
use serde_json::Value;
use tokio::sync::RwLock;

use crate::error::Error;

/// One kind of object in one version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resource {
    pub api: ApiResource,
    pub namespaced: bool,
    singular: String,
    short_names: Vec<String>,
}

impl Resource {
    /// An `Api` for objects of this kind; the namespace is only looked at where the kind has one.
    pub fn objects(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => {
                Api::namespaced_with(client.clone(), namespace, &self.api)
            }
            _ => Api::all_with(client.clone(), &self.api),
        }
    }

    /// Whether people call this kind so: `pod`, `Pods`, `po`, `deployment.apps`.
    pub fn answers_to(&self, word: &str) -> bool {
        let word = word.to_ascii_lowercase();
        let (name, group) = word
            .split_once('.')
            .map_or((word.as_str(), None), |(n, g)| (n, Some(g)));
        let named = self.api.plural == name
            || self.singular == name
            || self.api.kind.eq_ignore_ascii_case(name)
            || self.short_names.iter().any(|short| short == name);
        named
            && group.is_none_or(|group| {
                self.api.group == group || self.api.group.starts_with(&format!("{group}."))
            })
    }
}

/// The kinds an API server serves.
#[derive(Clone)]
pub(crate) struct Catalogue {
    client: Client,
    /// In the server's order of preference: core first, preferred versions first.
    known: Arc<RwLock<Vec<Arc<Resource>>>>,
}

impl Catalogue {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Arc::default(),
        }
    }

    /// The kind a manifest names; `None` when the server does not serve it.
    pub async fn by_kind(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Arc<Resource>>, Error> {
        self.find(|resource| resource.api.api_version == api_version && resource.api.kind == kind)
            .await
    }

    /// The kind a person names; `None` when the server knows no such word.
    pub async fn by_word(&self, word: &str) -> Result<Option<Arc<Resource>>, Error> {
        self.find(|resource| resource.answers_to(word)).await
    }

    async fn find(
        &self,
        wanted: impl Fn(&Resource) -> bool,
    ) -> Result<Option<Arc<Resource>>, Error> {
        let hit = self
            .known
            .read()
            .await
            .iter()
            .find(|resource| wanted(resource))
            .cloned();
        if hit.is_some() {
            return Ok(hit);
        }
        // Definitions may have been applied since the last look.
        let fresh = discover(&self.client)
            .await
            .map_err(|error| Error::api("what kinds it serves", error))?;
        let mut known = self.known.write().await;
        *known = fresh;
        Ok(known.iter().find(|resource| wanted(resource)).cloned())
    }
}

pub(crate) async fn discover(client: &Client) -> Result<Vec<Arc<Resource>>, kube::Error> {
    let aggregated = futures::try_join!(aggregated(client, "/api"), aggregated(client, "/apis"));
    match aggregated {
        Ok((core, groups)) if core.items.iter().any(|group| !group.versions.is_empty()) => Ok(core
            .items
            .into_iter()
            .chain(groups.items)
            .flat_map(from_group)
            .map(Arc::new)
            .collect()),
        // Servers before 1.26 answer with the old documents, which parse as empty ones.
        Ok(_) | Err(kube::Error::SerdeError(_)) => discover_group_by_group(client).await,
        Err(error) => Err(error),
    }
}

/// The aggregated document at a path. Groups of servers that do not know this form have `null` for their verbs, which the
/// types do not expect.
async fn aggregated(client: &Client, path: &str) -> Result<APIGroupDiscoveryList, kube::Error> {
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, ACCEPT_AGGREGATED_DISCOVERY_V2)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    let mut document: Value = client.request(request).await?;
    drop_nulls(&mut document);
    serde_json::from_value(document).map_err(kube::Error::SerdeError)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn from_group(group: APIGroupDiscovery) -> Vec<Resource> {
    let name = group
        .metadata
        .and_then(|meta| meta.name)
        .unwrap_or_default();
    let mut found = Vec::new();
    for version in group.versions {
        let number = version.version.unwrap_or_default();
        found.extend(
            version
                .resources
                .into_iter()
                .filter_map(|resource| from_aggregated(&name, &number, resource)),
        );
    }
    found
}

fn from_aggregated(group: &str, version: &str, resource: APIResourceDiscovery) -> Option<Resource> {
    // What only stands above subresources has no kind.
    let kind = resource
        .response_kind?
        .kind
        .filter(|kind| !kind.is_empty())?;
    Some(Resource {
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        singular: resource
            .singular_resource
            .unwrap_or_else(|| kind.to_ascii_lowercase()),
        short_names: resource.short_names,
        api: api_resource(group, version, kind, resource.resource?),
    })
}

async fn discover_group_by_group(client: &Client) -> Result<Vec<Arc<Resource>>, kube::Error> {
    let mut found = Vec::new();
    for version in client.list_core_api_versions().await?.versions {
        let list = client.list_core_api_resources(&version).await?;
        found.extend(from_list("", &version, list.resources));
    }
    for group in client.list_api_groups().await?.groups {
        for version in group.versions {
            // A group whose extension server is down must not hide the others.
            if let Ok(list) = client
                .list_api_group_resources(&version.group_version)
                .await
            {
                found.extend(from_list(&group.name, &version.version, list.resources));
            }
        }
    }
    Ok(found)
}

fn from_list(
    group: &str,
    version: &str,
    resources: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource>,
) -> Vec<Arc<Resource>> {
    let whole = resources
        .into_iter()
        .filter(|resource| !resource.name.contains('/'));
    whole
        .map(|resource| {
            Arc::new(Resource {
                namespaced: resource.namespaced,
                singular: match resource.singular_name {
                    empty if empty.is_empty() => resource.kind.to_ascii_lowercase(),
                    singular => singular,
                },
                short_names: resource.short_names.unwrap_or_default(),
                api: api_resource(group, version, resource.kind, resource.name),
            })
        })
        .collect()
}

fn api_resource(group: &str, version: &str, kind: String, plural: String) -> ApiResource {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind,
        plural,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Resource {
        Resource {
            api: api_resource("apps", "v1", "Deployment".into(), "deployments".into()),
            namespaced: true,
            singular: "deployment".into(),
            short_names: vec!["deploy".into()],
        }
    }

    #[rstest::rstest]
    #[case("deployment", true)]
    #[case("Deployments", true)]
    #[case("deploy", true)]
    #[case("deployment.apps", true)]
    #[case("deployment.batch", false)]
    #[case("pod", false)]
    fn people_name_kinds_in_many_ways(#[case] word: &str, #[case] expected: bool) {
        assert_eq!(deployment().answers_to(word), expected);
    }

    #[test]
    fn groups_of_other_servers_hide_nothing() {
        let mut document = serde_json::json!({"items": [
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [{
                "resource": "deployments", "scope": "Namespaced", "singularResource": "deployment", "verbs": ["get"],
                "responseKind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "shortNames": ["deploy"],
            }]}]},
            {"metadata": {"name": "subresources.kubevirt.io"}, "versions": [{"version": "v1", "resources": [{
                "resource": "virtualmachines", "scope": "Namespaced", "singularResource": "", "verbs": null,
                "responseKind": {"group": "", "version": "", "kind": ""},
                "subresources": [{"subresource": "start", "responseKind": null, "verbs": null}],
            }]}]},
        ]});
        drop_nulls(&mut document);
        let list: APIGroupDiscoveryList = serde_json::from_value(document).unwrap();
        let found: Vec<Resource> = list.items.into_iter().flat_map(from_group).collect();
        assert_eq!(found, [deployment()]);
    }
}
