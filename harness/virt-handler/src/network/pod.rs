//! What the CNI plugins have put into the pod.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use trunkline_fabric::{Link, NetNs, Reach};

use super::NetworkError;
use super::names;

/// An interface of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodLink {
    pub(super) link: Link,
    /// Without link-local ones.
    pub(super) addresses: Vec<IpNet>,
    /// IPv4.
    pub(super) routes: Vec<Reach>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PodLinks(pub(super) Vec<PodLink>);

pub(super) async fn look(netns: &NetNs) -> Result<PodLinks, NetworkError> {
    let links = netns.links().await?;
    let mut found = Vec::new();
    for link in links.list().await? {
        let mut addresses = links.addresses(link.index).await?;
        addresses.retain(is_global);
        let routes = links.routes(link.index).await?;
        found.push(PodLink {
            link,
            addresses,
            routes,
        });
    }
    Ok(PodLinks(found))
}

impl PodLinks {
    pub(super) fn named(&self, name: &str) -> Result<&PodLink, NetworkError> {
        self.0
            .iter()
            .find(|pod| pod.link.name == name)
            .ok_or_else(|| NetworkError::NoLink(name.to_owned()))
    }

    /// True if Multus chose the names.
    pub(super) fn numbered(&self) -> bool {
        self.0.iter().any(|pod| names::is_ordinal(&pod.link.name))
    }
}

impl PodLink {
    pub(super) fn v4(&self) -> Option<Ipv4Net> {
        self.addresses.iter().find_map(|net| match net {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        })
    }

    pub(super) fn v6(&self) -> Option<Ipv6Net> {
        self.addresses.iter().find_map(|net| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some(*net),
        })
    }
}

fn is_global(net: &IpNet) -> bool {
    match net {
        IpNet::V4(net) => {
            let ip = net.addr();
            !(ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_unspecified())
        }
        IpNet::V6(net) => {
            let ip = net.addr();
            !(ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified())
        }
    }
}
