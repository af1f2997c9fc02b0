//! What is to be done, decided before anything is touched.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kube::ResourceExt;
use trunkline_fabric::{MacAddr, Reach};

use super::dhcp::{Lease, Lease6, Told};
use super::names;
use super::pod::{PodLink, PodLinks};
use super::resolver::Resolver;
use super::wanted::{Attachment, PortRule, Wanted};
use super::{Binding, Interface, NetworkError, Request};

/// KubeVirt's, where the object names no other.
const INSIDE_V4: &str = "10.0.2.0/24";
const INSIDE_V6: &str = "fd10:0:2::/120";

/// UTS names are no longer.
const LONGEST_HOSTNAME: usize = 63;

/// Of the pod, and the same for all interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surroundings {
    pub(super) resolver: Resolver,
    pub(super) hostname: String,
}

/// One interface of the machine and how it gets there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) binding: Binding,
    /// The machine's.
    pub(super) mac: MacAddr,
    pub(super) pod: PodLink,
    pub(super) bridge: String,
    pub(super) tap: String,
    pub(super) way: Way,
    pub(super) lease: Option<Lease>,
    pub(super) lease6: Option<Lease6>,
}

/// From the machine's bridge to the pod's interface.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Way {
    /// By routing and translation.
    Nat(Nat),
    /// The pod's interface becomes a port of the bridge.
    Port {
        /// Its new name.
        nic: String,
        /// Whence DHCP is served.
        server: Option<Ipv4Addr>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nat {
    pub(super) v4: Option<Inside<Ipv4Addr>>,
    pub(super) v6: Option<Inside<Ipv6Addr>>,
    pub(super) ports: Vec<PortRule>,
}

/// Behind the translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inside<Ip> {
    pub(super) gateway: Ip,
    pub(super) guest: Ip,
    pub(super) prefix: u8,
}

impl Surroundings {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let spec = request.pod.spec.as_ref();
        let hostname = spec
            .and_then(|spec| spec.hostname.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| request.pod.name_any());
        Self {
            resolver: Resolver::read(request.resolv_conf, request.vmi.spec.subdomain.as_deref()),
            hostname: hostname.chars().take(LONGEST_HOSTNAME).collect(),
        }
    }
}

pub(super) fn make(
    wanted: &[Wanted],
    present: &PodLinks,
    surroundings: &Surroundings,
) -> Result<Vec<Plan>, NetworkError> {
    wanted
        .iter()
        .map(|wanted| one(wanted, present, surroundings))
        .collect()
}

fn one(
    wanted: &Wanted,
    present: &PodLinks,
    surroundings: &Surroundings,
) -> Result<Plan, NetworkError> {
    let interface = match &wanted.network {
        Attachment::Primary { named, .. } => named.as_deref().unwrap_or(names::PRIMARY).to_owned(),
        Attachment::Secondary(number) if present.numbered() => names::ordinal(*number),
        Attachment::Secondary(_) => names::hashed(&wanted.name),
    };
    let pod = present.named(&interface)?.clone();
    let mut plan = Plan {
        name: wanted.name.clone(),
        binding: wanted.binding.clone(),
        mac: wanted.mac.or(wanted.known_mac).unwrap_or(pod.link.mac),
        bridge: names::bridge(&interface),
        tap: names::tap(
            &interface,
            matches!(wanted.network, Attachment::Secondary(_)),
        ),
        way: Way::Port {
            nic: names::nic(&interface),
            server: None,
        },
        pod,
        lease: None,
        lease6: None,
    };
    let told = Told {
        mtu: plan.pod.link.mtu,
        resolver: surroundings.resolver.clone(),
        hostname: surroundings.hostname.clone(),
        options: wanted.dhcp.clone(),
    };
    match (&wanted.binding, &wanted.network) {
        (Binding::Masquerade, Attachment::Primary { network, .. }) => {
            let nat = Nat {
                v4: (plan
                    .pod
                    .v4()
                    .map(|_| inside_v4(network.vm_network_cidr.as_deref())))
                .transpose()?,
                v6: (plan
                    .pod
                    .v6()
                    .map(|_| inside_v6(network.vm_ipv6_network_cidr.as_deref())))
                .transpose()?,
                ports: wanted.ports.clone(),
            };
            plan.lease6 = nat.v6.map(|inside| Lease6 {
                address: inside.guest,
                servers: told.resolver.v6.clone(),
            });
            plan.lease = nat.v4.map(|inside| behind_nat(inside, told));
            plan.way = Way::Nat(nat);
        }
        (Binding::Masquerade, Attachment::Secondary(_)) => {
            return Err(NetworkError::MasqueradeElsewhere(wanted.name.clone()));
        }
        (Binding::Bridge, _) => {
            if let Some(address) = plan.pod.v4() {
                let lease = of_pod(wanted, &plan.pod, address, told)?;
                plan.way = Way::Port {
                    nic: names::nic(&interface),
                    server: Some(lease.server),
                };
                plan.lease = Some(lease);
            }
        }
        (Binding::Plugin(_), _) => {}
    }
    Ok(plan)
}

/// Whoever asks is the machine: nobody else is there.
fn behind_nat(inside: Inside<Ipv4Addr>, told: Told) -> Lease {
    Lease {
        client: None,
        address: inside.guest,
        prefix: inside.prefix,
        server: inside.gateway,
        router: Some(inside.gateway),
        routes: Vec::new(),
        told,
    }
}

/// The machine takes the pod's place. Its bridge has the pod's whole network behind it, so only the machine is answered.
///
/// The status does not matter here: on a node that a machine moves to, its server answers the MAC address of the new
/// pod, which the machine does not have unless its specification names it.
fn of_pod(
    wanted: &Wanted,
    pod: &PodLink,
    address: Ipv4Net,
    told: Told,
) -> Result<Lease, NetworkError> {
    let first = pod
        .routes
        .first()
        .ok_or_else(|| NetworkError::NoGateway(pod.link.name.clone()))?;
    let elsewhere = |reach: &&Reach| reach.dest != address.trunc();
    let position = u8::try_from(wanted.position).unwrap_or(u8::MAX);
    Ok(Lease {
        client: Some(wanted.mac.unwrap_or(pod.link.mac)),
        address: address.addr(),
        prefix: address.prefix_len(),
        server: served_from(position),
        router: first.via,
        routes: pod.routes.iter().filter(elsewhere).copied().collect(),
        told,
    })
}

/// The interface's position is written behind a 1.
fn served_from(position: u8) -> Ipv4Addr {
    let digits: u8 = if position < 10 { 10 } else { 100 };
    Ipv4Addr::new(169, 254, 75, position.saturating_add(digits))
}

fn inside_v4(cidr: Option<&str>) -> Result<Inside<Ipv4Addr>, NetworkError> {
    let cidr = cidr.filter(|cidr| !cidr.is_empty()).unwrap_or(INSIDE_V4);
    let net: Ipv4Net = cidr.parse().map_err(|source| NetworkError::Cidr {
        cidr: cidr.to_owned(),
        source,
    })?;
    if net.prefix_len() > 30 {
        return Err(NetworkError::SmallCidr(cidr.to_owned()));
    }
    let network = u32::from(net.network());
    Ok(Inside {
        gateway: Ipv4Addr::from(network + 1),
        guest: Ipv4Addr::from(network + 2),
        prefix: net.prefix_len(),
    })
}

fn inside_v6(cidr: Option<&str>) -> Result<Inside<Ipv6Addr>, NetworkError> {
    let cidr = cidr.filter(|cidr| !cidr.is_empty()).unwrap_or(INSIDE_V6);
    let net: Ipv6Net = cidr.parse().map_err(|source| NetworkError::Cidr {
        cidr: cidr.to_owned(),
        source,
    })?;
    if net.prefix_len() > 126 {
        return Err(NetworkError::SmallCidr(cidr.to_owned()));
    }
    let network = u128::from(net.network());
    Ok(Inside {
        gateway: Ipv6Addr::from(network + 1),
        guest: Ipv6Addr::from(network + 2),
        prefix: net.prefix_len(),
    })
}

impl<Ip: Into<IpAddr> + Copy> Inside<Ip> {
    /// The bridge's address.
    pub(super) fn on_bridge(&self) -> IpNet {
        // The prefix comes from a network of the same family.
        IpNet::new_assert(self.gateway.into(), self.prefix)
    }
}

impl Plan {
    pub(super) fn into_interface(self, tap: OwnedFd) -> Interface {
        Interface {
            name: self.name,
            tap,
            tap_name: self.tap,
            mac: self.mac.octets(),
            mtu: self.pod.link.mtu,
            pod_interface: self.pod.link.name,
            binding: self.binding,
            addresses: self.pod.addresses,
        }
    }
}

#[cfg(test)]
mod tests {
    use trunkline_fabric::Link;
    use trunkline_kubevirt::types::{DhcpOptions, PodNetwork};

    use super::*;

    const POD: MacAddr = MacAddr::new([0x0a, 0x58, 0x0a, 0xf4, 1, 0x18]);
    const SPECIFIED: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);
    const KNOWN: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 2]);

    fn pod(name: &str, addresses: &[&str], routes: &[(&str, Option<&str>)]) -> PodLinks {
        PodLinks(vec![PodLink {
            link: Link {
                index: 2,
                name: name.to_owned(),
                mac: POD,
                mtu: 1400,
            },
            addresses: addresses.iter().map(|net| net.parse().unwrap()).collect(),
            routes: routes
                .iter()
                .map(|(dest, via)| Reach {
                    dest: dest.parse().unwrap(),
                    via: via.map(|ip| ip.parse().unwrap()),
                })
                .collect(),
        }])
    }

    fn bridge(network: Attachment) -> Wanted {
        Wanted {
            name: "blue".to_owned(),
            position: 1,
            binding: Binding::Bridge,
            network,
            mac: None,
            known_mac: None,
            ports: Vec::new(),
            dhcp: DhcpOptions::default(),
        }
    }

    fn primary() -> Attachment {
        Attachment::Primary {
            network: PodNetwork::default(),
            named: None,
        }
    }

    fn plan(wanted: Wanted, present: &PodLinks) -> Plan {
        let surroundings = Surroundings {
            resolver: Resolver::read("nameserver 10.96.0.10\n", None),
            hostname: "vm".to_owned(),
        };
        make(&[wanted], present, &surroundings).unwrap().remove(0)
    }

    /// The routes of the record's fourth case.
    const ROUTES: [(&str, Option<&str>); 3] = [
        ("0.0.0.0/0", Some("10.245.2.1")),
        ("10.245.2.0/24", Some("10.245.2.1")),
        ("10.245.2.1/32", None),
    ];

    #[test]
    fn a_mac_address_is_specified_or_known_or_the_pods() {
        let present = pod("eth0", &["10.245.2.17/24"], &ROUTES);
        let cases = [
            (None, None, POD, POD),
            (None, Some(KNOWN), KNOWN, POD),
            (Some(SPECIFIED), Some(KNOWN), SPECIFIED, SPECIFIED),
        ];
        for (mac, known_mac, expected, answered) in cases {
            let wanted = Wanted {
                mac,
                known_mac,
                ..bridge(primary())
            };
            let plan = plan(wanted, &present);
            assert_eq!(plan.mac, expected);
            assert_eq!(plan.lease.unwrap().client, Some(answered));
        }
    }

    #[test]
    fn routes_are_passed_on_except_that_to_the_own_network() {
        let plan = plan(
            bridge(primary()),
            &pod("eth0", &["10.245.2.17/24"], &ROUTES),
        );
        let lease = plan.lease.unwrap();
        assert_eq!(lease.router, Some([10, 245, 2, 1].into()));
        let passed: Vec<_> = lease.routes.iter().map(|r| r.dest.to_string()).collect();
        assert_eq!(passed, ["0.0.0.0/0", "10.245.2.1/32"]);
        assert_eq!(lease.server, Ipv4Addr::new(169, 254, 75, 11));
    }

    #[test]
    fn names_follow_multus() {
        let secondary = bridge(Attachment::Secondary(2));
        let numbered = plan(secondary.clone(), &pod("net2", &[], &[]));
        assert_eq!(numbered.bridge, "k6t-net2");
        assert_eq!(numbered.tap, "tap2");
        let hashed = plan(secondary, &pod("pod16477688c0e", &[], &[]));
        assert_eq!(hashed.tap, "tap16477688c0e");
        let named = Attachment::Primary {
            network: PodNetwork::default(),
            named: Some("ovn-udn1".to_owned()),
        };
        let primary = plan(bridge(named), &pod("ovn-udn1", &[], &[]));
        assert_eq!(
            (primary.bridge.as_str(), primary.tap.as_str()),
            ("k6t-ovn-udn1", "tap0")
        );
    }

    #[test]
    fn networks_inside_have_two_addresses_at_least() {
        let inside = inside_v4(Some("192.168.9.77/30")).unwrap();
        assert_eq!(inside.guest, Ipv4Addr::new(192, 168, 9, 78));
        assert!(inside_v4(Some("192.168.9.76/31")).is_err());
        assert_eq!(
            inside_v6(None).unwrap().guest,
            "fd10:0:2::2".parse::<Ipv6Addr>().unwrap()
        );
        assert!(inside_v6(Some("fd00::/127")).is_err());
        assert!(inside_v6(Some("10.0.0.0/8")).is_err());
    }

    #[test]
    fn servers_have_their_interfaces_number() {
        assert_eq!(served_from(0).octets()[3], 10);
        assert_eq!(served_from(9).octets()[3], 19);
        assert_eq!(served_from(10).octets()[3], 110);
    }
}
