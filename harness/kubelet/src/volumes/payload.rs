//! Which files a ConfigMap, a Secret or a downward API volume is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};

use crate::oci::{ConfigError, Facts, field_value, resource_value};

/// Files by their path inside the volume.
pub(super) type Payload = BTreeMap<PathBuf, File>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    pub owner: Option<u32>,
}

pub(super) const DEFAULT_MODE: u32 = 0o644;

pub(super) fn mode(mode: Option<i32>, default: u32) -> u32 {
    mode.and_then(|m| u32::try_from(m).ok())
        .map_or(default, |m| m & 0o7777)
}

/// All data of a ConfigMap, or the chosen items of it.
pub(super) fn config_map(
    map: &ConfigMap,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
) -> Result<Payload, ConfigError> {
    let text = map
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.as_bytes()));
    let binary = map
        .binary_data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.0.as_slice()));
    let data: BTreeMap<_, _> = text.chain(binary).collect();
    pick(
        &data,
        items,
        default_mode,
        optional,
        "configmap references non-existent config key",
    )
}

/// The same for a Secret.
pub(super) fn secret(
    secret: &Secret,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
) -> Result<Payload, ConfigError> {
    let data: BTreeMap<_, _> = secret
        .data
        .iter()
        .flatten()
        .map(|(k, v)| (k.as_str(), v.0.as_slice()))
        .collect();
    pick(
        &data,
        items,
        default_mode,
        optional,
        "references non-existent secret key",
    )
}

fn pick(
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&Vec<KeyToPath>>,
    default_mode: u32,
    optional: bool,
    missing: &str,
) -> Result<Payload, ConfigError> {
    let file = |data: &[u8], mode| File {
        data: data.to_vec(),
        mode,
        owner: None,
    };
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        return Ok(data
            .iter()
            .map(|(key, data)| (PathBuf::from(key), file(data, default_mode)))
            .collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(item.key.as_str()) {
            Some(data) => {
                payload.insert(
                    PathBuf::from(&item.path),
                    file(data, mode(item.mode, default_mode)),
                );
            }
            None if optional => {}
            None => return Err(ConfigError(format!("{missing}: {}", item.key))),
        }
    }
    Ok(payload)
}

pub(super) fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    default_mode: u32,
    facts: &Facts,
) -> Result<Payload, ConfigError> {
    let mut payload = Payload::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            field_value(pod, facts, &field.field_path)?
        } else if let Some(resource) = &item.resource_field_ref {
            resource_value(pod, None, resource, facts)?
        } else {
            continue;
        };
        let file = File {
            data: text.into_bytes(),
            mode: mode(item.mode, default_mode),
            owner: None,
        };
        payload.insert(PathBuf::from(&item.path), file);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn items_choose_rename_and_set_modes() {
        let map: ConfigMap = serde_json::from_value(json!({
            "data": {"dhcpd.conf": "subnet", "other": "x"}, "binaryData": {"bin": "AAE="}
        }))
        .unwrap();
        let all = config_map(&map, None, 0o600, false).unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(all[&PathBuf::from("bin")].data, [0, 1]);
        assert_eq!(all[&PathBuf::from("other")].mode, 0o600);

        let items: Vec<KeyToPath> = serde_json::from_value(
            json!([{"key": "dhcpd.conf", "path": "etc/d.conf", "mode": 256}]),
        )
        .unwrap();
        let some = config_map(&map, Some(&items), 0o600, false).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(some[&PathBuf::from("etc/d.conf")].mode, 0o400);

        let gone: Vec<KeyToPath> =
            serde_json::from_value(json!([{"key": "no", "path": "p"}])).unwrap();
        let error = config_map(&map, Some(&gone), 0o600, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "configmap references non-existent config key: no"
        );
        assert!(
            config_map(&map, Some(&gone), 0o600, true)
                .unwrap()
                .is_empty()
        );
    }
}
