//! The networks of a pod as Multus loads them: the default one, then the selected ones.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject};
use serde_json::Value;

use super::{CniError, Context, Request, happening};
use crate::events::Severity;
use crate::nad::resource;
use crate::names::{DEFAULT_CNI_NAME, DEFAULT_NETWORK, Key};
use crate::selection::{self, Selected};
use crate::world::SELECTION;

/// One interface to make.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Delegate {
    pub(super) interface: String,
    /// The name in the CNI configuration.
    pub(super) network: String,
    /// `None` for the default network.
    pub(super) nad: Option<Key>,
    pub(super) config: Config,
}

/// The parts of the CNI configuration that matter here.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Config {
    pub(super) plugin: String,
    pub(super) topology: String,
    pub(super) physical_network: String,
    pub(super) mtu: Option<u16>,
}

const OUR_PLUGIN: &str = "ovn-k8s-cni-overlay";

impl Delegate {
    fn default_network() -> Delegate {
        Delegate {
            interface: "eth0".to_owned(),
            network: DEFAULT_CNI_NAME.to_owned(),
            nad: None,
            config: Config {
                plugin: OUR_PLUGIN.to_owned(),
                ..Config::default()
            },
        }
    }

    /// What events and the status call it.
    pub(super) fn display_name(&self) -> String {
        match &self.nad {
            Some(nad) => nad.to_string(),
            None => DEFAULT_CNI_NAME.to_owned(),
        }
    }

    /// Its key in `k8s.ovn.org/pod-networks`.
    pub(super) fn annotation_key(&self) -> String {
        match &self.nad {
            Some(nad) => nad.to_string(),
            None => DEFAULT_NETWORK.to_owned(),
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.config.plugin == OUR_PLUGIN
    }
}

/// Reads the selection and the NADs it names.
pub(super) async fn load(
    cx: &Context,
    request: &Request,
    pod: &Pod,
) -> Result<Vec<Delegate>, CniError> {
    let failed =
        |message: String| request.error(format!("error loading k8s delegates k8s args: {message}"));
    let mut delegates = vec![Delegate::default_network()];
    let text = pod.annotations().get(SELECTION).map(String::as_str);
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(delegates);
    };
    let selected = selection::parse(text, &request.key.namespace)
        .map_err(|error| failed(error.to_string()))?;
    let lookups = selected.iter().map(|selected| find(cx, selected));
    // All at once, but the first one in order is the one that is complained about.
    for (at, found) in futures::future::join_all(lookups)
        .await
        .into_iter()
        .enumerate()
    {
        let selected = &selected[at];
        let config = found.map_err(|missing| {
            let told = happening(Severity::Warning, "NoNetworkFound", missing.to_string());
            cx.recorder.record(request.subject(), told);
            failed(format!(
                "TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the \
                 delegate: getKubernetesDelegate: {missing}"
            ))
        })?;
        let interface = selected.interface.clone();
        let (network, config) = read(&config).map_err(|error| {
            failed(format!(
                "TryLoadPodDelegates: error in getting k8s network for pod: GetNetworkDelegates: failed getting the \
                 delegate: {error}"
            ))
        })?;
        delegates.push(Delegate {
            interface: interface.unwrap_or_else(|| format!("net{}", at + 1)),
            network,
            nad: Some(selected.nad.clone()),
            config,
        });
    }
    refuse_twins(request, &delegates)?;
    Ok(delegates)
}

#[derive(Debug, thiserror::Error)]
#[error("cannot find a network-attachment-definition ({}) in namespace ({}): {source}", nad.name, nad.namespace)]
struct Missing {
    nad: Key,
    source: Source,
}

/// As client-go words it.
#[derive(Debug, thiserror::Error)]
enum Source {
    #[error("network-attachment-definitions.k8s.cni.cncf.io {0:?} not found")]
    NotFound(String),
    #[error("{0}")]
    Other(Box<kube::Error>),
}

/// The text of the NAD's configuration.
async fn find(cx: &Context, selected: &Selected) -> Result<String, Missing> {
    let nad = &selected.nad;
    if let Some(known) = cx.worlds.borrow().world.nads.get(nad) {
        return Ok(known.config.clone());
    }
    // It may be too new to have been observed.
    let api: Api<DynamicObject> =
        Api::namespaced_with(cx.client.clone(), &nad.namespace, &resource());
    let missing = |source| Missing {
        nad: nad.clone(),
        source,
    };
    let object = api.get_opt(&nad.name).await;
    match object.map_err(|error| missing(Source::Other(Box::new(error))))? {
        Some(object) => Ok(object.data["spec"]["config"]
            .as_str()
            .unwrap_or_default()
            .to_owned()),
        None => Err(missing(Source::NotFound(nad.name.clone()))),
    }
}

/// Name and settings of a configuration, of its first plugin if it is a list.
fn read(text: &str) -> Result<(String, Config), String> {
    let json: Value = serde_json::from_str(text).map_err(|error| {
        let error = crate::go::json_error(text, &error);
        format!("LoadDelegateNetConf: error unmarshalling delegate config: {error}")
    })?;
    let plugin = json["plugins"]
        .as_array()
        .map_or(&json, |plugins| plugins.first().unwrap_or(&json));
    let string = |json: &Value, field: &str| json[field].as_str().unwrap_or_default().to_owned();
    let config = Config {
        plugin: string(plugin, "type"),
        topology: string(plugin, "topology"),
        physical_network: string(plugin, "physicalNetworkName"),
        mtu: plugin["mtu"]
            .as_u64()
            .and_then(|mtu| u16::try_from(mtu).ok()),
    };
    if config.plugin.is_empty() {
        return Err("LoadDelegateNetConf: delegate must have the 'type' field".to_owned());
    }
    Ok((string(&json, "name"), config))
}

/// Two interfaces of one name: Multus finds out when it makes the second.
fn refuse_twins(request: &Request, delegates: &[Delegate]) -> Result<(), CniError> {
    let mut taken = HashSet::new();
    for delegate in delegates {
        let name = &delegate.interface;
        if !taken.insert(name) {
            let plugin = &delegate.config.plugin;
            let message = format!(
                "DelegateAdd: cannot set {plugin:?} interface name to {name:?}: validateIfName: interface name {name} \
                 already exists"
            );
            return Err(request.plugin_error(&delegate.network, message));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn single_and_list() {
        let text =
            r#"{"name": "net", "type": "ovn-k8s-cni-overlay", "topology": "layer2", "mtu": 1300}"#;
        let (name, config) = read(text).unwrap();
        assert_eq!(name, "net");
        assert_eq!(config.mtu, Some(1300));
        let text = r#"{"name": "list", "plugins": [{"type": "macvlan"}]}"#;
        let (name, config) = read(text).unwrap();
        assert_eq!((name.as_str(), config.plugin.as_str()), ("list", "macvlan"));
    }

    #[test]
    fn nonsense() {
        assert_eq!(
            read(r#"{"name": "net""#).unwrap_err(),
            "LoadDelegateNetConf: error unmarshalling delegate config: unexpected end of JSON input"
        );
        assert!(read(r#"{"name": "net"}"#).is_err());
    }
}
