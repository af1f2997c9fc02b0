//! Fetching what volumes are made of.

use k8s_openapi::api::core::v1::{
    ConfigMap, Pod, ProjectedVolumeSource, Secret, Volume, VolumeProjection,
};
use kube::{Api, ResourceExt};

use super::payload::{self, DEFAULT_MODE, Payload, mode};
use super::{Origin, tokens};
use crate::oci::ConfigError;

/// An object in the pod's namespace, or the pod itself, whose changes show in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Interest {
    ConfigMap(String),
    Secret(String),
    Pod,
}

/// What a volume is made of.
pub(crate) fn interests(volume: &Volume) -> Vec<Interest> {
    let mut found = Vec::new();
    if let Some(map) = &volume.config_map {
        found.push(Interest::ConfigMap(map.name.clone()));
    }
    if let Some(name) = volume.secret.as_ref().and_then(|s| s.secret_name.clone()) {
        found.push(Interest::Secret(name));
    }
    if volume.downward_api.is_some() {
        found.push(Interest::Pod);
    }
    for source in volume
        .projected
        .iter()
        .flat_map(|p| p.sources.iter().flatten())
    {
        if let Some(map) = &source.config_map {
            found.push(Interest::ConfigMap(map.name.clone()));
        }
        if let Some(secret) = &source.secret {
            found.push(Interest::Secret(secret.name.clone()));
        }
        if source.downward_api.is_some() {
            found.push(Interest::Pod);
        }
    }
    found
}

/// The files of a volume; None for types that are not made of API objects.
pub(super) async fn payload(
    origin: &Origin<'_>,
    pod: &Pod,
    volume: &Volume,
) -> Result<Option<Payload>, ConfigError> {
    if let Some(source) = &volume.config_map {
        let optional = source.optional == Some(true);
        let files = match config_map(origin, pod, &source.name, optional).await? {
            None => Payload::new(),
            Some(map) => {
                let mode = mode(source.default_mode, DEFAULT_MODE);
                payload::config_map(&map, source.items.as_ref(), mode, optional)?
            }
        };
        return Ok(Some(files));
    }
    if let Some(source) = &volume.secret {
        let optional = source.optional == Some(true);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let files = match secret(origin, pod, name, optional).await? {
            None => Payload::new(),
            Some(secret) => {
                let mode = mode(source.default_mode, DEFAULT_MODE);
                payload::secret(&secret, source.items.as_ref(), mode, optional)?
            }
        };
        return Ok(Some(files));
    }
    if let Some(source) = &volume.downward_api {
        let items = source.items.clone().unwrap_or_default();
        let mode = mode(source.default_mode, DEFAULT_MODE);
        return payload::downward(pod, &items, mode, origin.facts).map(Some);
    }
    if let Some(source) = &volume.projected {
        return projected(origin, pod, source).await.map(Some);
    }
    Ok(None)
}

async fn projected(
    origin: &Origin<'_>,
    pod: &Pod,
    volume: &ProjectedVolumeSource,
) -> Result<Payload, ConfigError> {
    let mode = mode(volume.default_mode, DEFAULT_MODE);
    let mut all = Payload::new();
    for source in volume.sources.iter().flatten() {
        all.append(&mut projection(origin, pod, source, mode).await?);
    }
    Ok(all)
}

async fn projection(
    origin: &Origin<'_>,
    pod: &Pod,
    source: &VolumeProjection,
    mode: u32,
) -> Result<Payload, ConfigError> {
    if let Some(source) = &source.config_map {
        let optional = source.optional == Some(true);
        return match config_map(origin, pod, &source.name, optional).await? {
            None => Ok(Payload::new()),
            Some(map) => payload::config_map(&map, source.items.as_ref(), mode, optional),
        };
    }
    if let Some(source) = &source.secret {
        let optional = source.optional == Some(true);
        return match secret(origin, pod, &source.name, optional).await? {
            None => Ok(Payload::new()),
            Some(secret) => payload::secret(&secret, source.items.as_ref(), mode, optional),
        };
    }
    if let Some(source) = &source.downward_api {
        let items = source.items.clone().unwrap_or_default();
        return payload::downward(pod, &items, mode, origin.facts);
    }
    if let Some(source) = &source.service_account_token {
        let file = tokens::file(origin, pod, source, mode).await?;
        return Ok([(source.path.clone().into(), file)].into());
    }
    Err(ConfigError(
        "projections of this type are not supported by this kubelet".to_owned(),
    ))
}

async fn config_map(
    origin: &Origin<'_>,
    pod: &Pod,
    name: &str,
    optional: bool,
) -> Result<Option<ConfigMap>, ConfigError> {
    let api: Api<ConfigMap> =
        Api::namespaced(origin.client.clone(), &pod.namespace().unwrap_or_default());
    match api.get_opt(name).await {
        Ok(None) if !optional => Err(ConfigError(format!("configmap {name:?} not found"))),
        Ok(found) => Ok(found),
        Err(error) => Err(ConfigError(error.to_string())),
    }
}

async fn secret(
    origin: &Origin<'_>,
    pod: &Pod,
    name: &str,
    optional: bool,
) -> Result<Option<Secret>, ConfigError> {
    let api: Api<Secret> =
        Api::namespaced(origin.client.clone(), &pod.namespace().unwrap_or_default());
    match api.get_opt(name).await {
        Ok(None) if !optional => Err(ConfigError(format!("secret {name:?} not found"))),
        Ok(found) => Ok(found),
        Err(error) => Err(ConfigError(error.to_string())),
    }
}
