//! The part of a machine's interfaces that its pod tells.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Deserialize;

use super::super::launcher::{pod_interface_name, secondary};
use crate::types::{InterfaceStatus, VirtualMachineInstance};

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const MULTUS: &str = "multus-status";
const PRIMARY: &str = "eth0";

/// What Multus writes of one of the pod's interfaces.
#[derive(Deserialize)]
struct Attached {
    #[serde(default)]
    interface: String,
    #[serde(default)]
    default: bool,
}

pub(super) fn interfaces(vmi: &VirtualMachineInstance, pod: &Pod) -> Vec<InterfaceStatus> {
    let attached: Vec<Attached> = pod
        .annotations()
        .get(STATUS)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let known: BTreeMap<&str, &InterfaceStatus> = vmi
        .status
        .iter()
        .flat_map(|status| &status.interfaces)
        .filter_map(|interface| Some((interface.name.as_deref()?, interface)))
        .collect();
    let networks = &vmi.spec.networks;
    let mut interfaces = Vec::new();
    if let Some(network) = networks.iter().find(|n| secondary(n).is_none()) {
        let of_pod = attached
            .iter()
            .find(|a| a.default && !a.interface.is_empty());
        let mut interface = status_of(&known, &network.name);
        interface.pod_interface_name =
            Some(of_pod.map_or_else(|| PRIMARY.to_owned(), |a| a.interface.clone()));
        interfaces.push(interface);
    }
    for network in networks.iter().filter(|n| secondary(n).is_some()) {
        let name = pod_interface_name(&network.name);
        let exists = attached.iter().any(|a| a.interface == name);
        if !exists && !known.contains_key(network.name.as_str()) {
            continue;
        }
        let mut interface = status_of(&known, &network.name);
        interface.pod_interface_name = Some(name);
        interface.info_source = sources(interface.info_source.as_deref(), exists);
        interfaces.push(interface);
    }
    // what only the guest knows stays behind them
    let of_guest = vmi.status.iter().flat_map(|status| &status.interfaces);
    interfaces.extend(
        of_guest
            .filter(|i| !networks.iter().any(|n| Some(&n.name) == i.name.as_ref()))
            .cloned(),
    );
    interfaces
}

fn status_of(known: &BTreeMap<&str, &InterfaceStatus>, name: &str) -> InterfaceStatus {
    known.get(name).map_or_else(
        || InterfaceStatus {
            name: Some(name.to_owned()),
            ..InterfaceStatus::default()
        },
        |interface| (*interface).clone(),
    )
}

/// The sources with or without Multus, which comes last when it is new.
fn sources(before: Option<&str>, multus: bool) -> Option<String> {
    let mut sources: Vec<&str> = before
        .into_iter()
        .flat_map(|text| text.split(", "))
        .filter(|source| !source.is_empty())
        .collect();
    match (sources.contains(&MULTUS), multus) {
        (false, true) => sources.push(MULTUS),
        (true, false) => sources.retain(|source| *source != MULTUS),
        _ => {}
    }
    Some(sources.join(", ")).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{interfaces, sources};

    #[test]
    fn multus_adds_and_removes_its_word() {
        assert_eq!(sources(None, true).as_deref(), Some("multus-status"));
        assert_eq!(
            sources(Some("domain, guest-agent"), true).as_deref(),
            Some("domain, guest-agent, multus-status")
        );
        assert_eq!(
            sources(Some("domain, multus-status"), false).as_deref(),
            Some("domain")
        );
        assert_eq!(sources(Some("multus-status"), false), None);
    }

    /// As recorded when a machine with a secondary network became Scheduled.
    #[test]
    fn interfaces_of_a_new_pod() {
        let mut vmi = json!({
            "metadata": {"name": "vm-client"},
            "spec": {"domain": {}, "networks": [
                {"name": "default", "pod": {}},
                {"name": "shared-network", "multus": {"networkName": "shared-net"}},
            ]},
        });
        let status = r#"[{"name": "ovn-kubernetes", "interface": "eth0", "default": true},
            {"name": "tenantblue/shared-net", "interface": "pod280fca44283"}]"#;
        let pod = serde_json::from_value(
            json!({"metadata": {"annotations": {"k8s.v1.cni.cncf.io/network-status": status}}}),
        )
        .unwrap();
        let found = interfaces(&serde_json::from_value(vmi.clone()).unwrap(), &pod);
        assert_eq!(
            serde_json::to_value(found).unwrap(),
            json!([
                {"name": "default", "podInterfaceName": "eth0"},
                {"name": "shared-network", "podInterfaceName": "pod280fca44283", "infoSource": "multus-status"},
            ])
        );
        vmi["status"] = json!({"interfaces": [
            {"infoSource": "domain, guest-agent", "ipAddress": "10.0.2.2", "name": "default"},
            {"infoSource": "guest-agent", "interfaceName": "docker0"},
        ]});
        let found = interfaces(&serde_json::from_value(vmi).unwrap(), &pod);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].ip_address.as_deref(), Some("10.0.2.2"));
        assert_eq!(found[2].interface_name.as_deref(), Some("docker0"));
    }
}
