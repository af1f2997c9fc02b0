//! A node's way into the pod network (its management port) and the pod network's way out (breth0, shared with the
//! node's gateway router).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::time::Duration;

use ipnet::Ipv4Net;
use ovsdb::{Datum, Row};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::flows::{Masquerade, SharedGateway};
use crate::ingress::Ingress;
use crate::link::Hop;
use crate::physical::{NIC, assign};
use crate::start::{RunningNode, VSWITCHD_CONTROL};
use crate::vswitch::{BridgePort, EXTERNAL, INTEGRATION};
use crate::{Error, MacAddr, Result, unixctl};

/// Parameters of the node side of the default network. The logical side (port `k8s-<node>` on the node's switch,
/// the gateway router and its localnet port `breth0_<node>`) must be in the zone's Northbound database, or be
/// written concurrently: this waits for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeGateway {
    pub mgmt_mac: MacAddr,
    /// The node's address in its own pod subnet, with that subnet's length: `10.244.0.2/24`.
    pub mgmt_ip: Ipv4Net,
    /// The router's address in that subnet: `10.244.0.1`.
    pub mgmt_gateway: Ipv4Addr,
    pub mtu: u16,
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// `169.254.0.0/17`; its first addresses stand in for the gateway router (`.1`), the node (`.2`) and the node's
    /// next hop towards services (`.4`).
    pub masquerade: Ipv4Net,
}

/// The default network's; other networks have their id in place of the 0.
const MANAGEMENT_PORT: &str = "ovn-k8s-mp0";

/// OVN makes the patch port when the rows that ask for it have come through.
const LIMIT: Duration = Duration::from_secs(30);

/// Sets both up.
pub(crate) async fn set_up(node: &RunningNode, gateway: &NodeGateway) -> Result<()> {
    let masquerade = Masquerade::of(gateway.masquerade);
    tokio::try_join!(
        management_port(node, gateway, masquerade),
        shared_bridge(node, gateway, masquerade),
    )?;
    Ok(())
}

async fn management_port(
    node: &RunningNode,
    gateway: &NodeGateway,
    masquerade: Masquerade,
) -> Result<()> {
    let name = MANAGEMENT_PORT;
    let iface_id = format!("k8s-{}", node.node.name);
    let interface = Row::new()
        .with("type", "internal")
        .with("mac", gateway.mgmt_mac.to_string())
        .with("mtu_request", i64::from(gateway.mtu))
        .with("external_ids", Datum::map([("iface-id", iface_id)]));
    let port = BridgePort {
        name,
        interface,
        port: Row::new(),
    };
    node.vswitch.add_port(INTEGRATION, port).await?;
    node.vswitch.installed(name, true, LIMIT).await?;

    let links = node.node.netns.links().await?;
    links.up(name).await?;
    let index = assign(links, name, gateway.mgmt_ip.into()).await?;
    links.cut_segments(index, gateway.mtu).await?;
    let hop = Hop::via(gateway.mgmt_gateway);
    for dest in [gateway.cluster_cidr, Ipv4Net::from(masquerade.host_local)] {
        links.add_route(index, dest.into(), &hop).await?;
    }
    Ok(())
}

async fn shared_bridge(
    node: &RunningNode,
    gateway: &NodeGateway,
    masquerade: Masquerade,
) -> Result<()> {
    let rules = flows(node, gateway).await?.rules(&BTreeSet::new());
    tokio::try_join!(
        async {
            pin_address(node).await?;
            install(node, &rules).await
        },
        masquerade_addresses(node, gateway, masquerade),
    )?;
    Ok(())
}

/// Replaces what leads to services from outside.
pub(crate) async fn set_ingress(
    node: &RunningNode,
    gateway: &NodeGateway,
    ingress: &BTreeSet<Ingress>,
) -> Result<()> {
    let rules = flows(node, gateway).await?.rules(ingress);
    install(node, &rules).await
}

async fn flows(node: &RunningNode, gateway: &NodeGateway) -> Result<SharedGateway> {
    let patch = format!("patch-{EXTERNAL}_{}-to-{INTEGRATION}", node.node.name);
    let (phys, patch) = tokio::try_join!(
        node.vswitch.installed(NIC, false, LIMIT),
        node.vswitch.installed(&patch, false, LIMIT),
    )?;
    Ok(SharedGateway {
        phys,
        patch,
        mac: node.node.mac,
        node_ip: node.node.ip.addr(),
        node_net: node.node.ip.trunc(),
        service_cidr: gateway.service_cidr,
        masquerade: Masquerade::of(gateway.masquerade),
    })
}

/// The node's side of its conversation with services.
async fn masquerade_addresses(
    node: &RunningNode,
    gateway: &NodeGateway,
    masquerade: Masquerade,
) -> Result<()> {
    let links = node.node.netns.links().await?;
    let index = links.index(EXTERNAL).await?;
    links.cut_segments(index, gateway.mtu).await?;
    // The length is that of a valid network.
    if let Ok(own) = Ipv4Net::new(masquerade.host, masquerade.net.prefix_len()) {
        links.add_address(index, own.into()).await?;
    }
    for ip in [masquerade.ovn, masquerade.next_hop] {
        links
            .add_neighbour(index, IpAddr::V4(ip), mac_of(ip))
            .await?;
    }
    let from_node = Hop {
        source: Some(node.node.ip.addr()),
        ..Hop::default()
    };
    let ovn = Ipv4Net::from(masquerade.ovn);
    links.add_route(index, ovn.into(), &from_node).await?;
    let services = Hop {
        mtu: Some(gateway.mtu),
        ..Hop::via(masquerade.next_hop)
    };
    links
        .add_route(index, gateway.service_cidr.into(), &services)
        .await
}

/// OVN-Kubernetes' rule for addresses that belong to no interface of a host.
fn mac_of(ip: Ipv4Addr) -> MacAddr {
    let [a, b, c, d] = ip.octets();
    MacAddr::new([0x0a, 0x58, a, b, c, d])
}

/// Both speak with the same MAC: without this the bridge would learn it now here, now there, and forget what it knows
/// about flows each time.
async fn pin_address(node: &RunningNode) -> Result<()> {
    let mac = node.node.mac.to_string();
    let socket = node.dir.join(VSWITCHD_CONTROL);
    unixctl::call(&socket, "fdb/add", &[EXTERNAL, EXTERNAL, "0", &mac])
        .await
        .map(drop)
        .map_err(Error::io(format!("pin the MAC of {}", node.node.name)))
}

/// One process for all rules, which take effect together.
async fn install(node: &RunningNode, rules: &[String]) -> Result<()> {
    let management = node.dir.join(format!("{EXTERNAL}.mgmt"));
    let program = || Error::io("run ovs-ofctl");
    let mut child = Command::new("ovs-ofctl")
        .args(["--bundle", "replace-flows"])
        .arg(format!("unix:{}", management.display()))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(program())?;
    if let Some(mut stdin) = child.stdin.take() {
        let mut text = rules.join("\n");
        text.push('\n');
        stdin.write_all(text.as_bytes()).await.map_err(program())?;
    }
    let output = child.wait_with_output().await.map_err(program())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Flows {
        node: node.node.name.clone(),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
