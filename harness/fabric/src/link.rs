//! Interfaces, addresses, routes and neighbours of one namespace, through netlink.

mod bridge;
mod look;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use futures::TryStreamExt;
use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMetric, RouteScope};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    new_connection,
};

use crate::{Error, MacAddr, NetNs, Result};

pub use bridge::Device;
pub use look::{Link, Reach};

/// In front of what an MTU counts.
const ETHERNET_HEADER: u32 = 14;

/// A netlink socket in a namespace.
#[derive(Debug)]
pub struct Links(Handle);

/// One end of a new pair of interfaces.
#[derive(Debug, Clone)]
pub struct End<'a> {
    pub name: &'a str,
    /// `None` lets the kernel choose one.
    pub mac: Option<MacAddr>,
    pub mtu: u16,
}

impl<'a> End<'a> {
    pub fn new(name: &'a str, mac: impl Into<Option<MacAddr>>, mtu: u16) -> Self {
        Self {
            name,
            mac: mac.into(),
            mtu,
        }
    }

    /// Of any kind of builder.
    fn fill<T>(&self, builder: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        let builder = builder.name(self.name).mtu(self.mtu.into());
        match self.mac {
            Some(mac) => builder.address(mac.octets().to_vec()),
            None => builder,
        }
    }
}

/// Where a route leads.
#[derive(Debug, Clone, Default)]
pub struct Hop {
    pub via: Option<IpAddr>,
    pub mtu: Option<u16>,
    pub source: Option<Ipv4Addr>,
}

impl Hop {
    pub fn via(gateway: impl Into<IpAddr>) -> Self {
        Self {
            via: Some(gateway.into()),
            ..Self::default()
        }
    }
}

impl Links {
    pub(crate) async fn open(netns: &NetNs) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let opened = netns.run(move || {
            let _entered = runtime.enter();
            let (connection, handle, _) = new_connection()?;
            runtime.spawn(connection);
            Ok(handle)
        });
        opened
            .await?
            .map(Self)
            .map_err(Error::io("open a netlink socket"))
    }

    /// A veth pair, one end here and the other in another namespace, both up.
    pub async fn add_pair(&self, here: End<'_>, there: End<'_>, other: &NetNs) -> Result<()> {
        let peer = there
            .fill(LinkMessageBuilder::<LinkUnspec>::new())
            .setns_by_fd(other.fd().as_raw_fd())
            .build();
        let message = here
            .fill(LinkMessageBuilder::<LinkVeth>::new_with_info_kind(
                InfoKind::Veth,
            ))
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .up()
            .build();
        let action = || format!("make the interfaces {} and {}", here.name, there.name);
        self.add(message, action).await?;
        // The kernel refuses to switch an end on before it knows the other.
        other.links().await?.up(there.name).await
    }

    /// A learning switch.
    pub(crate) async fn add_bridge(&self, name: &str, mtu: u16) -> Result<()> {
        let message = LinkBridge::new(name)
            // Snooping would hold back multicast until somebody asks for it, and nobody asks.
            .mcast_snooping(false)
            .mtu(mtu.into())
            .up()
            .build();
        self.add(message, || format!("make the bridge {name}"))
            .await
    }

    async fn add(&self, message: LinkMessage, action: impl Fn() -> String) -> Result<()> {
        let request = self.0.link().add(message);
        request.execute().await.map_err(Error::netlink(action))
    }

    /// Makes an interface a port of a bridge.
    pub async fn attach(&self, name: &str, bridge: &str) -> Result<()> {
        let (port, bridge_index) = (self.index(name).await?, self.index(bridge).await?);
        let message = LinkUnspec::new_with_index(port)
            .controller(bridge_index)
            .build();
        self.set(message, || format!("attach {name} to {bridge}"))
            .await
    }

    pub async fn up(&self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).up().build();
        self.set(message, || format!("switch {name} on")).await
    }

    /// Has the kernel cut TCP's data into packets before they reach the interface. Otherwise the userspace datapath
    /// gets up to 64 KiB at once and cuts it only where it leaves a node, too late for OVN's routers: they compare the
    /// length with their MTU and drop it.
    pub async fn cut_segments(&self, index: u32, mtu: u16) -> Result<()> {
        let longest = u32::from(mtu) + ETHERNET_HEADER;
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::GsoMaxSegs(1))
            // Nobody has counted the segments of what a virtual machine sends.
            .append_extra_attribute(LinkAttribute::GsoMaxSize(longest + 1))
            .build();
        self.set(message, || "limit the segments of an interface".to_owned())
            .await
    }

    /// Gives an interface, which must be down for kernels before 6.2, another name and switches it on.
    pub(crate) async fn rename(&self, index: u32, name: &str) -> Result<()> {
        let action = || format!("name an interface {name}");
        let down = LinkUnspec::new_with_index(index).down().build();
        self.set(down, action).await?;
        let named = LinkUnspec::new_with_index(index).name(name).up().build();
        self.set(named, action).await
    }

    async fn set(&self, message: LinkMessage, action: impl Fn() -> String) -> Result<()> {
        let request = self.0.link().set(message);
        request.execute().await.map_err(Error::netlink(action))
    }

    pub async fn index(&self, name: &str) -> Result<u32> {
        let missing = || format!("find the interface {name}");
        let mut found = self.0.link().get().match_name(name.to_owned()).execute();
        let link = found.try_next().await.map_err(Error::netlink(missing))?;
        link.map(|link| link.header.index)
            .ok_or_else(|| Error::io(missing())(Errno::ENODEV.into()))
    }

    /// Removes an interface; fine if there is none.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_name(name).build();
        let mut request = self.0.link().del(0);
        *request.message_mut() = message;
        match request.execute().await {
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(()),
            result => result.map_err(Error::netlink(|| format!("remove the interface {name}"))),
        }
    }

    pub async fn add_address(&self, index: u32, address: IpNet) -> Result<()> {
        let request = self
            .0
            .address()
            .add(index, address.addr(), address.prefix_len())
            .replace();
        let action = || format!("assign {address}");
        request.execute().await.map_err(Error::netlink(action))
    }

    /// A route through an interface; the same again changes nothing.
    pub async fn add_route(&self, index: u32, dest: IpNet, hop: &Hop) -> Result<()> {
        let mut message = match dest {
            IpNet::V4(net) => RouteMessageBuilder::<Ipv4Addr>::new()
                .output_interface(index)
                .destination_prefix(net.network(), net.prefix_len())
                .build(),
            IpNet::V6(net) => RouteMessageBuilder::<Ipv6Addr>::new()
                .output_interface(index)
                .destination_prefix(net.network(), net.prefix_len())
                .build(),
        };
        let attributes = &mut message.attributes;
        if let Some(via) = hop.via {
            attributes.push(RouteAttribute::Gateway(via.into()));
        } else {
            message.header.scope = RouteScope::Link;
        }
        if let Some(source) = hop.source {
            attributes.push(RouteAttribute::PrefSource(IpAddr::V4(source).into()));
        }
        if let Some(mtu) = hop.mtu {
            attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu.into())]));
        }
        let action = || format!("add the route to {dest}");
        let request = self.0.route().add(message).replace();
        request.execute().await.map_err(Error::netlink(action))
    }

    /// A neighbour that need not be asked for.
    pub async fn add_neighbour(&self, index: u32, ip: IpAddr, mac: MacAddr) -> Result<()> {
        let request = self.0.neighbours().add(index, ip);
        let request = request.link_layer_address(&mac.octets()).replace();
        let action = || format!("add the neighbour {ip}");
        request.execute().await.map_err(Error::netlink(action))
    }
}

fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(Errno::from_raw(-message.raw_code())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Namespaces need root; the lab has it inside.
    async fn two() -> Option<(NetNs, NetNs)> {
        match (NetNs::create().await, NetNs::create().await) {
            (Ok(one), Ok(two)) => Some((one, two)),
            (Err(error), _) | (_, Err(error)) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    #[tokio::test]
    async fn a_pair_connects_two_namespaces() {
        let Some((left, right)) = two().await else {
            return;
        };
        let mac = MacAddr::new([2, 0, 0, 0, 0, 7]);
        let links = left.links().await.unwrap();
        links
            .add_pair(
                End::new("a0", mac, 1400),
                End::new("b0", None, 1400),
                &right,
            )
            .await
            .unwrap();
        let (here, there) = (links, right.links().await.unwrap());
        for (links, name, ip) in [(here, "a0", "10.9.0.1/24"), (there, "b0", "10.9.0.2/24")] {
            let index = links.index(name).await.unwrap();
            links.add_address(index, ip.parse().unwrap()).await.unwrap();
        }
        let server = right
            .run(|| std::net::UdpSocket::bind("10.9.0.2:5000").unwrap())
            .await
            .unwrap();
        server
            .set_read_timeout(Some(std::time::Duration::from_secs(5)))
            .unwrap();
        left.run(|| {
            let client = std::net::UdpSocket::bind("10.9.0.1:0").unwrap();
            client.send_to(b"hello", "10.9.0.2:5000").unwrap();
        })
        .await
        .unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        assert_eq!(from.ip().to_string(), "10.9.0.1");

        here.remove("a0").await.unwrap();
        here.remove("a0").await.unwrap();
        assert!(there.index("b0").await.is_err());
        let error = here.index("a0").await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot find the interface a0: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn everybody_may_ping_in_a_new_namespace() {
        let Some((netns, _)) = two().await else {
            return;
        };
        let range = netns
            .run(|| std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap())
            .await
            .unwrap();
        let mut range = range.split_whitespace();
        assert_eq!(range.next(), Some("0"));
        assert!(range.next().unwrap().parse::<u32>().unwrap() >= 65535);
    }
}
