//! What the network is to be, whichever version of the format said so.

use std::net::IpAddr;

use super::netlink::{Link, Route};

/// Which interface is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// May hold `*` and `?`.
    pub name: Option<String>,
    pub mac: Option<[u8; 6]>,
}

impl Match {
    pub fn accepts(&self, link: &Link) -> bool {
        let nothing = self.name.is_none() && self.mac.is_none();
        let name = self
            .name
            .as_ref()
            .is_none_or(|pattern| glob(pattern.as_bytes(), link.name.as_bytes()));
        let mac = self.mac.is_none_or(|mac| mac == link.mac);
        !nothing && name && mac
    }
}

fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => {
            glob(&pattern[1..], name) || (!name.is_empty() && glob(pattern, &name[1..]))
        }
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &name[1..]),
        (Some(wanted), Some(found)) => wanted == found && glob(&pattern[1..], &name[1..]),
        _ => false,
    }
}

/// What a lease may change.
#[allow(clippy::struct_excessive_bools)] // each is a switch of the format
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dhcp {
    pub routes: bool,
    pub dns: bool,
    pub mtu: bool,
    pub hostname: bool,
    pub metric: Option<u32>,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self {
            routes: true,
            dns: true,
            mtu: true,
            hostname: true,
            metric: None,
        }
    }
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub matching: Match,
    pub set_name: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
    pub dhcp4: Option<Dhcp>,
    pub addresses: Vec<(IpAddr, u8)>,
    pub routes: Vec<Route>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<String>,
    pub accept_ra: Option<bool>,
}

impl Interface {
    /// What NetworkManager does with an interface that nobody mentions.
    pub fn automatic() -> Self {
        Self {
            dhcp4: Some(Dhcp::default()),
            ..Self::default()
        }
    }

    pub fn gateway(&mut self, via: IpAddr) {
        self.routes.push(Route {
            destination: default_of(via),
            via: Some(via),
            metric: None,
            on_link: false,
        });
    }
}

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub interfaces: Vec<Interface>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<String>,
}

impl Network {
    /// What it says of an interface.
    pub fn of(&self, link: &Link) -> Option<Interface> {
        self.interfaces
            .iter()
            .find(|interface| interface.matching.accepts(link))
            .cloned()
    }
}

pub fn default_of(family_of: IpAddr) -> (IpAddr, u8) {
    match family_of {
        IpAddr::V4(_) => (IpAddr::from([0; 4]), 0),
        IpAddr::V6(_) => (IpAddr::from([0; 16]), 0),
    }
}

pub fn mac(text: &str) -> Option<[u8; 6]> {
    let mut octets = [0; 6];
    let mut parts = text.trim().split([':', '-']);
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 2)?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// `10.1.0.5/24`; without a length it is that of a single address.
pub fn prefixed(text: &str) -> Option<(IpAddr, u8)> {
    let text = text.trim();
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => longest,
        Some(length) => length
            .parse()
            .ok()
            .or_else(|| netmask(length))
            .filter(|length| *length <= longest)?,
    };
    Some((address, length))
}

/// `255.255.255.0`, or a length.
pub fn netmask(text: &str) -> Option<u8> {
    if let Ok(length) = text.trim().parse::<u8>() {
        return Some(length);
    }
    let mask: std::net::Ipv4Addr = text.trim().parse().ok()?;
    let bits = u32::from(mask);
    let ones = bits.leading_ones();
    (ones == bits.count_ones()).then(|| u8::try_from(ones).ok())?
}

/// A destination with the bits of single machines cleared.
pub fn network_of(destination: (IpAddr, u8)) -> (IpAddr, u8) {
    let (address, length) = destination;
    let cleared = match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            IpAddr::from((u32::from(v4) & !hosts).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(u32::from(length)).unwrap_or(0);
            IpAddr::from((u128::from(v6) & !hosts).to_be_bytes())
        }
    };
    (cleared, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(prefixed("10.1.0.5/24"), Some((ip("10.1.0.5"), 24)));
        assert_eq!(prefixed("10.1.0.5/255.255.0.0"), Some((ip("10.1.0.5"), 16)));
        assert_eq!(prefixed(" fd00::1/64 "), Some((ip("fd00::1"), 64)));
        assert_eq!(prefixed("10.1.0.5"), Some((ip("10.1.0.5"), 32)));
        for bad in ["10.1.0/24", "10.1.0.5/33", "x", "", "10.1.0.5/255.0.255.0"] {
            assert_eq!(prefixed(bad), None, "{bad}");
        }
        assert_eq!(network_of((ip("10.1.2.3"), 16)), (ip("10.1.0.0"), 16));
        assert_eq!(network_of((ip("10.1.2.3"), 0)), (ip("0.0.0.0"), 0));
        assert_eq!(network_of((ip("fd00::5"), 64)), (ip("fd00::"), 64));
    }

    #[test]
    fn hardware_addresses() {
        assert_eq!(mac("02:00:00:00:00:AB"), Some([2, 0, 0, 0, 0, 0xab]));
        assert_eq!(mac("02-0-0-0-0-1"), Some([2, 0, 0, 0, 0, 1]));
        for bad in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:00:01",
            "zz:00:00:00:00:01",
            "002:0:0:0:0:1",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_of_names() {
        let link = |name: &str| Link {
            index: 1,
            name: name.to_owned(),
            mac: [2; 6],
            mtu: 1_500,
            loopback: false,
            carrier: true,
        };
        let by_name = |name: &str| Match {
            name: Some(name.to_owned()),
            mac: None,
        };
        assert!(by_name("eth*").accepts(&link("eth10")));
        assert!(by_name("e?h0").accepts(&link("eth0")));
        assert!(!by_name("eth0").accepts(&link("eth01")));
        assert!(!Match::default().accepts(&link("eth0")));
        let both = Match {
            name: Some("*".to_owned()),
            mac: Some([3; 6]),
        };
        assert!(!both.accepts(&link("eth0")));
    }
}
