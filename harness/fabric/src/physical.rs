//! The physical network: one switch, and a wire to everything that is on the network.
//!
//! The switch is a bridge of the kernel without VLAN filtering: it passes tagged frames untouched, and traffic between
//! nodes crosses user space only in the nodes. What has a VLAN or no address of its own is the business of whatever is
//! at the end of a wire.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};

use ipnet::{IpNet, Ipv4Net};

use crate::link::{End, Links};
use crate::{MacAddr, NetNs, PhysicalSpec, Result};

const SWITCH: &str = "switch";

/// The interface that everything connected has.
pub(crate) const NIC: &str = "eth0";

const ROUTER: [(&str, &str); 1] = [("ipv4/ip_forward", "1")];

#[derive(Debug)]
pub(crate) struct PhysicalNetwork {
    switch: NetNs,
    outside: NetNs,
    mtu: u16,
    wires: AtomicU32,
}

impl PhysicalNetwork {
    /// The switch, and the outside host that is the nodes' gateway.
    pub(crate) async fn build(spec: &PhysicalSpec) -> Result<Self> {
        let (switch, outside) = tokio::try_join!(NetNs::create(), NetNs::create())?;
        switch.links().await?.add_bridge(SWITCH, spec.mtu).await?;
        let network = Self {
            switch,
            outside,
            mtu: spec.mtu,
            wires: AtomicU32::new(0),
        };
        network.outside.set(&ROUTER).await?;
        network
            .connect(&network.outside, outside_mac(spec.gateway))
            .await?;
        let links = network.outside.links().await?;
        let address = Ipv4Net::new(spec.gateway, spec.subnet.prefix_len());
        // The length is that of a valid network.
        if let Ok(address) = address {
            assign(links, NIC, address.into()).await?;
        }
        Ok(network)
    }

    /// Lays a wire from the switch to a namespace, where it ends in `eth0`.
    pub(crate) async fn connect(&self, netns: &NetNs, mac: MacAddr) -> Result<()> {
        let number = self.wires.fetch_add(1, Ordering::Relaxed);
        let port = format!("wire{number}");
        let here = End::new(&port, None, self.mtu);
        let links = self.switch.links().await?;
        links
            .add_pair(here, End::new(NIC, mac, self.mtu), netns)
            .await?;
        links.attach(&port, SWITCH).await
    }

    pub(crate) fn outside(&self) -> &NetNs {
        &self.outside
    }
}

pub(crate) async fn assign(links: &Links, ifname: &str, address: IpNet) -> Result<u32> {
    let index = links.index(ifname).await?;
    links.add_address(index, address).await?;
    Ok(index)
}

/// As container engines name them.
fn outside_mac(ip: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = ip.octets();
    MacAddr::new([0x02, 0x42, a, b, c, d])
}
