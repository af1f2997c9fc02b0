//! The packet to trace. Pure.

use std::{fmt, net::IpAddr};

use trunkline_engine::Protocol;

use super::{attachment::Attachment, trace::Trace};

/// A packet as `ovn-trace` takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Microflow {
    pub inport: String,
    pub eth_src: String,
    pub eth_dst: String,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub ttl: u8,
    pub protocol: Protocol,
    pub port: Option<u16>,
}

impl Microflow {
    /// The first packet of a probe.
    pub fn new(from: &Attachment, dst: IpAddr, protocol: Protocol, port: Option<u16>) -> Self {
        Self {
            inport: from.port.clone(),
            eth_src: from.mac.clone(),
            eth_dst: mac_of(from.next_hop),
            src: from.address,
            dst,
            ttl: 64,
            protocol,
            port,
        }
    }

    /// The same packet where it enters another zone, after what happened to it in the first one. `to` is the remote
    /// port it left through: that of the destination itself on a network that spans zones, else the other node's port on
    /// the transit switch, where it then comes in from the port of the first node.
    pub fn entering(&self, to: &str, from_node: &str, trace: &Trace) -> Self {
        let inport = match to.find("tstor-") {
            Some(start) => format!("{}tstor-{from_node}", &to[..start]),
            None => self.inport.clone(),
        };
        Self {
            inport,
            eth_src: trace
                .eth_src
                .clone()
                .unwrap_or_else(|| self.eth_src.clone()),
            eth_dst: trace
                .eth_dst
                .clone()
                .unwrap_or_else(|| self.eth_dst.clone()),
            ttl: self.ttl.saturating_sub(trace.hops),
            ..self.clone()
        }
    }
}

/// The rule OVN-Kubernetes makes MACs by: of gateways always, of pods unless they ask for another one.
fn mac_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
        }
        IpAddr::V6(address) => {
            use sha2::{Digest as _, Sha256};
            let hash = Sha256::digest(address.to_string().as_bytes());
            format!(
                "0a:58:{:02x}:{:02x}:{:02x}:{:02x}",
                hash[0], hash[1], hash[2], hash[3]
            )
        }
    }
}

impl fmt::Display for Microflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            inport,
            eth_src,
            eth_dst,
            src,
            dst,
            ttl,
            ..
        } = self;
        let (ip, echo) = if dst.is_ipv4() {
            ("ip4", "icmp4.type == 8")
        } else {
            ("ip6", "icmp6.type == 128")
        };
        write!(
            f,
            "inport == \"{inport}\" && eth.src == {eth_src} && eth.dst == {eth_dst} && {ip}.src == {src} && {ip}.dst == {dst} && ip.ttl == {ttl} && "
        )?;
        let name = match self.protocol {
            Protocol::Icmp => return f.write_str(echo),
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        match self.port {
            Some(port) => write!(f, "{name} && {name}.dst == {port}"),
            None => f.write_str(name),
        }
    }
}
