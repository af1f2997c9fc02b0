//! `status.interfaces`, from what the machine has, what its guest says, and what the pod was given.

use std::net::IpAddr;

use trunkline_kubevirt::types::{InterfaceStatus, VirtualMachineInstance};
use trunkline_qemu::Interface;

use crate::domain::Nic;

const DOMAIN: &str = "domain";
const AGENT: &str = "guest-agent";
const MULTUS: &str = "multus-status";

/// A guest may have any number of its own.
const GUEST_ONLY: usize = 10;

/// Whose addresses count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pod {
    /// The pod's, where it has some: a guest without any is still asking for its own.
    Begins,
    /// The pod's, where it has some and the guest too: one that has none is not reached by the pod's either.
    Lives,
    /// The guest's alone: the pod's are no longer its.
    Ended,
}

/// The interfaces as they are now. `before` tells what virt-controller wrote: the pod's names for them and that they
/// came from Multus.
pub fn merge(
    vmi: &VirtualMachineInstance,
    before: &[InterfaceStatus],
    nics: &[Nic],
    guest: Option<&[Interface]>,
    pod: Pod,
) -> Vec<InterfaceStatus> {
    let former = |name: &str| {
        before
            .iter()
            .find(|known| known.name.as_deref() == Some(name))
    };
    let mut interfaces: Vec<_> = nics.iter().map(|nic| of_machine(nic, pod)).collect();
    for guest in guest
        .unwrap_or_default()
        .iter()
        .filter(|guest| guest.name != "lo")
    {
        add_guest(&mut interfaces, nics, guest, pod);
    }
    for interface in &mut interfaces {
        let Some(former) = interface.name.as_deref().and_then(former) else {
            continue;
        };
        interface
            .pod_interface_name
            .clone_from(&former.pod_interface_name);
        if sources(former).any(|source| source == MULTUS) {
            add_source(interface, MULTUS);
        }
    }
    put_primary_first(vmi, &mut interfaces);
    interfaces
}

fn of_machine(nic: &Nic, pod: Pod) -> InterfaceStatus {
    let mut interface = InterfaceStatus {
        name: Some(nic.name.clone()),
        mac: Some(nic.mac.clone()),
        info_source: Some(DOMAIN.to_owned()),
        queue_count: 1,
        link_state: Some(if nic.link { "up" } else { "down" }.to_owned()),
        ..InterfaceStatus::default()
    };
    if pod != Pod::Ended {
        let addresses = nic.addresses.iter().map(ToString::to_string).collect();
        set_addresses(&mut interface, in_order(addresses));
    }
    interface
}

fn add_guest(interfaces: &mut Vec<InterfaceStatus>, nics: &[Nic], guest: &Interface, pod: Pod) {
    let mac = guest.hardware_address.clone().unwrap_or_default();
    let mut addresses: Vec<_> = guest
        .ip_addresses
        .iter()
        .map(|address| address.ip_address.clone())
        .collect();
    let known = interfaces
        .iter_mut()
        .find(|known| known.name.is_some() && known.mac.as_deref() == Some(mac.as_str()));
    let Some(known) = known else {
        let alone = interfaces
            .iter()
            .filter(|known| known.name.is_none())
            .count();
        if alone < GUEST_ONLY {
            let mut interface = InterfaceStatus {
                mac: (!mac.is_empty()).then_some(mac),
                interface_name: Some(guest.name.clone()),
                info_source: Some(AGENT.to_owned()),
                ..InterfaceStatus::default()
            };
            set_addresses(&mut interface, addresses);
            interfaces.push(interface);
        }
        return;
    };
    let masquerade = nics.iter().any(|nic| nic.mac == mac && nic.masquerade);
    if masquerade {
        // They mean nothing on the other side of the translation.
        addresses.retain(|address| {
            address
                .parse()
                .is_ok_and(|address| !is_link_local(&address))
        });
    }
    known.interface_name = Some(guest.name.clone());
    add_source(known, AGENT);
    let merged = prevail(&known.ip_addresses, &addresses, pod);
    set_addresses(known, merged);
}

/// The pod's addresses stay, unless the guest has none of the family; the guest's fill in where the pod has none.
fn prevail(pods: &[String], guest: &[String], pod: Pod) -> Vec<String> {
    let of_family = |addresses: &[String], v4: bool| -> Vec<String> {
        let same = |address: &&String| {
            address
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_ipv4() == v4)
        };
        addresses.iter().filter(same).cloned().collect()
    };
    [true, false]
        .into_iter()
        .flat_map(|v4| {
            let (pods, guest) = (of_family(pods, v4), of_family(guest, v4));
            let asking = guest.is_empty() && pod == Pod::Begins;
            if asking || !(pods.is_empty() || guest.is_empty()) {
                pods
            } else {
                guest
            }
        })
        .collect()
}

/// IPv4 first.
fn in_order(mut addresses: Vec<String>) -> Vec<String> {
    addresses.sort_by_key(|address| address.contains(':'));
    addresses
}

fn set_addresses(interface: &mut InterfaceStatus, addresses: Vec<String>) {
    interface.ip_address = addresses.first().cloned();
    interface.ip_addresses = addresses;
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn sources(interface: &InterfaceStatus) -> impl Iterator<Item = &str> {
    interface
        .info_source
        .as_deref()
        .unwrap_or_default()
        .split(", ")
}

fn add_source(interface: &mut InterfaceStatus, source: &str) {
    if sources(interface).any(|known| known == source) {
        return;
    }
    let all: Vec<_> = sources(interface)
        .filter(|known| !known.is_empty())
        .chain([source])
        .collect();
    let all = all.join(", ");
    interface.info_source = Some(all);
}

/// Where `kubectl get` looks for the machine's address.
fn put_primary_first(vmi: &VirtualMachineInstance, interfaces: &mut [InterfaceStatus]) {
    let primary = vmi.spec.networks.iter().find(|network| {
        network.pod.is_some() || network.multus.as_ref().is_some_and(|multus| multus.default)
    });
    let at = primary.and_then(|primary| {
        interfaces
            .iter()
            .position(|interface| interface.name.as_deref() == Some(primary.name.as_str()))
    });
    if let Some(at) = at {
        interfaces[..=at].rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trunkline_kubevirt::types::{InterfaceStatus, VirtualMachineInstance};
    use trunkline_qemu::Interface;

    use super::{Pod, merge};
    use crate::domain::Nic;

    fn vmi() -> VirtualMachineInstance {
        serde_json::from_value(json!({"metadata": {}, "spec": {
            "domain": {"devices": {}},
            "networks": [{"name": "blue", "multus": {"networkName": "n"}}, {"name": "default", "pod": {}}],
        }}))
        .unwrap()
    }

    fn nics() -> Vec<Nic> {
        vec![
            Nic {
                name: "blue".to_owned(),
                mac: "02:00:00:00:00:02".to_owned(),
                addresses: Vec::new(),
                masquerade: false,
                link: true,
            },
            Nic {
                name: "default".to_owned(),
                mac: "02:00:00:00:00:01".to_owned(),
                addresses: vec!["fd00::5".parse().unwrap(), "10.244.0.5".parse().unwrap()],
                masquerade: true,
                link: false,
            },
        ]
    }

    fn guest(entries: serde_json::Value) -> Vec<Interface> {
        serde_json::from_value(entries).unwrap()
    }

    fn before() -> Vec<InterfaceStatus> {
        serde_json::from_value(json!([
            {"name": "default", "podInterfaceName": "eth0"},
            {"name": "blue", "podInterfaceName": "pod123", "infoSource": "multus-status"},
        ]))
        .unwrap()
    }

    #[test]
    fn without_an_agent_the_pod_tells() {
        let merged = merge(&vmi(), &before(), &nics(), None, Pod::Lives);
        let expected = json!([
            {"name": "default", "podInterfaceName": "eth0", "mac": "02:00:00:00:00:01", "infoSource": "domain",
             "ipAddress": "10.244.0.5", "ipAddresses": ["10.244.0.5", "fd00::5"], "queueCount": 1, "linkState": "down"},
            {"name": "blue", "podInterfaceName": "pod123", "mac": "02:00:00:00:00:02",
             "infoSource": "domain, multus-status", "queueCount": 1, "linkState": "up"},
        ]);
        assert_eq!(serde_json::to_value(&merged).unwrap(), expected);
    }

    #[test]
    fn with_an_agent_both_do() {
        let guest = guest(json!([
            {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
            {"name": "eth1", "hardware-address": "02:00:00:00:00:02",
             "ip-addresses": [{"ip-address": "fe80::2", "prefix": 64}, {"ip-address": "192.168.0.2", "prefix": 24}]},
            {"name": "eth0", "hardware-address": "02:00:00:00:00:01",
             "ip-addresses": [{"ip-address": "10.0.2.2", "prefix": 24}, {"ip-address": "fe80::1", "prefix": 64}]},
            {"name": "docker0", "hardware-address": "02:00:00:00:00:09", "ip-addresses": []},
        ]));
        let merged = merge(&vmi(), &before(), &nics(), Some(&guest), Pod::Lives);
        let told: Vec<_> = merged
            .iter()
            .map(|interface| {
                let name = interface.interface_name.as_deref().unwrap();
                (
                    name,
                    interface.info_source.as_deref().unwrap(),
                    interface.ip_addresses.join(" "),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                // The guest has no IPv6 address that counts, so the machine is not reached by one.
                ("eth0", "domain, guest-agent", "10.244.0.5".to_owned()),
                (
                    "eth1",
                    "domain, guest-agent, multus-status",
                    "192.168.0.2 fe80::2".to_owned()
                ),
                ("docker0", "guest-agent", String::new()),
            ]
        );
        // Until it has had the time to ask for one.
        let begins = merge(&vmi(), &before(), &nics(), Some(&guest), Pod::Begins);
        assert_eq!(begins[0].ip_addresses, ["10.244.0.5", "fd00::5"]);
        // When the pod is over, what remains is what the guest had.
        let ended = merge(&vmi(), &before(), &nics(), Some(&guest), Pod::Ended);
        assert_eq!(ended[0].ip_address.as_deref(), Some("10.0.2.2"));
    }

    #[test]
    fn a_guests_own_interfaces_are_limited() {
        let many: Vec<_> = (0..20)
            .map(|n| json!({"name": format!("veth{n}"), "ip-addresses": []}))
            .collect();
        let merged = merge(
            &vmi(),
            &before(),
            &nics(),
            Some(&guest(json!(many))),
            Pod::Lives,
        );
        assert_eq!(merged.len(), 12);
    }
}
