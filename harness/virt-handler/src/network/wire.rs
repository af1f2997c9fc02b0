//! Doing what is planned.

use std::net::IpAddr;
use std::os::fd::OwnedFd;

use trunkline_fabric::{Device, End, Links, MacAddr};

use super::plan::{Nat, Plan, Way};
use super::{NetworkError, Request, nft};

/// The bridge of a masquerade binding has the same everywhere, so that a machine that moves finds its gateway again.
const GATEWAY_MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 0]);

/// Only the interface that has an address answers for it: the pod's old one keeps its address, and the machine, which has
/// the same, must be the one who is found.
const OWN_ADDRESSES_ONLY: [(&str, &str); 1] = [("ipv4/conf/all/arp_ignore", "1")];

/// Makes bridge and tap and returns the tap's end.
pub(super) async fn connect(request: &Request<'_>, plan: &Plan) -> Result<OwnedFd, NetworkError> {
    let links = request.netns.links().await?;
    match &plan.way {
        Way::Nat(nat) => {
            make_bridge(links, plan, GATEWAY_MAC).await?;
            let tap = make_tap(request, links, plan).await?;
            translate(request, links, plan, nat).await?;
            Ok(tap)
        }
        Way::Port { nic, server } => {
            let mac = random_mac();
            make_bridge(links, plan, mac).await?;
            links.clear_addresses(plan.pod.link.index).await?;
            links
                .enslave(plan.pod.link.index, nic, mac, &plan.bridge)
                .await?;
            if let Some(server) = server {
                let index = links.index(&plan.bridge).await?;
                links.add_address(index, IpAddr::V4(*server).into()).await?;
            }
            let tap = make_tap(request, links, plan).await?;
            keep_place(links, plan).await?;
            if server.is_some() {
                request.netns.set(&OWN_ADDRESSES_ONLY).await?;
            }
            Ok(tap)
        }
    }
}

async fn make_bridge(links: &Links, plan: &Plan, mac: MacAddr) -> Result<(), NetworkError> {
    let end = End::new(&plan.bridge, mac, mtu(plan));
    links.add_device(Device::Bridge, &end).await?;
    Ok(links.up(&plan.bridge).await?)
}

async fn make_tap(
    request: &Request<'_>,
    links: &Links,
    plan: &Plan,
) -> Result<OwnedFd, NetworkError> {
    let tap = request.netns.tap(&plan.tap).await?;
    links
        .set_mtu(links.index(&plan.tap).await?, mtu(plan))
        .await?;
    links.attach(&plan.tap, &plan.bridge).await?;
    links.up(&plan.tap).await?;
    Ok(tap)
}

/// Something with the pod interface's name, address and MAC address, for whoever looks for them; it is down. A dummy
/// where the kernel has them, else a bridge without ports, which does the same.
async fn keep_place(links: &Links, plan: &Plan) -> Result<(), NetworkError> {
    let pod = &plan.pod.link;
    let end = End::new(&pod.name, pod.mac, mtu(plan));
    if !links.add_device(Device::Dummy, &end).await? {
        links.add_device(Device::Bridge, &end).await?;
    }
    let index = links.index(&pod.name).await?;
    for address in &plan.pod.addresses {
        links.add_address(index, *address).await?;
    }
    Ok(())
}

async fn translate(
    request: &Request<'_>,
    links: &Links,
    plan: &Plan,
    nat: &Nat,
) -> Result<(), NetworkError> {
    let index = links.index(&plan.bridge).await?;
    let mut settings = Vec::new();
    if let Some(inside) = nat.v4 {
        links.add_address(index, inside.on_bridge()).await?;
        // What is sent to 127.0.0.1 inside the pod may reach the machine.
        let local = format!("ipv4/conf/{}/route_localnet", plan.bridge);
        settings.push((local, "1"));
        settings.push(("ipv4/ip_forward".to_owned(), "1"));
    }
    if let Some(inside) = nat.v6 {
        links.add_address(index, inside.on_bridge()).await?;
        settings.push(("ipv6/conf/all/forwarding".to_owned(), "1"));
    }
    request.netns.set(&settings).await?;
    let rules = nft::rules(nat, &plan.bridge, &plan.pod.link.name);
    nft::apply(request.netns, request.nft, rules).await
}

/// Interfaces of pods are Ethernet, whose MTU fits.
fn mtu(plan: &Plan) -> u16 {
    u16::try_from(plan.pod.link.mtu).unwrap_or(u16::MAX)
}

/// For one interface, and not from any vendor.
fn random_mac() -> MacAddr {
    let mut octets: [u8; 6] = rand::random();
    octets[0] = octets[0] & 0xfc | 2;
    MacAddr::new(octets)
}
