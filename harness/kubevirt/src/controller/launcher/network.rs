//! What the pod's annotations say of its networks.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::types::{Network, VirtualMachineInstance};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// One element of the annotation that Multus reads.
#[derive(Serialize)]
struct Selection<'a> {
    name: &'a str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<&'a str>,
    interface: String,
}

/// The network that is attached beside the pod network, if this is one.
pub(in crate::controller) fn secondary(network: &Network) -> Option<&str> {
    let multus = network.multus.as_ref()?;
    (!multus.default).then_some(multus.network_name.as_str())
}

/// How the interface of a secondary network is called inside the pod.
pub(in crate::controller) fn pod_interface_name(network: &str) -> String {
    let hash = hex::encode(Sha256::digest(network.as_bytes()));
    format!("pod{}", &hash[..11])
}

/// The annotations that attach the pod to the machine's networks.
pub(super) fn annotations(
    vmi: &VirtualMachineInstance,
    namespace: &str,
) -> Vec<(&'static str, String)> {
    let spec = &vmi.spec;
    let interfaces = &spec.domain.devices.interfaces;
    let selections: Vec<_> = spec
        .networks
        .iter()
        .filter_map(|network| {
            let definition = secondary(network)?;
            let (namespace, name) = definition
                .split_once('/')
                .unwrap_or((namespace, definition));
            let interface = interfaces.iter().find(|i| i.name == network.name);
            Some(Selection {
                name,
                namespace,
                mac: interface.and_then(|i| i.mac_address.as_deref()),
                interface: pod_interface_name(&network.name),
            })
        })
        .collect();
    let mut annotations = Vec::new();
    // strings and structs of them can always be written
    if let (false, Ok(text)) = (selections.is_empty(), serde_json::to_string(&selections)) {
        annotations.push((NETWORKS, text));
    }
    let default = spec
        .networks
        .iter()
        .filter_map(|network| network.multus.as_ref())
        .find(|multus| multus.default);
    if let Some(multus) = default {
        annotations.push((DEFAULT_NETWORK, multus.network_name.clone()));
    }
    if interfaces.iter().any(|i| i.masquerade.is_some()) {
        for key in [
            "istio.io/reroute-virtual-interfaces",
            "traffic.sidecar.istio.io/kubevirtInterfaces",
        ] {
            annotations.push((key, "k6t-eth0".to_owned()));
        }
    }
    annotations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{annotations, pod_interface_name};

    #[test]
    fn names_are_hashed_as_recorded() {
        assert_eq!(pod_interface_name("shared-network"), "pod280fca44283");
        assert_eq!(pod_interface_name("blue"), "pod16477688c0e");
    }

    #[test]
    fn multus_is_told_as_recorded() {
        let vmi = serde_json::from_value(json!({
            "metadata": {"name": "vm", "namespace": "tenantblue"},
            "spec": {
                "domain": {"devices": {"interfaces": [
                    {"name": "default", "masquerade": {}},
                    {"name": "shared-network", "bridge": {}, "macAddress": "02:00:00:00:00:10"},
                    {"name": "other", "bridge": {}},
                ]}},
                "networks": [
                    {"name": "default", "pod": {}},
                    {"name": "shared-network", "multus": {"networkName": "shared-net"}},
                    {"name": "other", "multus": {"networkName": "elsewhere/net"}},
                ],
            },
        }))
        .unwrap();
        let annotations = annotations(&vmi, "tenantblue");
        assert_eq!(
            annotations[0].1,
            concat!(
                r#"[{"name":"shared-net","namespace":"tenantblue","mac":"02:00:00:00:00:10","interface":"pod280fca44283"},"#,
                r#"{"name":"net","namespace":"elsewhere","interface":"podd9298a10d1b"}]"#
            )
        );
        assert_eq!(annotations.len(), 3);
    }

    #[test]
    fn the_pod_network_alone_needs_no_multus() {
        let vmi = serde_json::from_value(json!({
            "metadata": {"name": "vm"},
            "spec": {
                "domain": {"devices": {"interfaces": [{"name": "default", "bridge": {}}]}},
                "networks": [{"name": "default", "pod": {}}],
            },
        }))
        .unwrap();
        assert_eq!(annotations(&vmi, "default"), []);
    }
}
