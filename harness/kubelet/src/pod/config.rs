//! Everything that must be fetched before a container can be configured.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Service};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::oci::{ConfigError, EnvSources};

/// Objects that the container's environment refers to.
pub(super) async fn env_sources(
    client: &Client,
    pod: &Pod,
    container: &Container,
) -> Result<EnvSources, ConfigError> {
    let namespace = pod.namespace().unwrap_or_default();
    let mut sources = EnvSources::default();
    let (maps, secrets) = names(container);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    for name in maps {
        let found = api.get_opt(&name).await.map_err(|e| failed(&e))?;
        sources.config_maps.insert(name, found);
    }
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for name in secrets {
        let found = api.get_opt(&name).await.map_err(|e| failed(&e))?;
        sources.secrets.insert(name, found);
    }
    sources.services = services(client, pod, &namespace).await?;
    Ok(sources)
}

fn failed(error: &kube::Error) -> ConfigError {
    ConfigError(error.to_string())
}

fn names(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in container
        .env
        .iter()
        .flatten()
        .filter_map(|e| e.value_from.as_ref())
    {
        maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (maps, secrets)
}

/// The API's own service goes to everybody, those of the namespace to pods that want links.
async fn services(
    client: &Client,
    pod: &Pod,
    namespace: &str,
) -> Result<Vec<Service>, ConfigError> {
    const MASTER: &str = "kubernetes";
    const MASTER_NAMESPACE: &str = "default";
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links) != Some(false);
    let mut found = Vec::new();
    if links {
        let api: Api<Service> = Api::namespaced(client.clone(), namespace);
        found = api
            .list(&ListParams::default())
            .await
            .map_err(|e| failed(&e))?
            .items;
    }
    if !found.iter().any(|s| s.name_any() == MASTER) {
        let api: Api<Service> = Api::namespaced(client.clone(), MASTER_NAMESPACE);
        found.extend(api.get_opt(MASTER).await.map_err(|e| failed(&e))?);
    }
    Ok(found)
}
