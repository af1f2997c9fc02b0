//! Why a machine gets no network.

use std::io;

use trunkline_fabric::ParseMacError;

/// In KubeVirt's words where it has some: they end up in events.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    #[error("no iface matching with network {0}")]
    NoInterface(String),
    #[error("no network named {0}; list one in the machine's networks or remove the interface")]
    NoNetwork(String),
    #[error(
        "undefined binding method of the interface {interface}: {binding}; use masquerade, bridge or a binding plugin \
         that attaches by managedTap"
    )]
    Binding { interface: String, binding: String },
    #[error("the interface {0} can only have the binding masquerade on the pod network")]
    MasqueradeElsewhere(String),
    #[error("the interface {interface}: {source}")]
    Mac {
        interface: String,
        source: ParseMacError,
    },
    #[error("pod link ({0}) is missing")]
    NoLink(String),
    #[error("no gateway address found in routes for {0}")]
    NoGateway(String),
    #[error("failed to parse VM CIDR: {cidr}, {source}")]
    Cidr {
        cidr: String,
        source: ipnet::AddrParseError,
    },
    #[error("VM CIDR subnet is too small, at least 2 host addresses are required: {0}")]
    SmallCidr(String),
    #[error("Search domain is not valid: '{0}'")]
    SearchDomain(String),
    #[error("Search domains length exceeded allowable size: was {0} long")]
    SearchDomains(usize),
    #[error("Could not parse NTP server as IPv4 address: {0}")]
    NtpServer(String),
    #[error("the DHCP option {0} is longer than 255 bytes; shorten it")]
    LongOption(u8),
    #[error(transparent)]
    Fabric(#[from] trunkline_fabric::Error),
    #[error("cannot start `{program}`: {source}; it comes with the package nftables")]
    NftStart { program: String, source: io::Error },
    #[error("nft refused the rules ({status}): {output}")]
    Nft { status: String, output: String },
    #[error("cannot serve DHCP on {bridge}: {source}")]
    Dhcp { bridge: String, source: io::Error },
}
