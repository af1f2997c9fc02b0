//! Which endpoints a service's port leads to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::world::{Endpoint, EndpointSlice, Service, ServicePort};

/// The endpoints of a port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Targets {
    pub(super) port: u16,
    pub(super) all: Vec<IpAddr>,
    /// Those on the zone's own node.
    pub(super) local: Vec<IpAddr>,
}

impl Targets {
    /// Slices and services are about the same port when name and protocol agree. Should endpoints
    /// serve it on several numbers, only the smallest counts, as upstream has it.
    pub(super) fn of(
        service: &Service,
        port: &ServicePort,
        slices: &[&EndpointSlice],
        node: &str,
    ) -> Targets {
        let mut by_number: BTreeMap<u16, Vec<&Endpoint>> = BTreeMap::new();
        for slice in slices {
            let same = slice
                .ports
                .iter()
                .filter(|other| other.name == port.name && other.protocol == port.protocol);
            for other in same {
                let endpoints = by_number.entry(other.port).or_default();
                endpoints.extend(&slice.endpoints);
            }
        }
        let Some((port, endpoints)) = by_number.into_iter().next() else {
            return Targets::default();
        };
        let local = endpoints
            .iter()
            .copied()
            .filter(|endpoint| endpoint.node.as_deref() == Some(node));
        let local = eligible(service, local);
        let all = eligible(service, endpoints.iter().copied());
        if all.is_empty() {
            return Targets::default();
        }
        Targets { port, all, local }
    }
}

/// The ready ones; when there are none, those that are ending but still serve. In the order of
/// their text, which is upstream's.
fn eligible<'a>(service: &Service, endpoints: impl Iterator<Item = &'a Endpoint>) -> Vec<IpAddr> {
    let (mut ready, mut ending) = (BTreeMap::new(), BTreeMap::new());
    for endpoint in endpoints {
        let chosen = if service.publish_not_ready || endpoint.ready {
            &mut ready
        } else if endpoint.serving && endpoint.terminating {
            &mut ending
        } else {
            continue;
        };
        chosen.extend(endpoint.addresses.iter().map(|ip| (ip.to_string(), *ip)));
    }
    let chosen = if ready.is_empty() { ending } else { ready };
    chosen.into_values().collect()
}
