//! What the KubeVirt object says about defaults and what is allowed, with KubeVirt's own defaults.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::types::{EvictionStrategy, KubeVirt, Quantity};

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClusterConfig {
    pub(super) architecture: String,
    pub(super) eviction_strategy: EvictionStrategy,
    pub(super) machine_type: Option<String>,
    /// Patterns of machine types that may be used.
    pub(super) machines: Option<Vec<String>>,
    pub(super) cpu_model: Option<String>,
    pub(super) cpu_request: Quantity,
    pub(super) default_interface: String,
    pub(super) bridge_on_pod_network: bool,
    pub(super) live_update: bool,
    pub(super) hotplug: Hotplug,
    feature_gates: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hotplug {
    pub(super) ratio: u32,
    pub(super) max_sockets: u32,
    pub(super) max_guest: Option<Quantity>,
}

/// KubeVirt asks for it when nothing else is said.
pub(super) const CPU_REQUEST: &str = "100m";

impl Default for ClusterConfig {
    fn default() -> Self {
        Self::of(&KubeVirt::default())
    }
}

impl ClusterConfig {
    pub(crate) fn of(kubevirt: &KubeVirt) -> Self {
        let configuration = &kubevirt.spec.configuration;
        let network = configuration.network.clone().unwrap_or_default();
        let developer = configuration
            .developer_configuration
            .clone()
            .unwrap_or_default();
        let live = &configuration.other.get("liveUpdateConfiguration");
        Self {
            architecture: architecture(kubevirt),
            eviction_strategy: configuration
                .eviction_strategy
                .unwrap_or(EvictionStrategy::None),
            machine_type: given(configuration.machine_type.as_ref()),
            machines: (!configuration.emulated_machines.is_empty())
                .then(|| configuration.emulated_machines.clone()),
            cpu_model: given(configuration.cpu_model.as_ref()),
            cpu_request: quantity(configuration.other.get("cpuRequest"))
                .unwrap_or_else(|| CPU_REQUEST.into()),
            default_interface: given(network.default_network_interface.as_ref())
                .unwrap_or_else(|| "bridge".to_owned()),
            bridge_on_pod_network: network
                .permit_bridge_interface_on_pod_network
                .unwrap_or(true),
            live_update: configuration
                .other
                .get("vmRolloutStrategy")
                .and_then(Value::as_str)
                .is_none_or(|strategy| strategy == "LiveUpdate"),
            hotplug: Hotplug {
                ratio: count(live.and_then(|live| live.get("maxHotplugRatio"))).unwrap_or(4),
                max_sockets: count(live.and_then(|live| live.get("maxCpuSockets"))).unwrap_or(0),
                max_guest: quantity(live.and_then(|live| live.get("maxGuest"))),
            },
            feature_gates: developer.feature_gates.into_iter().collect(),
        }
    }

    pub(super) fn gate(&self, name: &str) -> bool {
        self.feature_gates.contains(name)
    }

    pub(super) fn machine_type(&self, architecture: &str) -> &str {
        self.machine_type.as_deref().unwrap_or(match architecture {
            "arm64" => "virt",
            "s390x" => "s390-ccw-virtio",
            _ => "q35",
        })
    }

    /// Patterns; `*` stands for anything.
    pub(super) fn machines(&self, architecture: &str) -> Vec<&str> {
        match (&self.machines, architecture) {
            (Some(machines), _) => machines.iter().map(String::as_str).collect(),
            (None, "arm64") => vec!["virt*"],
            (None, "s390x") => vec!["s390-ccw-virtio*"],
            (None, _) => vec!["q35*", "pc-q35*"],
        }
    }
}

fn architecture(kubevirt: &KubeVirt) -> String {
    kubevirt
        .status
        .as_ref()
        .and_then(|status| given(status.default_architecture.as_ref()))
        .unwrap_or_else(|| match std::env::consts::ARCH {
            "aarch64" => "arm64".to_owned(),
            "x86_64" => "amd64".to_owned(),
            other => other.to_owned(),
        })
}

fn given(text: Option<&String>) -> Option<String> {
    text.filter(|text| !text.is_empty()).cloned()
}

fn quantity(value: Option<&Value>) -> Option<Quantity> {
    serde_json::from_value(value?.clone()).ok()
}

fn count(value: Option<&Value>) -> Option<u32> {
    u32::try_from(value?.as_u64()?).ok()
}
