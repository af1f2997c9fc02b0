//! Addresses of a network's subnets (`pkg/allocator/ip`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::RoundRobin;

/// Larger IPv6 subnets are used only in part.
const LARGEST: u128 = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubnetError {
    #[error("subnet address pool exhausted")]
    Full,
    #[error("provided IP is already allocated")]
    Allocated,
}

#[derive(Debug, Clone)]
struct Range {
    net: IpNet,
    /// Offset 0 is the first address after the network's own.
    offsets: RoundRobin,
}

/// One address of every subnet for each owner.
#[derive(Debug, Clone)]
pub(crate) struct Subnets {
    ranges: Vec<Range>,
}

impl Range {
    fn new(net: IpNet, excluded: &[IpNet]) -> Range {
        let bits = u32::from(net.max_prefix_len() - net.prefix_len());
        let all = 1_u128.checked_shl(bits).unwrap_or(u128::MAX);
        // IPv4 has a broadcast address at the end.
        let unusable = if net.addr().is_ipv4() { 2 } else { 1 };
        let size = all.min(LARGEST.max(all * u128::from(net.addr().is_ipv4())));
        let size = u32::try_from(size.saturating_sub(unusable)).unwrap_or(u32::MAX - 1);
        let mut range = Range {
            net,
            offsets: RoundRobin::new(size),
        };
        for out in excluded {
            if !net.contains(&out.network()) {
                continue;
            }
            let first = range.offset(out.network()).unwrap_or(0);
            let last = range.offset(out.broadcast()).unwrap_or(size).min(size);
            for offset in first..=last {
                range.offsets.reserve(offset);
            }
        }
        range
    }

    fn address(&self, offset: u32) -> IpNet {
        let plus = u128::from(offset) + 1;
        let address = match self.net.network() {
            IpAddr::V4(base) => {
                let plus = u32::try_from(plus).unwrap_or(u32::MAX);
                IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(plus)))
            }
            IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base).wrapping_add(plus))),
        };
        IpNet::new_assert(address, self.net.prefix_len())
    }

    /// `None` for the network's own address and for those of other networks.
    fn offset(&self, address: IpAddr) -> Option<u32> {
        let distance = match (address, self.net.network()) {
            (IpAddr::V4(a), IpAddr::V4(base)) => u32::from(a).checked_sub(u32::from(base))?.into(),
            (IpAddr::V6(a), IpAddr::V6(base)) => u128::from(a).checked_sub(u128::from(base))?,
            _ => return None,
        };
        u32::try_from(distance.checked_sub(1)?).ok()
    }
}

impl Subnets {
    pub(crate) fn new(subnets: &[IpNet], excluded: &[IpNet]) -> Subnets {
        let ranges = subnets.iter().map(|net| Range::new(*net, excluded));
        Subnets {
            ranges: ranges.collect(),
        }
    }

    /// The next address of each subnet, with the subnet's prefix length.
    pub(crate) fn allocate(&mut self) -> Result<Vec<IpNet>, SubnetError> {
        let mut addresses = Vec::new();
        for at in 0..self.ranges.len() {
            let Some(offset) = self.ranges[at].offsets.allocate() else {
                self.release(&addresses);
                return Err(SubnetError::Full);
            };
            addresses.push(self.ranges[at].address(offset));
        }
        Ok(addresses)
    }

    /// Takes certain addresses; those outside of all subnets are nobody's.
    pub(crate) fn reserve(&mut self, addresses: &[IpNet]) -> Result<(), SubnetError> {
        let mut taken = Vec::new();
        for address in addresses {
            let Some((range, offset)) = self.find(address.addr()) else {
                continue;
            };
            if !range.offsets.reserve(offset) {
                self.release(&taken);
                return Err(SubnetError::Allocated);
            }
            taken.push(*address);
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, addresses: &[IpNet]) {
        for address in addresses {
            if let Some((range, offset)) = self.find(address.addr()) {
                range.offsets.release(offset);
            }
        }
    }

    fn find(&mut self, address: IpAddr) -> Option<(&mut Range, u32)> {
        let range = self.ranges.iter_mut().find(|r| r.net.contains(&address))?;
        let offset = range.offset(address)?;
        Some((range, offset))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(subnets: &[&str], excluded: &[&str]) -> Subnets {
        let nets =
            |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|t| t.parse().unwrap()).collect() };
        Subnets::new(&nets(subnets), &nets(excluded))
    }

    fn next(pool: &mut Subnets) -> String {
        let addresses = pool.allocate().unwrap();
        addresses
            .iter()
            .map(IpNet::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn a_slash_30_has_two() {
        let mut pool = pool(&["10.56.0.0/30"], &[]);
        assert_eq!(next(&mut pool), "10.56.0.1/30");
        assert_eq!(next(&mut pool), "10.56.0.2/30");
        assert_eq!(pool.allocate(), Err(SubnetError::Full));
        pool.release(&["10.56.0.1/30".parse().unwrap()]);
        assert_eq!(next(&mut pool), "10.56.0.1/30");
    }

    #[test]
    fn excluded_addresses_are_skipped() {
        let mut pool = pool(&["10.1.0.0/29"], &["10.1.0.0/30", "10.1.0.5/32"]);
        assert_eq!(next(&mut pool), "10.1.0.4/29");
        assert_eq!(next(&mut pool), "10.1.0.6/29");
        assert_eq!(pool.allocate(), Err(SubnetError::Full));
    }

    #[test]
    fn dual_stack() {
        let mut pool = pool(&["10.1.0.0/24", "fd01::/64"], &[]);
        assert_eq!(next(&mut pool), "10.1.0.1/24 fd01::1/64");
        let other = [
            "10.1.0.2/24".parse().unwrap(),
            "fd01::9/64".parse().unwrap(),
        ];
        assert_eq!(pool.reserve(&other), Ok(()));
        assert_eq!(pool.reserve(&other[1..]), Err(SubnetError::Allocated));
        assert_eq!(next(&mut pool), "10.1.0.3/24 fd01::2/64");
    }

    #[test]
    fn a_half_taken_set_takes_nothing() {
        let mut pool = pool(&["10.1.0.0/24"], &[]);
        pool.reserve(&["10.1.0.2/24".parse().unwrap()]).unwrap();
        let both = [
            "10.1.0.1/24".parse().unwrap(),
            "10.1.0.2/24".parse().unwrap(),
        ];
        assert_eq!(pool.reserve(&both), Err(SubnetError::Allocated));
        assert_eq!(next(&mut pool), "10.1.0.1/24");
    }

    #[test]
    fn large_subnets_work() {
        let mut v4 = pool(&["10.0.0.0/8"], &[]);
        assert_eq!(next(&mut v4), "10.0.0.1/8");
        let mut v6 = pool(&["fd00::/8"], &[]);
        assert_eq!(next(&mut v6), "fd00::1/8");
        let mut tiny = pool(&["10.0.0.0/32"], &[]);
        assert_eq!(tiny.allocate(), Err(SubnetError::Full));
    }
}
