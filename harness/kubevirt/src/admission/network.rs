//! Whether the networks and interfaces of a machine fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::causes::{Causes, Path};
use super::config::ClusterConfig;
use super::names;
use crate::types::{Interface, InterfaceState, Network, VirtualMachineInstanceSpec};

/// The address of the bridge in the pod of a machine with masquerade.
const RESERVED_MAC: &str = "02:00:00:00:00:00";
const MODELS: [&str; 7] = [
    "e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio",
];

pub(super) fn validate(
    causes: &mut Causes,
    field: &Path,
    spec: &VirtualMachineInstanceSpec,
    config: &ClusterConfig,
) {
    let interfaces = &spec.domain.devices.interfaces;
    let networks: BTreeMap<&str, &Network> = spec
        .networks
        .iter()
        .map(|network| (network.name.as_str(), network))
        .collect();
    pod_networks(causes, field, &spec.networks);
    sources(causes, field, &spec.networks);
    states(causes, field, spec);
    for (index, interface) in interfaces.iter().enumerate() {
        let network = networks.get(interface.name.as_str()).copied();
        binding(causes, &field.interface(index), interface, network, config);
    }
    unique_networks(causes, field, &spec.networks);
    for (index, network) in spec.networks.iter().enumerate() {
        if !interfaces
            .iter()
            .any(|interface| interface.name == network.name)
        {
            let name = field.child("networks").index(index).child("name");
            causes.required(&name, format!("{name} '{}' not found.", network.name));
        }
    }
    unique_interfaces(causes, field, interfaces);
    for (index, interface) in interfaces.iter().enumerate() {
        if !networks.contains_key(interface.name.as_str()) {
            let name = field.interface(index).child("name");
            causes.invalid(&name, format!("{name} '{}' not found.", interface.name));
        }
    }
    for (index, interface) in interfaces.iter().enumerate() {
        let network = networks.get(interface.name.as_str()).copied();
        parts(causes, field, index, interface, network);
    }
}

/// Bindings that once were: they are refused when something is created with them.
pub(super) fn discontinued(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    for (index, interface) in spec.domain.devices.interfaces.iter().enumerate() {
        let path = field.interface(index);
        for (name, there, message) in [
            (
                "slirp",
                interface.slirp,
                "Slirp interface support has been discontinued since v1.3",
            ),
            (
                "passt",
                interface.passt,
                "Passt network binding has been discontinued since v1.3",
            ),
            (
                "macvtap",
                interface.macvtap,
                "Macvtap network binding has been discontinued since v1.3",
            ),
        ] {
            if there.is_some() {
                causes.invalid(&path.child(name), message);
            }
        }
    }
}

fn pod_networks(causes: &mut Causes, field: &Path, networks: &[Network]) {
    let pods = networks
        .iter()
        .filter(|network| network.pod.is_some())
        .count();
    let defaults = networks
        .iter()
        .filter(|network| is_default(network))
        .count();
    if pods > 1 {
        let interfaces = field.child("interfaces");
        causes.duplicate(
            &interfaces,
            format!("more than one interface is connected to a pod network in {interfaces}"),
        );
    }
    if defaults > 1 {
        causes.invalid(
            &field.child("networks"),
            "Multus CNI should only have one default network",
        );
    }
    if pods > 0 && defaults > 0 {
        causes.invalid(
            &field.child("networks"),
            "Pod network cannot be defined when Multus default network is defined",
        );
    }
}

fn is_default(network: &Network) -> bool {
    network.multus.as_ref().is_some_and(|multus| multus.default)
}

fn sources(causes: &mut Causes, field: &Path, networks: &[Network]) {
    for (index, network) in networks.iter().enumerate() {
        let path = field.child("networks").index(index);
        match (&network.pod, &network.multus) {
            (None, None) => causes.required(&path, "should have a network type"),
            (Some(_), Some(_)) => causes.required(&path, "should have only one network type"),
            _ => {}
        }
    }
    let nameless = networks.iter().position(|network| {
        network
            .multus
            .as_ref()
            .is_some_and(|multus| multus.network_name.is_empty())
    });
    if let Some(index) = nameless {
        causes.required(
            &field.child("networks").index(index),
            "CNI delegating plugin must have a networkName",
        );
    }
}

fn states(causes: &mut Causes, field: &Path, spec: &VirtualMachineInstanceSpec) {
    let default = spec
        .networks
        .iter()
        .find(|network| network.pod.is_some() || is_default(network));
    for (index, interface) in spec.domain.devices.interfaces.iter().enumerate() {
        let Some(state) = interface.state else {
            continue;
        };
        let path = field.interface(index).child("state");
        let name = &interface.name;
        if state != InterfaceState::Absent {
            if interface.sriov.is_some() {
                let state = if state == InterfaceState::Up {
                    "up"
                } else {
                    "down"
                };
                causes.invalid(
                    &path,
                    format!(
                        "{name:?} interface's state {state:?} is not supported for SR-IOV NICs"
                    ),
                );
            }
            continue;
        }
        if interface.bridge.is_none() {
            causes.invalid(
                &path,
                format!(
                    "{name:?} interface's state \"absent\" is supported only for bridge binding"
                ),
            );
        }
        if default.is_some_and(|default| default.name == *name) {
            causes.invalid(
                &path,
                format!(
                    "{name:?} interface's state \"absent\" is not supported on default networks"
                ),
            );
        }
    }
}

fn binding(
    causes: &mut Causes,
    path: &Path,
    interface: &Interface,
    network: Option<&Network>,
    config: &ClusterConfig,
) {
    let on_pod = network.is_some_and(|network| network.pod.is_some());
    let built_in = interface.bridge.is_some()
        || interface.masquerade.is_some()
        || interface.sriov.is_some()
        || interface.passt_binding.is_some();
    if interface.binding.is_some() && built_in {
        causes.invalid(
            &path.child("binding"),
            format!(
                "logical {} interface cannot have both binding plugin and interface binding method",
                interface.name
            ),
        );
    }
    let name = path.child("name");
    if interface.masquerade.is_some() && !on_pod {
        causes.invalid(
            &name,
            "Masquerade interface only implemented with pod network",
        );
    }
    if interface.masquerade.is_some() && interface.mac_address.as_deref() == Some(RESERVED_MAC) {
        causes.invalid(
            &path.child("macAddress"),
            "The requested MAC address is reserved for the in-pod bridge. Please choose another one.",
        );
    }
    if interface.bridge.is_some() && on_pod && !config.bridge_on_pod_network {
        causes.invalid(
            &name,
            "Bridge on pod network configuration is not enabled under kubevirt-config",
        );
    }
    if interface.passt_binding.is_some() && !config.gate("PasstBinding") {
        causes.invalid(&name, "PasstBinding feature gate is not enabled");
    }
    if interface.passt_binding.is_some() && !on_pod {
        causes.invalid(
            &name,
            "PasstBinding interface only implemented with pod network",
        );
    }
}

fn unique_networks(causes: &mut Causes, field: &Path, networks: &[Network]) {
    let mut seen = BTreeSet::new();
    for (index, network) in networks.iter().enumerate() {
        if !seen.insert(network.name.as_str()) {
            causes.duplicate(
                &field.child("networks").index(index).child("name"),
                format!(
                    "Network with name {:?} already exists, every network must have a unique name",
                    network.name
                ),
            );
        }
    }
}

fn unique_interfaces(causes: &mut Causes, field: &Path, interfaces: &[Interface]) {
    let mut seen = BTreeSet::new();
    for (index, interface) in interfaces.iter().enumerate() {
        if !seen.insert(interface.name.as_str()) {
            causes.duplicate(
                &field.interface(index).child("name"),
                "Only one interface can be connected to one specific network",
            );
        }
    }
}

fn parts(
    causes: &mut Causes,
    field: &Path,
    index: usize,
    interface: &Interface,
    network: Option<&Network>,
) {
    let path = field.interface(index);
    let name = path.child("name");
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if interface.name.is_empty() || !interface.name.bytes().all(word) {
        causes.invalid(
            &name,
            "Network interface name can only contain alphabetical characters, numbers, dashes (-) or underscores (_)",
        );
    }
    let model = interface.model.as_deref().unwrap_or_default();
    if !model.is_empty() && !MODELS.contains(&model) {
        causes.unsupported(
            &path.child("model"),
            format!("interface {name} uses model {model} that is not supported."),
        );
    }
    if let Some(error) = names::mac_error(interface.mac_address.as_deref().unwrap_or_default()) {
        causes.invalid(
            &path.child("macAddress"),
            format!("interface {name} has {error}."),
        );
    }
    let address = interface.pci_address.as_deref().unwrap_or_default();
    if !address.is_empty() && !names::is_pci_address(address) {
        causes.invalid(
            &path.child("pciAddress"),
            format!("interface {name} has malformed PCI address ({address})."),
        );
    }
    if network.is_some_and(|network| network.pod.is_some()) {
        ports(causes, &path, interface);
    }
    dhcp(causes, field, &path, interface);
}

fn ports(causes: &mut Causes, path: &Path, interface: &Interface) {
    let mut seen = BTreeSet::new();
    for (index, port) in interface.ports.iter().enumerate() {
        let name = port.name.as_deref().unwrap_or_default();
        if name.is_empty() {
            continue;
        }
        let field = path.child("ports").index(index).child("name");
        if !seen.insert(name) {
            causes.duplicate(&field, format!("Duplicate name of the port: {name}"));
        }
        if !names::is_port_name(name) {
            causes.invalid(&field, format!("Invalid name of the port: {name}"));
        }
    }
    for (index, port) in interface.ports.iter().enumerate() {
        let field = path.child("ports").index(index);
        if port.port == 0 {
            causes.required(&field, "Port field is mandatory.");
        }
        if !(0..=65536).contains(&port.port) {
            causes.invalid(&field, "Port field must be in range 0 < x < 65536.");
        }
        if !matches!(
            port.protocol.as_deref().unwrap_or_default(),
            "" | "TCP" | "UDP"
        ) {
            causes.invalid(
                &field.child("protocol"),
                "Unknown protocol, only TCP or UDP allowed",
            );
        }
    }
}

fn dhcp(causes: &mut Causes, field: &Path, path: &Path, interface: &Interface) {
    let Some(options) = &interface.dhcp_options else {
        return;
    };
    let numbers: BTreeSet<i64> = options
        .private_options
        .iter()
        .map(|option| option.option)
        .collect();
    if numbers.len() < options.private_options.len() {
        causes.invalid(
            field,
            "Found Duplicates: you have provided duplicate DHCPPrivateOptions",
        );
    }
    for option in &options.private_options {
        if !(224..=254).contains(&option.option) {
            causes.invalid(
                field,
                "provided DHCPPrivateOptions are out of range, must be in range 224 to 254",
            );
        }
    }
    for (index, server) in options.ntp_servers.iter().enumerate() {
        if server.parse::<Ipv4Addr>().is_err() {
            causes.invalid(
                &path.child("dhcpOptions.ntpServers").index(index),
                "NTP servers must be a list of valid IPv4 addresses.",
            );
        }
    }
}
