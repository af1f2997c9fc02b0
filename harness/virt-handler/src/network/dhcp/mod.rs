//! The DHCP servers of machines: one per interface, for one client, always with the same answer.

mod answer;
mod answer6;
mod options;
mod server;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use trunkline_fabric::{MacAddr, NetNs, Reach};
use trunkline_kubevirt::types::DhcpOptions;

use super::NetworkError;
use super::plan::Plan;
use super::resolver::Resolver;

pub(super) use server::Server;

/// As good as for ever: 999 days.
const LEASE: Duration = Duration::from_secs(999 * 24 * 60 * 60);

/// What one machine is answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lease {
    /// Who is answered. `None` if nobody else can ask.
    pub(super) client: Option<MacAddr>,
    pub(super) address: Ipv4Addr,
    pub(super) prefix: u8,
    /// The bridge's address.
    pub(super) server: Ipv4Addr,
    pub(super) router: Option<Ipv4Addr>,
    /// Beyond the machine's own network.
    pub(super) routes: Vec<Reach>,
    pub(super) told: Told,
}

/// What does not depend on the address.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) mtu: u32,
    pub(super) resolver: Resolver,
    pub(super) hostname: String,
    /// Of the machine's object.
    pub(super) options: DhcpOptions,
}

/// The same for IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease6 {
    pub(super) address: Ipv6Addr,
    pub(super) servers: Vec<Ipv6Addr>,
}

/// Starts the servers of an interface, on its bridge.
pub(super) async fn serve(netns: &NetNs, plan: &Plan) -> Result<Vec<Server>, NetworkError> {
    let mut servers = Vec::new();
    if let Some(lease) = &plan.lease {
        let options = options::of(lease)?;
        servers.push(server::v4(netns, &plan.bridge, lease, options).await?);
    }
    if let Some(lease) = &plan.lease6 {
        servers.push(server::v6(netns, &plan.bridge, lease).await?);
    }
    Ok(servers)
}
