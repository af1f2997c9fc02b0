//! What a machine's object asks for.

use std::collections::BTreeMap;

use trunkline_fabric::MacAddr;
use trunkline_kubevirt::types::{
    DhcpOptions, Interface as Specified, InterfaceBindingPlugin, InterfaceState, Network,
    PodNetwork, VirtualMachineInstance,
};

use super::{Binding, NetworkError};

/// An interface of the machine, without a word about the pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) name: String,
    /// Among all interfaces of the specification.
    pub(super) position: usize,
    pub(super) binding: Binding,
    pub(super) network: Attachment,
    pub(super) mac: Option<MacAddr>,
    /// What the status says: a machine that moves keeps it.
    pub(super) known_mac: Option<MacAddr>,
    pub(super) ports: Vec<PortRule>,
    pub(super) dhcp: DhcpOptions,
}

/// Which of the pod's networks.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attachment {
    /// The pod's first one, whatever CNI plugin makes it. `named` if the status knows a name for the pod's interface.
    Primary {
        network: PodNetwork,
        named: Option<String>,
    },
    /// The n-th of the others, counted from 1.
    Secondary(usize),
}

/// Traffic that is let in; without any, all is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortRule {
    /// As nft writes it.
    pub(super) protocol: String,
    pub(super) port: i32,
}

pub(super) fn interfaces(
    vmi: &VirtualMachineInstance,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
) -> Result<Vec<Wanted>, NetworkError> {
    let specified = &vmi.spec.domain.devices.interfaces;
    for network in &vmi.spec.networks {
        if !specified.iter().any(|i| i.name == network.name) {
            return Err(NetworkError::NoInterface(network.name.clone()));
        }
    }
    specified
        .iter()
        .enumerate()
        .filter(|(_, interface)| interface.state != Some(InterfaceState::Absent))
        .map(|(position, interface)| one(vmi, plugins, position, interface))
        .collect()
}

fn one(
    vmi: &VirtualMachineInstance,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
    position: usize,
    interface: &Specified,
) -> Result<Wanted, NetworkError> {
    let status = vmi.status.iter().flat_map(|status| &status.interfaces);
    let status = status
        .into_iter()
        .find(|status| status.name.as_ref() == Some(&interface.name));
    let mac = |text: &Option<String>| match text.as_deref() {
        None | Some("") => Ok(None),
        // Other ways to write it are as good.
        Some(text) => {
            text.replace('-', ":")
                .parse()
                .map(Some)
                .map_err(|source| NetworkError::Mac {
                    interface: interface.name.clone(),
                    source,
                })
        }
    };
    let binding = binding(interface, plugins)?;
    let named = status.and_then(|status| status.pod_interface_name.clone());
    let network = attachment(&vmi.spec.networks, &interface.name, named)?;
    let pod_network = matches!(network, Attachment::Primary { .. });
    if binding == Binding::Masquerade && !pod_network {
        return Err(NetworkError::MasqueradeElsewhere(interface.name.clone()));
    }
    Ok(Wanted {
        name: interface.name.clone(),
        position,
        binding,
        network,
        mac: mac(&interface.mac_address)?,
        known_mac: status.map_or(Ok(None), |status| mac(&status.mac))?,
        ports: interface.ports.iter().map(port_rule).collect(),
        dhcp: interface.dhcp_options.clone().unwrap_or_default(),
    })
}

fn binding(
    interface: &Specified,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
) -> Result<Binding, NetworkError> {
    let refused = |binding: &str| NetworkError::Binding {
        interface: interface.name.clone(),
        binding: binding.to_owned(),
    };
    if interface.bridge.is_some() {
        return Ok(Binding::Bridge);
    }
    if interface.masquerade.is_some() {
        return Ok(Binding::Masquerade);
    }
    let Some(plugin) = &interface.binding else {
        return Err(refused(if interface.sriov.is_some() {
            "sriov"
        } else if interface.passt_binding.is_some() {
            "passtBinding"
        } else {
            "none"
        }));
    };
    let attachment = plugins
        .get(&plugin.name)
        .and_then(|registered| registered.domain_attachment_type.as_deref());
    if attachment == Some("managedTap") {
        Ok(Binding::Plugin(plugin.name.clone()))
    } else {
        Err(refused(&plugin.name))
    }
}

fn attachment(
    networks: &[Network],
    name: &str,
    named: Option<String>,
) -> Result<Attachment, NetworkError> {
    let mut further = 0;
    for network in networks {
        let secondary = network.multus.as_ref().is_some_and(|m| !m.default);
        further += usize::from(secondary);
        if network.name != name {
            continue;
        }
        return Ok(if secondary {
            Attachment::Secondary(further)
        } else {
            Attachment::Primary {
                network: network.pod.clone().unwrap_or_default(),
                named: named.filter(|name| !name.is_empty()),
            }
        });
    }
    Err(NetworkError::NoNetwork(name.to_owned()))
}

fn port_rule(port: &trunkline_kubevirt::types::Port) -> PortRule {
    let protocol = port.protocol.as_deref().unwrap_or_default().to_lowercase();
    PortRule {
        protocol: if protocol.is_empty() {
            "tcp".to_owned()
        } else {
            protocol
        },
        port: port.port,
    }
}
