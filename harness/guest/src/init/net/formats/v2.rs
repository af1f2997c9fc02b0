//! Version 2, which is netplan's.

use std::net::IpAddr;

use serde_json::Value;

use super::{addresses, number};
use crate::cloud::value::{boolean, flag, list, text_of, texts};
use crate::net::config::{Dhcp, Interface, Match, Network, default_of, mac, network_of, prefixed};
use crate::net::netlink::Route;

pub fn parse(config: &Value, warnings: &mut Vec<String>) -> Network {
    let mut network = Network::default();
    for kind in ["bonds", "bridges", "vlans", "wifis", "tunnels"] {
        if config.get(kind).is_some() {
            warnings.push(format!(
                "{kind} are not made in this guest; they are ignored"
            ));
        }
    }
    let ethernets = config.get("ethernets").and_then(Value::as_object);
    for (id, settings) in ethernets.into_iter().flatten() {
        network.interfaces.push(interface(id, settings, warnings));
    }
    network
}

fn interface(id: &str, settings: &Value, warnings: &mut Vec<String>) -> Interface {
    let matching = matching(id, settings, warnings);
    let mut interface = Interface {
        matching,
        set_name: text_of(settings, "set-name"),
        mac: hardware(settings, "macaddress", id, warnings),
        mtu: number(settings.get("mtu")),
        dhcp4: flag(settings, "dhcp4", false).then(|| dhcp(settings.get("dhcp4-overrides"))),
        accept_ra: settings.get("accept-ra").and_then(boolean),
        ..Interface::default()
    };
    if flag(settings, "dhcp6", false) {
        interface.accept_ra = Some(true);
    }
    for entry in list(settings.get("addresses")) {
        // An address may carry options of its own.
        let written = match entry {
            Value::Object(map) => map.keys().next().cloned(),
            other => other.as_str().map(str::to_owned),
        };
        match written.as_deref().and_then(prefixed) {
            Some(address) => interface.addresses.push(address),
            None => warnings.push(format!("{id}: {entry} is not an address with a length")),
        }
    }
    for key in ["gateway4", "gateway6"] {
        if let Some(gateway) = text_of(settings, key) {
            match gateway.parse() {
                Ok(via) => interface.gateway(via),
                Err(_) => warnings.push(format!("{id}: {key}: {gateway} is not an address")),
            }
        }
    }
    for entry in list(settings.get("routes")) {
        match route(entry) {
            Some(route) => interface.routes.push(route),
            None => warnings.push(format!("{id}: {entry} is not a route")),
        }
    }
    let servers = settings.get("nameservers");
    interface.dns = addresses(
        servers.and_then(|servers| servers.get("addresses")),
        id,
        warnings,
    );
    interface.search = texts(servers.and_then(|servers| servers.get("search")));
    interface
}

/// Without `match` the key is the name.
fn matching(id: &str, settings: &Value, warnings: &mut Vec<String>) -> Match {
    let Some(wanted) = settings.get("match").filter(|wanted| !wanted.is_null()) else {
        return Match {
            name: Some(id.to_owned()),
            mac: None,
        };
    };
    let matching = Match {
        name: text_of(wanted, "name"),
        mac: hardware(wanted, "macaddress", id, warnings),
    };
    if matching == Match::default() {
        warnings.push(format!(
            "{id}: match names neither a macaddress nor a name; it matches nothing"
        ));
    }
    matching
}

fn hardware(settings: &Value, key: &str, id: &str, warnings: &mut Vec<String>) -> Option<[u8; 6]> {
    let written = text_of(settings, key)?;
    let parsed = mac(&written);
    if parsed.is_none() {
        warnings.push(format!("{id}: {key}: {written} is not a hardware address"));
    }
    parsed
}

fn dhcp(overrides: Option<&Value>) -> Dhcp {
    let Some(overrides) = overrides else {
        return Dhcp::default();
    };
    Dhcp {
        routes: flag(overrides, "use-routes", true),
        dns: flag(overrides, "use-dns", true),
        mtu: flag(overrides, "use-mtu", true),
        hostname: flag(overrides, "use-hostname", true),
        metric: number(overrides.get("route-metric")),
    }
}

fn route(entry: &Value) -> Option<Route> {
    let via: Option<IpAddr> = match text_of(entry, "via") {
        Some(via) => Some(via.parse().ok()?),
        None => None,
    };
    let destination = match text_of(entry, "to")?.as_str() {
        "default" => default_of(via?),
        to => network_of(prefixed(to)?),
    };
    Some(Route {
        destination,
        via,
        metric: number(entry.get("metric")),
        on_link: flag(entry, "on-link", false),
    })
}
