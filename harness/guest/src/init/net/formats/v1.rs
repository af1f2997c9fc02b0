//! Version 1.

use std::net::IpAddr;

use serde_json::Value;

use super::{addresses, number};
use crate::cloud::value::{list, text_of, texts};
use crate::net::config::{
    Dhcp, Interface, Match, Network, default_of, mac, netmask, network_of, prefixed,
};
use crate::net::netlink::Route;

pub fn parse(config: &Value, warnings: &mut Vec<String>) -> Network {
    let mut network = Network::default();
    for entry in list(config.get("config")) {
        match text_of(entry, "type").unwrap_or_default().as_str() {
            "physical" => network.interfaces.push(physical(entry, warnings)),
            "nameserver" => {
                let servers = addresses(entry.get("address"), "nameserver", warnings);
                let search = texts(entry.get("search"));
                let named = text_of(entry, "interface");
                let interface = network
                    .interfaces
                    .iter_mut()
                    .find(|interface| interface.matching.name == named && named.is_some());
                if let Some(interface) = interface {
                    interface.dns.extend(servers);
                    interface.search.extend(search);
                } else {
                    network.dns.extend(servers);
                    network.search.extend(search);
                }
            }
            "route" => match (route(entry), network.interfaces.last_mut()) {
                (Some(route), Some(interface)) => interface.routes.push(route),
                _ => warnings.push(format!("{entry} is not a route of an interface above it")),
            },
            "loopback" => {}
            other => warnings.push(format!(
                "interfaces of type {other:?} are not made in this guest; they are ignored"
            )),
        }
    }
    network
}

fn physical(entry: &Value, warnings: &mut Vec<String>) -> Interface {
    let name = text_of(entry, "name");
    let written = text_of(entry, "mac_address");
    let hardware = written.as_deref().and_then(mac);
    if let (Some(written), None) = (&written, hardware) {
        warnings.push(format!("mac_address: {written} is not a hardware address"));
    }
    let mut interface = Interface {
        matching: match hardware {
            Some(mac) => Match {
                name: None,
                mac: Some(mac),
            },
            None => Match {
                name: name.clone(),
                mac: None,
            },
        },
        // The one with this address is to have this name.
        set_name: hardware.and(name),
        mtu: number(entry.get("mtu")),
        ..Interface::default()
    };
    for subnet in list(entry.get("subnets")) {
        apply(&mut interface, subnet, warnings);
    }
    interface
}

fn apply(interface: &mut Interface, subnet: &Value, warnings: &mut Vec<String>) {
    match text_of(subnet, "type").unwrap_or_default().as_str() {
        "dhcp" | "dhcp4" => {
            interface.dhcp4 = Some(Dhcp {
                metric: number(subnet.get("metric")),
                ..Dhcp::default()
            });
        }
        "dhcp6" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless" | "ipv6_slaac" => {
            interface.accept_ra = Some(true);
        }
        "static" | "static4" | "static6" => match address(subnet) {
            Some(address) => interface.addresses.push(address),
            None => warnings.push(format!("{subnet} has no address with a length or netmask")),
        },
        "manual" => {}
        other => warnings.push(format!(
            "subnets of type {other:?} are not known; they are ignored"
        )),
    }
    if let Some(gateway) = text_of(subnet, "gateway") {
        match gateway.parse::<IpAddr>() {
            Ok(via) => interface.gateway(via),
            Err(_) => warnings.push(format!("gateway: {gateway} is not an address")),
        }
    }
    interface.dns.extend(addresses(
        subnet.get("dns_nameservers"),
        "dns_nameservers",
        warnings,
    ));
    interface.search.extend(texts(subnet.get("dns_search")));
    for entry in list(subnet.get("routes")) {
        match route(entry) {
            Some(route) => interface.routes.push(route),
            None => warnings.push(format!("{entry} is not a route")),
        }
    }
}

fn address(subnet: &Value) -> Option<(IpAddr, u8)> {
    let written = text_of(subnet, "address")?;
    let address = prefixed(&written)?;
    match text_of(subnet, "netmask") {
        Some(mask) if !written.contains('/') => Some((address.0, netmask(&mask)?)),
        _ => Some(address),
    }
}

fn route(entry: &Value) -> Option<Route> {
    let written = text_of(entry, "destination").or_else(|| text_of(entry, "network"))?;
    let via: Option<IpAddr> = match text_of(entry, "gateway") {
        Some(via) => Some(via.parse().ok()?),
        None => None,
    };
    let destination = if written == "default" {
        default_of(via?)
    } else {
        let (address, length) = prefixed(&written)?;
        match text_of(entry, "netmask").or_else(|| text_of(entry, "prefix")) {
            Some(mask) if !written.contains('/') => (address, netmask(&mask)?),
            _ => (address, length),
        }
    };
    Some(Route {
        destination: network_of(destination),
        via,
        metric: number(entry.get("metric")),
        on_link: false,
    })
}
