//! NetworkAttachmentDefinitions and the networks they make up.

mod conf;
mod subnets;
mod validate;

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};

pub use conf::{NetConf, Topology};
pub use validate::NadError;

use crate::config::ClusterConfig;
use crate::names::Key;

pub const NETWORK_ID: &str = "k8s.ovn.org/network-id";
pub const NETWORK_NAME: &str = "k8s.ovn.org/network-name";
pub const TUNNEL_KEYS: &str = "k8s.ovn.org/tunnel-keys";

/// A NetworkAttachmentDefinition.
#[derive(Debug, Clone, PartialEq)]
pub struct Nad {
    /// The text of `spec.config`.
    pub config: String,
    /// Its meaning, or why it has none.
    pub conf: Result<NetConf, NadError>,
    /// Given by the cluster manager.
    pub network_id: Option<u32>,
    pub network_name: Option<String>,
    pub tunnel_keys: Option<String>,
}

/// A user-defined network: all NADs that name it and agree about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub id: u32,
    pub conf: NetConf,
    pub nads: BTreeSet<Key>,
}

/// The kind, as the dynamic client wants it.
pub fn resource() -> ApiResource {
    let gvk = GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition");
    ApiResource::from_gvk_with_plural(&gvk, "network-attachment-definitions")
}

impl Nad {
    pub fn observed(config: &ClusterConfig, nad: &DynamicObject) -> Nad {
        let text = nad.data["spec"]["config"].as_str().unwrap_or_default();
        let key = Key::new(nad.namespace().unwrap_or_default(), nad.name_any());
        let annotation = |name: &str| nad.annotations().get(name).cloned();
        Nad {
            config: text.to_owned(),
            conf: NetConf::parse(config, &key, text),
            network_id: annotation(NETWORK_ID).and_then(|id| id.parse().ok()),
            network_name: annotation(NETWORK_NAME),
            tunnel_keys: annotation(TUNNEL_KEYS),
        }
    }
}
