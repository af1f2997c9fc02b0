//! The node's own side of the default network: set up once, and then told under which ports
//! services are reached from the physical network (`pkg/node/gateway_shared_intf.go`).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use tokio::sync::watch;
use trunkline_fabric::{Fabric, Ingress, NodeGateway, NodeName, Transport};

use crate::error::{Error, Result};
use crate::observe::Worlds;
use crate::world::{Node, Protocol, World};

/// How far a node's gateway is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Set up, or why not.
    pub(crate) outcome: Option<Result<(), Arc<Error>>>,
    /// The latest world of which every service is reached.
    pub(crate) generation: u64,
}

/// Pause after rules that could not be written.
const RETRY: Duration = Duration::from_millis(200);

/// Runs until the worlds end.
pub(crate) async fn run(
    fabric: Fabric,
    name: NodeName,
    mut worlds: Worlds,
    progress: watch::Sender<Progress>,
) {
    let gateway = match set_up(&fabric, &name, &mut worlds).await {
        Ok(gateway) => gateway,
        Err(error) => {
            progress.send_modify(|progress| progress.outcome = Some(Err(Arc::new(error))));
            return;
        }
    };
    progress.send_modify(|progress| progress.outcome = Some(Ok(())));
    let mut written = BTreeSet::new();
    loop {
        let published = worlds.borrow_and_update().clone();
        let wanted = ingress(&published.world);
        let done = wanted == written
            || match fabric.node_ingress(&name, &gateway, &wanted).await {
                Ok(()) => {
                    written = wanted;
                    true
                }
                Err(error) => {
                    tracing::warn!(node = %name, %error, "services not opened, will try again");
                    false
                }
            };
        if done {
            progress.send_modify(|progress| progress.generation = published.generation);
        }
        let retry = async {
            if done {
                std::future::pending::<()>().await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

/// As soon as the node's numbers are known.
async fn set_up(fabric: &Fabric, name: &NodeName, worlds: &mut Worlds) -> Result<NodeGateway> {
    let node: Arc<Node>;
    let config;
    {
        let seen = worlds
            .wait_for(|published| published.world.nodes.contains_key(name))
            .await
            .map_err(|_| Error::Ended)?;
        node = seen.world.nodes[name].clone();
        config = seen.world.config.clone();
    }
    let management = node.management();
    let gateway = NodeGateway {
        mgmt_mac: crate::names::mac_of(management.into()),
        mgmt_ip: Ipv4Net::new_assert(management, node.subnet.prefix_len()),
        mgmt_gateway: node.gateway(),
        mtu: config.mtu,
        cluster_cidr: config.cluster,
        service_cidr: config.services,
        masquerade: config.masquerade,
    };
    let set_up = fabric.node_gateway(name, &gateway).await;
    set_up.map_err(|source| Error::Gateway {
        node: name.clone(),
        source,
    })?;
    Ok(gateway)
}

/// Node ports, and addresses that are not the cluster's.
fn ingress(world: &World) -> BTreeSet<Ingress> {
    let mut ingress = BTreeSet::new();
    let services = world.services.values();
    for service in services.filter(|service| !service.cluster_ips.is_empty()) {
        for port in &service.ports {
            let transport = match port.protocol {
                Protocol::Tcp => Transport::Tcp,
                Protocol::Udp => Transport::Udp,
                Protocol::Sctp => Transport::Sctp,
            };
            ingress.extend(port.node_port.map(|port| Ingress {
                transport,
                address: None,
                port,
            }));
            for address in &service.external_ips {
                if let IpAddr::V4(address) = address {
                    ingress.insert(Ingress {
                        transport,
                        address: Some(*address),
                        port: port.port,
                    });
                }
            }
        }
    }
    ingress
}
