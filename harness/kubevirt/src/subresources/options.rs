//! The bodies of requests.

use kubeapi::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Start {
    pub paused: bool,
    pub dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Stop {
    pub grace_period: Option<i64>,
    pub dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Restart {
    pub grace_period_seconds: Option<i64>,
    pub dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Migrate {
    pub dry_run: Vec<String>,
    pub added_node_selector: std::collections::BTreeMap<String, String>,
}

/// Of pause and unpause.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Pause {
    pub dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Freeze {
    pub unfreeze_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EvacuateCancel {
    pub evacuation_node_name: String,
    pub dry_run: Vec<String>,
}

/// A body as YAML or JSON. None at all is fine.
pub fn decode<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, Status> {
    let refused = |why: &dyn std::fmt::Display| {
        Status::bad_request(format!(
            "Can not unmarshal Request body to struct, error: {why}"
        ))
    };
    let text = std::str::from_utf8(body).map_err(|error| refused(&error))?;
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| refused(&error));
    }
    serde_yaml::from_str(text).map_err(|error| refused(&error))
}
