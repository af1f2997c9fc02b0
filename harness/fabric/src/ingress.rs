//! What comes from the physical network for services: OpenFlow of breth0 that sends it to OVN, whose gateway router
//! knows the services, in place of the node.
//!
//! The rules are OVN-Kubernetes' for shared gateway mode (its `go-controller/pkg/node/gateway_shared_intf.go`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::flows::SharedGateway;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// As `ovs-ofctl` calls it.
    fn matching(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port under which a service is reached from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ingress {
    pub transport: Transport,
    /// Nothing for the node's own.
    pub address: Option<Ipv4Addr>,
    pub port: u16,
}

impl SharedGateway {
    /// A rule for each way.
    pub(crate) fn ingress(&self, ingress: &BTreeSet<Ingress>) -> Vec<String> {
        let Self {
            phys, patch, mac, ..
        } = self;
        let rules = ingress.iter().flat_map(|ingress| {
            let kind = ingress.transport.matching();
            let port = ingress.port;
            let address = |field: &str| match ingress.address {
                Some(address) => format!(",{field}={address}"),
                None => String::new(),
            };
            let (to, from) = (address("nw_dst"), address("nw_src"));
            [
                format!("in_port={phys},{kind}{to},tp_dst={port},actions=output:{patch}"),
                format!(
                    "in_port={patch},dl_src={mac},{kind}{from},tp_src={port},actions=output:{phys}"
                ),
            ]
        });
        rules
            .map(|rule| format!("table=0,priority=110,{rule}"))
            .collect()
    }
}
