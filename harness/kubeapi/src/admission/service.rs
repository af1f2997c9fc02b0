//! Cluster addresses and node ports of services.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use rand::Rng;
use serde_json::{Value, json};

use crate::object;
use crate::registry::Served;
use crate::registry::builtin::SERVICES;
use crate::server::core::Core;
use crate::status::Status;
use crate::validation::field;

const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

/// Whether writes of this resource allocate; the caller then holds the allocation lock.
pub fn needs_address(served: &Served) -> bool {
    &*served.resource.storage == SERVICES
}

/// Gives a service the addresses and node ports it has none of yet, and checks the ones it asks for.
pub fn allocate(
    core: &Core,
    served: &Served,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if !needs_address(served) {
        return Ok(());
    }
    let kind = object::text(service, &["spec", "type"]).to_owned();
    if kind == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            object::remove(service, &["spec", key]);
        }
        return Ok(());
    }
    let others = Others::of(core, service);
    cluster_address(core, service, old, &others)?;
    let spec = object::child(service, "spec");
    // A headless service without a selector can have endpoints of any family.
    let any = spec["clusterIP"] == "None"
        && object::map(spec, &["selector"]).is_none_or(serde_json::Map::is_empty);
    let (families, policy) = if any {
        (json!(["IPv4", "IPv6"]), "RequireDualStack")
    } else {
        (json!(["IPv4"]), "SingleStack")
    };
    object::default(spec, "ipFamilies", families);
    object::default(spec, "ipFamilyPolicy", policy);
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        node_ports(service, &others)?;
    }
    Ok(())
}

/// What other services hold.
struct Others {
    addresses: HashSet<String>,
    ports: HashSet<(i64, String)>,
}

impl Others {
    fn of(core: &Core, service: &Value) -> Self {
        let (mut addresses, mut ports) = (HashSet::new(), HashSet::new());
        for entry in core.store.list(SERVICES, None).entries {
            if object::uid(&entry.object) == object::uid(service) {
                continue;
            }
            addresses.insert(object::text(&entry.object, &["spec", "clusterIP"]).to_owned());
            for port in object::list(&entry.object, &["spec", "ports"]) {
                if let Some(number) = object::integer(port, &["nodePort"]) {
                    ports.insert((number, object::text(port, &["protocol"]).to_owned()));
                }
            }
        }
        Self { addresses, ports }
    }
}

fn cluster_address(
    core: &Core,
    service: &mut Value,
    old: Option<&Value>,
    others: &Others,
) -> Result<(), Status> {
    let asked = object::text(service, &["spec", "clusterIP"]).to_owned();
    let first = object::list(service, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let asked = if asked.is_empty() { first } else { asked };
    let kept = old.is_some_and(|old| object::text(old, &["spec", "clusterIP"]) == asked);
    let address = if asked == "None" || (kept && !asked.is_empty()) {
        asked
    } else if asked.is_empty() {
        free_address(core.settings.service_network, &others.addresses)
            .map_err(|why| Status::internal(&format!("failed to allocate a serviceIP: {why}")))?
    } else {
        check_address(core.settings.service_network, &asked, others)
            .map_err(|why| refuse(service, "spec.clusterIPs", json!([asked]), &why))?;
        asked
    };
    object::set(service, &["spec", "clusterIP"], address.as_str());
    object::set(service, &["spec", "clusterIPs"], json!([address]));
    Ok(())
}

fn refuse(service: &Value, path: &str, value: Value, why: &str) -> Status {
    let error = field::invalid(path, value, why);
    Status::invalid("", "Service", object::name(service), &[error])
}

fn size((_, prefix): (Ipv4Addr, u8)) -> u32 {
    2u32.checked_pow(32 - u32::from(prefix)).unwrap_or(u32::MAX)
}

/// A random free address, as upstream gives; the first (the `kubernetes` service) and the last are not given.
fn free_address(network: (Ipv4Addr, u8), taken: &HashSet<String>) -> Result<String, String> {
    let base = u32::from(network.0);
    let span = size(network).saturating_sub(3);
    if span == 0 {
        return Err("range is full".to_owned());
    }
    let start = rand::rng().random_range(0..span);
    (0..span)
        .map(|step| Ipv4Addr::from(base + 2 + (start + step) % span).to_string())
        .find(|address| !taken.contains(address))
        .ok_or_else(|| "range is full".to_owned())
}

fn check_address(network: (Ipv4Addr, u8), asked: &str, others: &Others) -> Result<(), String> {
    let failed = |why: &str| Err(format!("failed to allocate IP {asked}: {why}"));
    let Ok(address) = asked.parse::<Ipv4Addr>() else {
        return Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned());
    };
    let offset = u32::from(address).wrapping_sub(u32::from(network.0));
    if offset == 0 || offset >= size(network) - 1 {
        return failed("the provided network does not match the current range");
    }
    if others.addresses.contains(asked) {
        return failed("provided IP is already allocated");
    }
    Ok(())
}

fn node_ports(service: &mut Value, others: &Others) -> Result<(), Status> {
    if object::at(service, &["spec", "allocateLoadBalancerNodePorts"]) == &Value::Bool(false) {
        return Ok(());
    }
    let mut ports: Vec<Value> = object::list(service, &["spec", "ports"]).to_vec();
    let mut taken = others.ports.clone();
    for (index, port) in ports.iter_mut().enumerate() {
        let protocol = object::text(port, &["protocol"]).to_owned();
        let asked = object::integer(port, &["nodePort"]).filter(|number| *number != 0);
        let Some(asked) = asked else {
            let start = rand::rng().random_range(NODE_PORTS);
            let number = (start..=*NODE_PORTS.end())
                .chain(NODE_PORTS)
                .find(|number| taken.insert((*number, protocol.clone())))
                .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
            port["nodePort"] = number.into();
            continue;
        };
        let path = format!("spec.ports[{index}].nodePort");
        let why = if !NODE_PORTS.contains(&asked) {
            "provided port is not in the valid range. The range of valid ports is 30000-32767"
        } else if !taken.insert((asked, protocol)) {
            "provided port is already allocated"
        } else {
            continue;
        };
        return Err(refuse(service, &path, asked.into(), why));
    }
    object::set(service, &["spec", "ports"], ports);
    Ok(())
}
