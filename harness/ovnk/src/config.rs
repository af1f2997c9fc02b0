//! Cluster-wide settings, with OVN-Kubernetes' defaults as kind clusters use them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The address ranges that belong to the cluster itself, and the MTU of its overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// The pod network.
    pub cluster: Ipv4Net,
    /// Prefix length of each node's share of it.
    pub host_prefix: u8,
    pub services: Ipv4Net,
    /// Connects the cluster router with the gateway routers.
    pub join: Ipv4Net,
    pub join6: Ipv6Net,
    /// Connects the cluster routers of the zones.
    pub transit: Ipv4Net,
    /// Addresses that services and hosts hide behind.
    pub masquerade: Ipv4Net,
    pub masquerade6: Ipv6Net,
    /// What a user-defined network uses for its own join switch unless it says otherwise.
    pub udn_join: Ipv4Net,
    pub udn_join6: Ipv6Net,
    pub mtu: u16,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        let v4 = |a, b, c, prefix| Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, 0), prefix);
        let v6 = |a, prefix| Ipv6Net::new_assert(Ipv6Addr::new(a, 0, 0, 0, 0, 0, 0, 0), prefix);
        Self {
            cluster: v4(10, 244, 0, 16),
            host_prefix: 24,
            services: v4(10, 96, 0, 16),
            join: v4(100, 64, 0, 16),
            join6: v6(0xfd98, 64),
            transit: v4(100, 88, 0, 16),
            masquerade: v4(169, 254, 0, 17),
            masquerade6: v6(0xfd69, 112),
            udn_join: v4(100, 65, 0, 16),
            udn_join6: v6(0xfd99, 64),
            mtu: 1400,
        }
    }
}

impl ClusterConfig {
    /// The source of traffic from a service back to the pod that called it.
    pub fn hairpin(&self) -> Ipv4Addr {
        nth(self.masquerade, 5)
    }

    /// The same for IPv6.
    pub fn hairpin6(&self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.masquerade6.network()).wrapping_add(5))
    }

    /// What a gateway router takes its own node for: behind it the node answers services.
    pub fn host_masquerade(&self) -> Ipv4Addr {
        nth(self.masquerade, 2)
    }

    /// What a node's switch knows services by that only local endpoints answer.
    pub fn host_local_masquerade(&self) -> Ipv4Addr {
        nth(self.masquerade, 3)
    }

    /// A next hop that exists only as a static MAC binding, behind which hosts answer services.
    pub fn dummy_next_hop(&self) -> Ipv4Addr {
        nth(self.masquerade, 4)
    }

    /// A node's gateway router on the join switch; number 1 is the cluster router.
    pub fn join_address(&self, node_id: u32) -> Ipv4Net {
        with_prefix(self.join, node_id)
    }

    /// A node's cluster router on the transit switch.
    pub fn transit_address(&self, node_id: u32) -> Ipv4Net {
        with_prefix(self.transit, node_id)
    }

    /// The ranges that no user-defined network may touch, in upstream's order and words.
    pub(crate) fn reserved(&self) -> Vec<(&'static str, IpNet)> {
        vec![
            ("cluster subnet", self.cluster.into()),
            ("service subnet", self.services.into()),
            ("built-in join subnet", self.join.into()),
            ("built-in join subnet", self.join6.into()),
            ("masquerade subnet", self.masquerade.into()),
            ("masquerade subnet", self.masquerade6.into()),
        ]
    }
}

/// The n-th address of a network, counting from its own.
pub(crate) fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).wrapping_add(n))
}

/// The same for either family.
pub(crate) fn nth_of(net: &IpNet, n: u32) -> IpAddr {
    match net {
        IpNet::V4(net) => nth(*net, n).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()).wrapping_add(n.into())).into(),
    }
}

fn with_prefix(net: Ipv4Net, n: u32) -> Ipv4Net {
    Ipv4Net::new_assert(nth(net, n), net.prefix_len())
}
