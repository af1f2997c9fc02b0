//! Where a network's addresses come from, and what else an attachment gets.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use trunkline_fabric::{MacAddr, NodeName};

use crate::alloc::{Ids, SubnetError, Subnets};
use crate::config::nth_of;
use crate::nad::{NetConf, Network, Topology};
use crate::names::Key;
use crate::selection::Selected;
use crate::world::{Node, PodRoute};

/// Tunnel keys of ports on a network.
const LAST_TUNNEL_ID: u32 = 32_767;

#[derive(Debug)]
pub(super) struct Pool {
    /// Of the whole network, unless nodes have shares of it.
    subnets: Subnets,
    shares: HashMap<NodeName, Subnets>,
    /// By NAD and pod.
    pub(super) tunnel_ids: Ids<(String, String)>,
    pub(super) conf: NetConf,
}

impl Pool {
    pub(super) fn new(conf: &NetConf) -> Pool {
        Pool {
            subnets: Subnets::new(&conf.subnets, &conf.excluded),
            shares: HashMap::new(),
            tunnel_ids: Ids::new(1, LAST_TUNNEL_ID),
            conf: conf.clone(),
        }
    }

    /// Learns of nodes' shares.
    pub(super) fn follow<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>) {
        for node in nodes {
            if let Some(share) = node.shares.get(&self.conf.name) {
                let pool = self.shares.entry(node.name.clone());
                pool.or_insert_with(|| node_pool(share));
            }
        }
    }

    /// Where pods of a node get their addresses.
    pub(super) fn of(&mut self, node: Option<&NodeName>) -> Option<&mut Subnets> {
        match self.conf.topology {
            Topology::Layer3 => self.shares.get_mut(node?),
            Topology::Layer2 | Topology::Localnet => Some(&mut self.subnets),
        }
    }
}

/// A node's part of a network: its router and the node itself have the first two addresses.
pub(super) fn node_pool(subnets: &[IpNet]) -> Subnets {
    let mut pool = Subnets::new(subnets, &[]);
    for net in subnets {
        let own = [1, 2].map(|n| IpNet::new_assert(nth_of(net, n), net.prefix_len()));
        // Nothing else is in the new pool.
        let _ = pool.reserve(&own);
    }
    pool
}

/// Why an attachment gets no addresses.
pub(super) enum Refusal {
    /// In an event.
    Told(String),
    /// Upstream keeps this to its log.
    Logged(String),
}

pub(super) fn choose_addresses(
    pool: &mut Pool,
    node: &Node,
    selected: &Selected,
    key: &Key,
) -> Result<Vec<IpNet>, Refusal> {
    let nad = &selected.nad;
    if !pool.conf.has_ipam() {
        return selected
            .ips
            .iter()
            .map(|ip| {
                let net: Result<IpNet, _> = ip.parse();
                net.map_err(|_| Refusal::Logged(format!("invalid CIDR address: {ip}")))
            })
            .collect();
    }
    if !selected.ips.is_empty() {
        return Err(Refusal::Logged(format!(
            "failed to update pod {key}: cannot allocate a static IP request with IPAM for pod {nad}/{key} (custom \
             network configuration disabled)"
        )));
    }
    let network = pool.conf.name.clone();
    let allocated = match pool.of(Some(&node.name)) {
        Some(subnets) => subnets.allocate(),
        None => Err(SubnetError::Full),
    };
    allocated.map_err(|error| {
        Refusal::Told(format!(
            "failed to update pod {key}: failed to assign pod addresses for {nad}/{key}: failed to allocate new IPs \
             for {network}: {error}"
        ))
    })
}

/// The rest of a layer 3 network is behind the node's router.
pub(super) fn routes(network: &Network, node: &Node) -> Vec<PodRoute> {
    let share = node.shares.get(&network.conf.name).into_iter().flatten();
    let own: Vec<IpAddr> = share.map(|net| nth_of(net, 1)).collect();
    let same_family = |net: &IpNet| {
        let mut own = own.iter();
        own.find(|ip| ip.is_ipv4() == net.addr().is_ipv4()).copied()
    };
    let all = network.conf.subnets.iter();
    all.filter_map(|net| {
        Some(PodRoute {
            dest: *net,
            next_hop: same_family(net)?,
        })
    })
    .collect()
}

/// Locally administered, not multicast.
pub(super) fn random_mac() -> MacAddr {
    let mut octets: [u8; 6] = rand::random();
    octets[0] = (octets[0] & 0xfe) | 0x02;
    MacAddr::new(octets)
}
