//! An IPAddress for every address of a service.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::delete;
use crate::object;
use crate::registry::builtin::{IP_ADDRESSES, SERVICES};
use crate::request::DeleteOptions;
use crate::server::bootstrap;
use crate::server::core::Core;
use crate::storage::{Change, ChangeKind, Key};

pub fn changed(core: &Core, change: &Change) {
    if &*change.resource != SERVICES {
        return;
    }
    let service = &change.entry.object;
    let now = match change.kind {
        ChangeKind::Deleted => Vec::new(),
        _ => addresses(service),
    };
    let before = change
        .previous
        .as_ref()
        .map(|entry| addresses(&entry.object))
        .unwrap_or_default();
    for address in before.iter().filter(|address| !now.contains(address)) {
        release(core, *address);
    }
    for address in now {
        if core.store.get(IP_ADDRESSES, &key(address)).is_none()
            && let Err(error) = bootstrap::create(
                core,
                "networking.k8s.io",
                "ipaddresses",
                None,
                object(address, service),
            )
        {
            tracing::warn!(%error, "IPAddress cannot be created");
        }
    }
}

fn key(address: IpAddr) -> Key {
    Key::new("", &address.to_string())
}

fn release(core: &Core, address: IpAddr) {
    let registry = core.registry();
    if let Some(served) = registry.by_storage(IP_ADDRESSES)
        && let Some(entry) = core.store.get(IP_ADDRESSES, &key(address))
    {
        delete(core, &served, &entry, DeleteOptions::default());
    }
}

/// The cluster addresses; a headless service has none.
fn addresses(service: &Value) -> Vec<IpAddr> {
    object::list(service, &["spec", "clusterIPs"])
        .iter()
        .filter_map(|address| address.as_str()?.parse().ok())
        .collect()
}

fn object(address: IpAddr, service: &Value) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address.to_string(), "labels": {
            "ipaddress.kubernetes.io/ip-family": family,
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }},
        "spec": {"parentRef": {
            "resource": "services", "namespace": object::namespace(service), "name": object::name(service)}},
    })
}
