//! Plugging ports in and out, as the CNI plugin of OVN-Kubernetes does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ovsdb::{Datum, Row};

use crate::link::{End, Hop, Links};
use crate::start::RunningNode;
use crate::vswitch::{BridgePort, INTEGRATION};
use crate::{Plugged, Port, Result};

/// As long as the CNI plugin waits.
const LIMIT: Duration = Duration::from_secs(120);

/// The kernel's limit for interface names.
const MAX_IFNAME: usize = 15;

/// Only on interfaces of networks other than the default one.
const NETWORK: &str = "k8s.ovn.org/network";

/// Distinguishes interfaces until they have their name.
static UNNAMED: AtomicU32 = AtomicU32::new(0);

pub(crate) async fn plug(node: &RunningNode, port: &Port) -> Result<Plugged> {
    let plugged = make_interface(node, port).await?;
    let connected = connect(node, port, &plugged).await;
    if let Err(error) = connected {
        // The caller may try again, and OVN must not see the port twice. What failed is the first error, not this.
        let _ = unplug(node, std::slice::from_ref(&plugged.host_ifname)).await;
        return Err(error);
    }
    Ok(plugged)
}

async fn connect(node: &RunningNode, port: &Port, plugged: &Plugged) -> Result<()> {
    let row = BridgePort {
        name: &plugged.host_ifname,
        interface: Row::new().with("external_ids", Datum::map(external_ids(port))),
        port: Row::new().with("other_config", Datum::map([("transient", "true")])),
    };
    node.vswitch.add_port(INTEGRATION, row).await?;
    tokio::try_join!(
        node.vswitch.installed(&plugged.host_ifname, true, LIMIT),
        configure(port, plugged.ifindex),
    )?;
    Ok(())
}

pub(crate) async fn unplug(node: &RunningNode, names: &[String]) -> Result<()> {
    let logical = node.vswitch.external_ids_of(names, "iface-id");
    node.vswitch.remove_ports(INTEGRATION, names).await?;
    if !logical.is_empty() {
        node.southbound
            .released(node.node.chassis, &logical)
            .await?;
    }
    let links = node.node.netns.links().await?;
    for name in names {
        links.remove(name).await?;
    }
    Ok(())
}

/// Names of the sandbox's host interfaces.
pub(crate) fn interfaces_of(node: &RunningNode, sandbox: &str) -> Vec<String> {
    node.vswitch.interfaces_with("sandbox", sandbox)
}

async fn make_interface(node: &RunningNode, port: &Port) -> Result<Plugged> {
    let unnamed = format!("unnamed{}", UNNAMED.fetch_add(1, Ordering::Relaxed));
    let links = node.node.netns.links().await?;
    let here = End::new(&unnamed, None, port.mtu);
    let there = End::new(&port.ifname, port.mac, port.mtu);
    links.add_pair(here, there, &port.netns).await?;
    let named = name_interface(links, &unnamed, port).await;
    if named.is_err() {
        // As above.
        let _ = links.remove(&unnamed).await;
    }
    named
}

/// The name depends on what the kernel chose for the other end.
async fn name_interface(links: &Links, unnamed: &str, port: &Port) -> Result<Plugged> {
    let (index, ifindex) = tokio::try_join!(links.index(unnamed), async {
        port.netns.links().await?.index(&port.ifname).await
    })?;
    let host_ifname = host_ifname(port, ifindex);
    links.rename(index, &host_ifname).await?;
    Ok(Plugged {
        host_ifname,
        ifindex,
    })
}

/// The sandbox's id as far as it fits; on further networks the index of the pod's interface tells them apart.
fn host_ifname(port: &Port, ifindex: u32) -> String {
    let suffix = if port.external_ids.contains_key(NETWORK) {
        format!("_{ifindex}")
    } else {
        String::new()
    };
    let room = MAX_IFNAME.saturating_sub(suffix.len());
    let id: String = port.sandbox.chars().take(room).collect();
    id + &suffix
}

fn external_ids(port: &Port) -> BTreeMap<String, String> {
    let mut ids = port.external_ids.clone();
    let mut add = |key: &str, value: String| ids.insert(key.to_owned(), value);
    add("attached_mac", port.mac.to_string());
    add("iface-id", port.iface_id.clone());
    add("iface-id-ver", port.iface_id_ver.clone());
    add("sandbox", port.sandbox.clone());
    if !port.addresses.is_empty() {
        let addresses: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
        add("ip_addresses", addresses.join(","));
    }
    if port.external_ids.contains_key(NETWORK) {
        add("pod-if-name", port.ifname.clone());
    }
    ids
}

/// The pod's side.
async fn configure(port: &Port, ifindex: u32) -> Result<()> {
    let links = port.netns.links().await?;
    if !port.gateways.is_empty() || !port.routes.is_empty() {
        links.cut_segments(ifindex, port.mtu).await?;
    }
    for address in &port.addresses {
        links.add_address(ifindex, *address).await?;
    }
    for gateway in &port.gateways {
        let default = if gateway.is_ipv4() {
            IpNet::V4(Ipv4Net::default())
        } else {
            IpNet::V6(Ipv6Net::default())
        };
        links
            .add_route(ifindex, default, &Hop::via(*gateway))
            .await?;
    }
    for route in &port.routes {
        links
            .add_route(ifindex, route.dest, &Hop::via(route.via))
            .await?;
    }
    Ok(())
}
