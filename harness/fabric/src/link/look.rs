//! What a namespace has.

use std::net::Ipv4Addr;

use futures::{StreamExt, TryStreamExt};
use ipnet::{IpNet, Ipv4Net};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};

use super::Links;
use crate::{Error, MacAddr, Result};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// Loopback interfaces have one of zeros.
    pub mac: MacAddr,
    pub mtu: u32,
}

/// A route through a known interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    pub dest: Ipv4Net,
    /// `None` if the destination is on the link.
    pub via: Option<Ipv4Addr>,
}

impl Links {
    /// All interfaces that look like Ethernet.
    pub async fn list(&self) -> Result<Vec<Link>> {
        let found: Vec<_> = self
            .0
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(Error::netlink(|| "list the interfaces".to_owned()))?;
        Ok(found.into_iter().filter_map(link).collect())
    }

    /// Of one interface, in the kernel's order.
    pub async fn addresses(&self, index: u32) -> Result<Vec<IpNet>> {
        let found = self.address_messages(index).await?;
        Ok(found.iter().filter_map(address).collect())
    }

    /// Takes all addresses from an interface.
    pub async fn clear_addresses(&self, index: u32) -> Result<()> {
        for message in self.address_messages(index).await? {
            let request = self.0.address().del(message);
            let action = || "remove an address".to_owned();
            request.execute().await.map_err(Error::netlink(action))?;
        }
        Ok(())
    }

    async fn address_messages(&self, index: u32) -> Result<Vec<AddressMessage>> {
        let request = self.0.address().get().set_link_index_filter(index);
        request
            .execute()
            .try_collect()
            .await
            .map_err(Error::netlink(|| "list the addresses".to_owned()))
    }

    /// IPv4 routes of the main table through an interface, in the kernel's order.
    pub async fn routes(&self, index: u32) -> Result<Vec<Reach>> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let found = self.0.route().get(all).execute();
        found
            .try_filter_map(async |message| Ok(reach(&message, index)))
            .boxed()
            .try_collect()
            .await
            .map_err(Error::netlink(|| "list the routes".to_owned()))
    }
}

fn link(message: LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: MacAddr::new([0; 6]),
        mtu: 0,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(octets) => {
                link.mac = MacAddr::new(octets.try_into().ok()?);
            }
            _ => {}
        }
    }
    Some(link)
}

fn address(message: &AddressMessage) -> Option<IpNet> {
    // On links between two, `Address` is the other's.
    let own = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    };
    let only = |attribute: &AddressAttribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    };
    let attributes = &message.attributes;
    let ip = attributes
        .iter()
        .find_map(own)
        .or_else(|| attributes.iter().find_map(only))?;
    IpNet::new(ip, message.header.prefix_len).ok()
}

fn reach(message: &RouteMessage, index: u32) -> Option<Reach> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut dest = Ipv4Addr::UNSPECIFIED;
    let (mut via, mut through) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(interface) => through = Some(*interface),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => dest = *ip,
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = Some(*ip),
            _ => {}
        }
    }
    let dest = Ipv4Net::new(dest, header.destination_prefix_length).ok()?;
    (through == Some(index)).then_some(Reach { dest, via })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, End, Hop, NetNs};

    #[tokio::test]
    async fn what_is_made_is_seen() {
        let netns = match NetNs::create().await {
            Ok(netns) => netns,
            Err(error) => {
                eprintln!("skipped: {error}");
                return;
            }
        };
        let links = netns.links().await.unwrap();
        let mac = MacAddr::new([2, 0, 0, 0, 0, 7]);
        let end = End::new("b0", mac, 1300);
        assert!(links.add_device(Device::Bridge, &end).await.unwrap());
        links.up("b0").await.unwrap();
        let index = links.index("b0").await.unwrap();
        let found = links.list().await.unwrap();
        let expected = Link {
            index,
            name: "b0".to_owned(),
            mac,
            mtu: 1300,
        };
        assert!(found.contains(&expected), "{found:?}");

        let own: IpNet = "10.9.0.2/24".parse().unwrap();
        links.add_address(index, own).await.unwrap();
        let far: IpNet = "10.8.0.0/16".parse().unwrap();
        let hop = Hop::via(Ipv4Addr::new(10, 9, 0, 1));
        links.add_route(index, far, &hop).await.unwrap();
        assert!(links.addresses(index).await.unwrap().contains(&own));
        let reach = |dest: &str, via: Option<[u8; 4]>| Reach {
            dest: dest.parse().unwrap(),
            via: via.map(Ipv4Addr::from),
        };
        assert_eq!(
            links.routes(index).await.unwrap(),
            [
                reach("10.8.0.0/16", Some([10, 9, 0, 1])),
                reach("10.9.0.0/24", None)
            ]
        );
        // Of another interface, nothing.
        assert_eq!(links.routes(1).await.unwrap(), []);

        links.clear_addresses(index).await.unwrap();
        assert_eq!(links.addresses(index).await.unwrap(), []);
        assert_eq!(links.routes(index).await.unwrap(), []);
    }
}
