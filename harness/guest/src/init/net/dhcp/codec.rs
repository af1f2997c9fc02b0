//! DHCP messages as bytes.

use std::net::{IpAddr, Ipv4Addr};

use crate::net::config::network_of;
use crate::net::netlink::Route;

const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin.
const HEADER: usize = 240;
/// Some servers and relays drop what is shorter than BOOTP was.
const SHORTEST: usize = 300;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
const MTU: u8 = 26;
const REQUESTED: u8 = 50;
const LEASE_TIME: u8 = 51;
const OVERLOAD: u8 = 52;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const PARAMETERS: u8 = 55;
const LARGEST: u8 = 57;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLIENT: u8 = 61;
const SEARCH: u8 = 119;
const ROUTES: u8 = 121;

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Discover,
    /// The address of this offer.
    Take {
        address: Ipv4Addr,
        server: Ipv4Addr,
    },
    /// Whether an address it had still is its own.
    Confirm {
        address: Ipv4Addr,
    },
    /// More time for the address it has.
    Extend {
        address: Ipv4Addr,
    },
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Offer(Lease),
    Ack(Lease),
    Nak,
}

/// An address and everything that comes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub server: Ipv4Addr,
    /// Seconds; `None` is for ever.
    pub seconds: Option<u32>,
    pub renew: Option<u32>,
    pub rebind: Option<u32>,
    pub routes: Vec<Route>,
    pub dns: Vec<IpAddr>,
    pub search: Vec<String>,
    pub host_name: Option<String>,
    pub mtu: Option<u32>,
}

/// Writes a message.
pub fn encode(ask: Ask, xid: u32, seconds: u16, mac: [u8; 6], host_name: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![1, 1, 6, 0];
    bytes.extend_from_slice(&xid.to_be_bytes());
    bytes.extend_from_slice(&seconds.to_be_bytes());
    // No broadcast is needed: the socket hears what is sent to an address that is not there yet.
    bytes.extend_from_slice(&[0, 0]);
    let own = match ask {
        Ask::Extend { address } => address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    bytes.extend_from_slice(&own.octets());
    bytes.resize(28, 0);
    bytes.extend_from_slice(&mac);
    bytes.resize(HEADER - 4, 0);
    bytes.extend_from_slice(&COOKIE);
    let mut option = |code: u8, data: &[u8]| {
        let length = u8::try_from(data.len()).unwrap_or(u8::MAX);
        bytes.extend_from_slice(&[code, length]);
        bytes.extend_from_slice(&data[..usize::from(length)]);
    };
    let kind = if ask == Ask::Discover { 1 } else { 3 };
    option(KIND, &[kind]);
    let mut client = vec![1];
    client.extend_from_slice(&mac);
    option(CLIENT, &client);
    match ask {
        Ask::Take { address, server } => {
            option(REQUESTED, &address.octets());
            option(SERVER, &server.octets());
        }
        Ask::Confirm { address } => option(REQUESTED, &address.octets()),
        Ask::Discover | Ask::Extend { .. } => {}
    }
    option(LARGEST, &1_472u16.to_be_bytes());
    option(
        PARAMETERS,
        &[
            MASK, ROUTER, DNS, HOST_NAME, DOMAIN, MTU, LEASE_TIME, RENEW, REBIND, SEARCH, ROUTES,
        ],
    );
    if let Some(name) = host_name.filter(|name| !name.is_empty() && name.len() < 64) {
        option(HOST_NAME, name.as_bytes());
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(SHORTEST), 0);
    bytes
}

/// Reads an answer meant for this client; everything else is `None`.
pub fn decode(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<Answer> {
    let reply = *bytes.first()? == 2;
    let ours = bytes.get(4..8)? == xid.to_be_bytes() && bytes.get(28..34)? == mac;
    if !reply || !ours || bytes.get(236..HEADER)? != COOKIE {
        return None;
    }
    let options = Options::read(bytes)?;
    match options.get(KIND)?.first()? {
        2 => Some(Answer::Offer(options.lease(bytes)?)),
        5 => Some(Answer::Ack(options.lease(bytes)?)),
        6 => Some(Answer::Nak),
        _ => None,
    }
}

/// Options by number; one that comes in pieces is put together.
struct Options(Vec<(u8, Vec<u8>)>);

impl Options {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut options = Self(Vec::new());
        options.add(bytes.get(HEADER..)?)?;
        let overload = options.get(OVERLOAD).and_then(|data| data.first().copied());
        if matches!(overload, Some(1 | 3)) {
            options.add(bytes.get(108..236)?)?;
        }
        if matches!(overload, Some(2 | 3)) {
            options.add(bytes.get(44..108)?)?;
        }
        Some(options)
    }

    fn add(&mut self, mut bytes: &[u8]) -> Option<()> {
        loop {
            match bytes.first() {
                None | Some(255) => return Some(()),
                Some(0) => bytes = &bytes[1..],
                Some(code) => {
                    let length = usize::from(*bytes.get(1)?);
                    let data = bytes.get(2..2 + length)?;
                    match self.0.iter_mut().find(|(known, _)| known == code) {
                        Some((_, all)) => all.extend_from_slice(data),
                        None => self.0.push((*code, data.to_vec())),
                    }
                    bytes = &bytes[2 + length..];
                }
            }
        }
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| *known == code)?;
        Some(&found.1)
    }

    fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        let data = self.get(code).unwrap_or_default();
        data.chunks_exact(4)
            .map(|octets| Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    }

    fn number(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(code)?.try_into().ok()?))
    }

    fn text(&self, code: u8) -> Option<String> {
        let text = std::str::from_utf8(self.get(code)?).ok()?;
        let text = text.trim_end_matches('\0').trim();
        let clean = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_. ".contains(&byte));
        (clean && !text.is_empty()).then(|| text.to_owned())
    }

    fn lease(&self, bytes: &[u8]) -> Option<Lease> {
        let octets: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
        let address = Ipv4Addr::from(octets);
        if address.is_unspecified() {
            return None;
        }
        let prefix = match self.addresses(MASK).next() {
            Some(mask) => u32::from(mask).leading_ones().try_into().ok()?,
            None => class_of(address),
        };
        // Where these stand the router does not count.
        let routes = self.get(ROUTES).and_then(classless).unwrap_or_else(|| {
            self.addresses(ROUTER)
                .take(1)
                .map(|router| route(Ipv4Addr::UNSPECIFIED, 0, router))
                .collect()
        });
        let mut search = self.get(SEARCH).and_then(domains).unwrap_or_default();
        if search.is_empty() {
            search.extend(
                self.text(DOMAIN)
                    .iter()
                    .flat_map(|domains| domains.split(' '))
                    .map(str::to_owned),
            );
        }
        let mtu = self.get(MTU).and_then(|data| data.try_into().ok());
        Some(Lease {
            address,
            prefix,
            server: self.addresses(SERVER).next()?,
            seconds: self
                .number(LEASE_TIME)
                .filter(|seconds| *seconds != u32::MAX),
            renew: self.number(RENEW),
            rebind: self.number(REBIND),
            routes,
            dns: self.addresses(DNS).map(IpAddr::V4).collect(),
            search,
            host_name: self.text(HOST_NAME),
            mtu: mtu
                .map(|octets| u32::from(u16::from_be_bytes(octets)))
                .filter(|mtu| *mtu >= 576),
        })
    }
}

fn class_of(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}

fn route(to: Ipv4Addr, length: u8, via: Ipv4Addr) -> Route {
    Route {
        destination: network_of((IpAddr::V4(to), length)),
        via: (!via.is_unspecified()).then_some(IpAddr::V4(via)),
        metric: None,
        on_link: false,
    }
}

/// Classless static routes; a broken list is none.
fn classless(mut data: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some(length) = data.first().copied() {
        if length > 32 {
            return None;
        }
        let significant = usize::from(length.div_ceil(8));
        let mut to = [0; 4];
        to[..significant].copy_from_slice(data.get(1..=significant)?);
        let via: [u8; 4] = data
            .get(1 + significant..5 + significant)?
            .try_into()
            .ok()?;
        routes.push(route(to.into(), length, via.into()));
        data = &data[5 + significant..];
    }
    Some(routes)
}

/// Domain names, which may point back into the option.
fn domains(data: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let (name, next) = domain(data, at)?;
        if !name.is_empty() {
            found.push(name);
        }
        at = next;
    }
    Some(found)
}

fn domain(data: &[u8], start: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = start;
    let mut end = None;
    // A pointer goes backwards, so this ends; the bound is for those that do not.
    for _ in 0..128 {
        let length = usize::from(*data.get(at)?);
        match length {
            0 => return Some((labels.join("."), end.unwrap_or(at + 1))),
            1..=63 => {
                let label = std::str::from_utf8(data.get(at + 1..=at + length)?).ok()?;
                let clean = label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
                labels.push(clean.then_some(label)?);
                at += 1 + length;
            }
            _ => {
                end = end.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(*data.get(at + 1)?);
            }
        }
    }
    None
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    /// An answer with these options.
    pub fn answer(kind: u8, xid: u32, address: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[0] = 2;
        bytes[4..8].copy_from_slice(&xid.to_be_bytes());
        bytes[16..20].copy_from_slice(&address);
        bytes[28..34].copy_from_slice(&MAC);
        bytes[236..].copy_from_slice(&COOKIE);
        bytes.extend_from_slice(&[KIND, 1, kind]);
        for (code, data) in options {
            bytes.extend_from_slice(&[*code, u8::try_from(data.len()).unwrap()]);
            bytes.extend_from_slice(data);
        }
        bytes.push(255);
        bytes
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_discover_byte_for_byte() {
        let bytes = encode(Ask::Discover, 0x0102_0304, 7, MAC, Some("vm-a"));
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 7, 0, 0]);
        assert_eq!(bytes[28..34], MAC);
        assert_eq!(bytes[236..243], [99, 130, 83, 99, 53, 1, 1]);
        assert_eq!(bytes[243..252], [61, 7, 1, 2, 0, 0, 0, 0, 1]);
        assert!(bytes.windows(6).any(|window| window == b"\x0c\x04vm-a"));
        assert_eq!(bytes.len(), 300);
    }

    #[test]
    fn requests_say_what_they_are_for() {
        let address = Ipv4Addr::new(10, 0, 2, 2);
        let server = Ipv4Addr::new(10, 0, 2, 1);
        let has =
            |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        let take = encode(Ask::Take { address, server }, 1, 0, MAC, None);
        assert!(has(&take, &[50, 4, 10, 0, 2, 2]) && has(&take, &[54, 4, 10, 0, 2, 1]));
        assert_eq!(take[12..16], [0; 4]);
        let confirm = encode(Ask::Confirm { address }, 1, 0, MAC, None);
        assert!(has(&confirm, &[50, 4, 10, 0, 2, 2]) && !has(&confirm, &[54, 4]));
        let extend = encode(Ask::Extend { address }, 1, 0, MAC, None);
        assert!(!has(&extend, &[50, 4]));
        assert_eq!(extend[12..16], [10, 0, 2, 2]);
    }

    #[test]
    fn a_lease_in_full() {
        let options: [(u8, &[u8]); 10] = [
            (MASK, &[255, 255, 255, 0]),
            (ROUTER, &[10, 0, 2, 1]),
            (DNS, &[10, 96, 0, 10, 1, 1, 1, 1]),
            (SERVER, &[10, 0, 2, 1]),
            (LEASE_TIME, &86_313_600u32.to_be_bytes()),
            (RENEW, &100u32.to_be_bytes()),
            (MTU, &1_400u16.to_be_bytes()),
            (HOST_NAME, b"vm-a"),
            (
                SEARCH,
                b"\x03svc\x07cluster\x05local\x00\x07default\xc0\x00",
            ),
            (DOMAIN, b"ignored"),
        ];
        let bytes = answer(5, 9, [10, 0, 2, 2], &options);
        let Some(Answer::Ack(lease)) = decode(&bytes, 9, MAC) else {
            panic!("no lease");
        };
        assert_eq!(
            (lease.address, lease.prefix),
            (Ipv4Addr::new(10, 0, 2, 2), 24)
        );
        assert_eq!(lease.seconds, Some(86_313_600));
        assert_eq!((lease.renew, lease.rebind), (Some(100), None));
        assert_eq!(
            lease.routes,
            [route(Ipv4Addr::UNSPECIFIED, 0, Ipv4Addr::new(10, 0, 2, 1))]
        );
        assert_eq!(lease.dns, [ip("10.96.0.10"), ip("1.1.1.1")]);
        assert_eq!(
            lease.search,
            ["svc.cluster.local", "default.svc.cluster.local"]
        );
        assert_eq!(lease.host_name.as_deref(), Some("vm-a"));
        assert_eq!(lease.mtu, Some(1_400));
    }

    #[test]
    fn a_lease_without_a_router() {
        let options: [(u8, &[u8]); 2] = [(SERVER, &[192, 168, 123, 1]), (LEASE_TIME, &[0xff; 4])];
        let bytes = answer(2, 9, [192, 168, 123, 5], &options);
        let Some(Answer::Offer(lease)) = decode(&bytes, 9, MAC) else {
            panic!("no offer");
        };
        assert_eq!((lease.prefix, lease.seconds), (24, None));
        assert!(lease.routes.is_empty() && lease.mtu.is_none());
    }

    #[test]
    fn classless_routes_go_before_the_router() {
        let routes = [
            0, 10, 0, 2, 1, 8, 10, 10, 0, 2, 3, 32, 169, 254, 1, 1, 0, 0, 0, 0,
        ];
        let options: [(u8, &[u8]); 3] = [(ROUTER, &[9; 4]), (ROUTES, &routes), (SERVER, &[1; 4])];
        let bytes = answer(5, 9, [10, 0, 2, 2], &options);
        let Some(Answer::Ack(lease)) = decode(&bytes, 9, MAC) else {
            panic!("no lease");
        };
        let text: Vec<String> = lease
            .routes
            .iter()
            .map(|route| {
                format!(
                    "{}/{} {:?}",
                    route.destination.0, route.destination.1, route.via
                )
            })
            .collect();
        assert_eq!(
            text,
            [
                "0.0.0.0/0 Some(10.0.2.1)",
                "10.0.0.0/8 Some(10.0.2.3)",
                "169.254.1.1/32 None"
            ]
        );
    }

    #[test]
    fn answers_that_are_not_ours_or_not_whole() {
        let options: [(u8, &[u8]); 1] = [(SERVER, &[1; 4])];
        let good = answer(5, 9, [10, 0, 2, 2], &options);
        assert!(decode(&good, 9, MAC).is_some());
        assert_eq!(decode(&good, 8, MAC), None);
        assert_eq!(decode(&good, 9, [3; 6]), None);
        assert_eq!(decode(&answer(5, 9, [0; 4], &options), 9, MAC), None);
        assert_eq!(decode(&answer(5, 9, [10, 0, 2, 2], &[]), 9, MAC), None);
        assert_eq!(
            decode(&answer(6, 9, [0; 4], &[]), 9, MAC),
            Some(Answer::Nak)
        );
        for length in 0..good.len() - 6 {
            assert_eq!(decode(&good[..length], 9, MAC), None, "{length}");
        }
        let mut request = good.clone();
        request[0] = 1;
        assert_eq!(decode(&request, 9, MAC), None);
    }

    #[test]
    fn broken_lists() {
        assert_eq!(classless(&[33, 1]), None);
        assert_eq!(classless(&[24, 10, 0]), None);
        assert_eq!(domains(b"\x03sv"), None);
        // A name that points at itself.
        assert_eq!(domains(b"\xc0\x00"), None);
        assert_eq!(domains(b"\x02a;\x00"), None);
    }
}
