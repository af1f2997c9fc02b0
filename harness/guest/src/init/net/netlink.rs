//! The few messages of rtnetlink that a network needs, as bytes.

use std::net::IpAddr;

pub const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

const REQUEST: u16 = 0x001;
const ACK: u16 = 0x004;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_LOWER_UP: u32 = 0x1_0000;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;

/// A network interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mac: [u8; 6],
    pub mtu: u32,
    pub loopback: bool,
    pub carrier: bool,
}

/// What came over the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Link(Link),
    Gone(u32),
    /// The end of a list.
    Done,
    /// The answer to a request: zero, or the error's number.
    Ack(i32),
    Other,
}

/// Where packets for a destination go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: (IpAddr, u8),
    pub via: Option<IpAddr>,
    pub metric: Option<u32>,
    /// The gateway is on this link whatever its address.
    pub on_link: bool,
}

fn attribute(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len() + 4).unwrap_or_default();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, flags: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    let body = parts.concat();
    let length = u32::try_from(body.len() + 16).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&body);
    bytes
}

fn link_header(index: u32, flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend_from_slice(&index.to_ne_bytes());
    header.extend_from_slice(&flags.to_ne_bytes());
    header.extend_from_slice(&change.to_ne_bytes());
    header
}

pub fn list_links() -> Vec<u8> {
    message(RTM_GETLINK, DUMP, &[link_header(0, 0, 0)])
}

/// Changes of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    pub up: Option<bool>,
    pub mtu: Option<u32>,
    pub name: Option<String>,
    pub mac: Option<[u8; 6]>,
}

pub fn set_link(index: u32, change: &LinkChange) -> Vec<u8> {
    let (flags, mask) = match change.up {
        Some(true) => (IFF_UP, IFF_UP),
        Some(false) => (0, IFF_UP),
        None => (0, 0),
    };
    let mut parts = vec![link_header(index, flags, mask)];
    if let Some(name) = &change.name {
        parts.push(attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()));
    }
    if let Some(mac) = change.mac {
        parts.push(attribute(IFLA_ADDRESS, &mac));
    }
    if let Some(mtu) = change.mtu {
        parts.push(attribute(IFLA_MTU, &mtu.to_ne_bytes()));
    }
    message(RTM_NEWLINK, ACK, &parts)
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn address_parts(index: u32, address: IpAddr, prefix: u8) -> Vec<Vec<u8>> {
    let mut header = vec![family(address), prefix, 0, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    let mut parts = vec![header, attribute(2, &octets(address))];
    parts.push(attribute(1, &octets(address)));
    parts
}

/// Adds an address, for as many seconds as a lease lasts, or for good.
pub fn add_address(index: u32, address: IpAddr, prefix: u8, lifetime: Option<u32>) -> Vec<u8> {
    let mut parts = address_parts(index, address, prefix);
    if let IpAddr::V4(v4) = address
        && prefix < 31
    {
        let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
        let broadcast = (u32::from(v4) | hosts).to_be_bytes();
        parts.push(attribute(4, &broadcast));
    }
    if let Some(seconds) = lifetime {
        let mut cache = seconds.to_ne_bytes().to_vec();
        cache.extend_from_slice(&seconds.to_ne_bytes());
        cache.extend_from_slice(&[0; 8]);
        // preferred, then valid
        parts.push(attribute(6, &cache));
    }
    message(RTM_NEWADDR, ACK | CREATE | REPLACE, &parts)
}

pub fn remove_address(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    message(RTM_DELADDR, ACK, &address_parts(index, address, prefix))
}

/// Who a route comes from, as `ip route` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Static = 4,
    Dhcp = 16,
}

fn route_parts(index: u32, route: &Route, origin: Origin) -> Vec<Vec<u8>> {
    const MAIN: u8 = 254;
    const UNIVERSE: u8 = 0;
    const LINK: u8 = 253;
    const UNICAST: u8 = 1;
    const ON_LINK: u32 = 4;
    let (destination, prefix) = route.destination;
    let scope = if route.via.is_some() || destination.is_ipv6() {
        UNIVERSE
    } else {
        LINK
    };
    let flags = if route.on_link { ON_LINK } else { 0 };
    let mut header = vec![
        family(destination),
        prefix,
        0,
        0,
        MAIN,
        origin as u8,
        scope,
        UNICAST,
    ];
    header.extend_from_slice(&flags.to_ne_bytes());
    let mut parts = vec![header, attribute(4, &index.to_ne_bytes())];
    if prefix > 0 {
        parts.push(attribute(1, &octets(destination)));
    }
    if let Some(via) = route.via {
        parts.push(attribute(5, &octets(via)));
    }
    if let Some(metric) = route.metric {
        parts.push(attribute(6, &metric.to_ne_bytes()));
    }
    parts
}

/// `source` is the address that packets to there come from.
pub fn add_route(index: u32, route: &Route, origin: Origin, source: Option<IpAddr>) -> Vec<u8> {
    let mut parts = route_parts(index, route, origin);
    parts.extend(source.map(|source| attribute(7, &octets(source))));
    message(RTM_NEWROUTE, ACK | CREATE | REPLACE, &parts)
}

pub fn remove_route(index: u32, route: &Route, origin: Origin) -> Vec<u8> {
    message(RTM_DELROUTE, ACK, &route_parts(index, route, origin))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// The messages of one datagram.
pub fn parse(mut datagram: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(length) = u32_at(datagram, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(message) = datagram.get(..length).filter(|message| message.len() >= 16) else {
            break;
        };
        messages.push(parse_one(message).unwrap_or(Message::Other));
        datagram = datagram
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    messages
}

fn parse_one(message: &[u8]) -> Option<Message> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let body = &message[16..];
    match u16_at(message, 4)? {
        ERROR => Some(Message::Ack(u32_at(body, 0)?.cast_signed().wrapping_neg())),
        DONE => Some(Message::Done),
        RTM_NEWLINK => parse_link(body).map(Message::Link),
        RTM_DELLINK => Some(Message::Gone(u32_at(body, 4)?)),
        _ => None,
    }
}

fn parse_link(body: &[u8]) -> Option<Link> {
    const ETHERNET: u16 = 1;
    const LOOPBACK: u16 = 772;
    let hardware = u16_at(body, 2)?;
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        loopback: flags & IFF_LOOPBACK != 0,
        carrier: flags & IFF_LOWER_UP != 0,
    };
    if hardware != ETHERNET && hardware != LOOPBACK {
        return None;
    }
    let mut rest = body.get(16..)?;
    while let Some(length) = u16_at(rest, 0)
        .map(usize::from)
        .filter(|length| *length >= 4)
    {
        let data = rest.get(4..length)?;
        match u16_at(rest, 2)? {
            IFLA_IFNAME => {
                let name = data.split(|byte| *byte == 0).next().unwrap_or_default();
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            IFLA_ADDRESS => link.mac = data.try_into().unwrap_or_default(),
            IFLA_MTU => link.mtu = u32_at(data, 0)?,
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (!link.name.is_empty()).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_they_say() {
        let route = Route {
            destination: ("0.0.0.0".parse().unwrap(), 0),
            via: Some("10.0.2.1".parse().unwrap()),
            metric: Some(100),
            on_link: false,
        };
        let change = LinkChange {
            up: Some(true),
            mtu: Some(1_300),
            name: Some("eth7".to_owned()),
            mac: Some([2; 6]),
        };
        for bytes in [
            list_links(),
            set_link(3, &change),
            add_address(3, "10.0.2.2".parse().unwrap(), 24, Some(60)),
            remove_address(3, "fd00::1".parse().unwrap(), 64),
            add_route(3, &route, Origin::Dhcp, Some("10.0.2.2".parse().unwrap())),
            remove_route(3, &route, Origin::Static),
        ] {
            assert_eq!(u32_at(&bytes, 0), u32::try_from(bytes.len()).ok());
            assert_eq!(bytes.len() % 4, 0);
        }
    }

    #[test]
    fn the_broadcast_address_goes_along() {
        let bytes = add_address(3, "10.0.2.2".parse().unwrap(), 24, None);
        let attribute = attribute(4, &[10, 0, 2, 255]);
        assert!(bytes.windows(8).any(|window| window == attribute));
        let bytes = add_address(3, "10.0.2.2".parse().unwrap(), 0, None);
        assert!(bytes.ends_with(&[255, 255, 255, 255]));
    }

    #[test]
    fn links_are_read() {
        let mut body = vec![0, 0];
        body.extend_from_slice(&1u16.to_ne_bytes());
        body.extend_from_slice(&5u32.to_ne_bytes());
        body.extend_from_slice(&(IFF_UP | IFF_LOWER_UP).to_ne_bytes());
        body.extend_from_slice(&[0; 4]);
        let parts = [
            body,
            attribute(IFLA_IFNAME, b"eth0\0"),
            attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
            attribute(IFLA_MTU, &1_400u32.to_ne_bytes()),
            attribute(99, b"x"),
        ];
        let bytes = message(RTM_NEWLINK, 0, &parts);
        let expected = Link {
            index: 5,
            name: "eth0".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_400,
            loopback: false,
            carrier: true,
        };
        let twice = [bytes.clone(), bytes.clone()].concat();
        assert_eq!(
            parse(&twice),
            [Message::Link(expected.clone()), Message::Link(expected)]
        );
        assert_eq!(parse(&bytes[..20]), []);
    }

    #[test]
    fn errors_have_their_number() {
        let mut body = (-17i32).to_ne_bytes().to_vec();
        body.extend_from_slice(&[0; 16]);
        assert_eq!(parse(&message(2, 0, &[body])), [Message::Ack(17)]);
    }
}
