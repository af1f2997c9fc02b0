//! Each node's share of layer 3 networks (`pkg/clustermanager/node`): one subnet of every family.

use std::collections::BTreeMap;

use ipnet::IpNet;
use trunkline_fabric::NodeName;

use crate::alloc::Ids;
use crate::config::nth_of;
use crate::nad::{NetConf, Topology};
use crate::world::World;

/// More than any cluster has nodes.
const LAST_SHARE: u32 = 65_535;

#[derive(Debug, Default)]
pub(super) struct Shares {
    networks: BTreeMap<String, Pool>,
}

#[derive(Debug)]
struct Pool {
    conf: NetConf,
    families: Vec<Family>,
}

/// The subnets of one family, cut into shares that are numbered through.
#[derive(Debug)]
struct Family {
    /// With the length of a share.
    ranges: Vec<(IpNet, u8)>,
    numbers: Ids<NodeName>,
}

impl Family {
    /// `None` when the network has no subnet of the family.
    fn of(conf: &NetConf, v4: bool) -> Option<Family> {
        let subnets = conf.subnets.iter().copied();
        let ranges: Vec<_> = subnets
            .zip(conf.shares.iter().copied())
            .filter(|(net, _)| net.addr().is_ipv4() == v4)
            .collect();
        let count: u32 = ranges
            .iter()
            .map(|range| count(*range))
            .fold(0, u32::saturating_add);
        let last = count.checked_sub(1)?.min(LAST_SHARE);
        Some(Family {
            ranges,
            numbers: Ids::new(0, last),
        })
    }

    fn share(&self, mut number: u32) -> Option<IpNet> {
        for (net, length) in &self.ranges {
            if number >= count((*net, *length)) {
                number -= count((*net, *length));
                continue;
            }
            let size = net.max_prefix_len() - length;
            return match net {
                IpNet::V4(_) => {
                    let base = nth_of(net, number.checked_shl(size.into())?);
                    IpNet::new(base, *length).ok()
                }
                IpNet::V6(v6) => {
                    let base = u128::from(v6.network()) + (u128::from(number) << size);
                    IpNet::new(std::net::Ipv6Addr::from(base).into(), *length).ok()
                }
            };
        }
        None
    }

    fn number(&self, share: &IpNet) -> Option<u32> {
        (0..=LAST_SHARE)
            .map_while(|number| Some((number, self.share(number)?)))
            .find(|(_, other)| other == share)
            .map(|(number, _)| number)
    }
}

/// How many shares a subnet has.
fn count((net, length): (IpNet, u8)) -> u32 {
    let bits = length.saturating_sub(net.prefix_len());
    1_u32.checked_shl(bits.into()).unwrap_or(u32::MAX)
}

impl Shares {
    /// Networks come and go; what nodes have comes before what others want.
    pub(super) fn follow(&mut self, world: &World) {
        let networks = world.networks();
        self.networks.retain(|name, pool| {
            let network = networks.get(name);
            network.is_some_and(|network| network.conf.is_compatible(&pool.conf))
        });
        for (name, network) in networks {
            let conf = network.conf;
            if conf.topology != Topology::Layer3 || conf.primary {
                continue;
            }
            let pool = self.networks.entry(name.clone()).or_insert_with(|| Pool {
                families: [true, false]
                    .into_iter()
                    .filter_map(|v4| Family::of(&conf, v4))
                    .collect(),
                conf,
            });
            for node in world.nodes.values() {
                for share in node.shares.get(&name).into_iter().flatten() {
                    pool.adopt(&node.name, share);
                }
            }
        }
    }

    /// Of every network, as far as it reaches.
    pub(super) fn of(&mut self, node: &NodeName) -> BTreeMap<String, Vec<IpNet>> {
        let mut shares = BTreeMap::new();
        for (name, pool) in &mut self.networks {
            if let Some(share) = pool.of(node) {
                shares.insert(name.clone(), share);
            } else {
                tracing::warn!(%node, network = %name, "no subnet left for this node");
            }
        }
        shares
    }
}

impl Pool {
    fn adopt(&mut self, node: &NodeName, share: &IpNet) {
        for family in &mut self.families {
            if let Some(number) = family.number(share) {
                family.numbers.reserve(node.clone(), number);
            }
        }
    }

    fn of(&mut self, node: &NodeName) -> Option<Vec<IpNet>> {
        self.families
            .iter_mut()
            .map(|family| {
                let number = family.numbers.allocate(node.clone())?;
                family.share(number)
            })
            .collect()
    }
}
