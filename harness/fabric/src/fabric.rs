//! The fabric as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::daemon::Daemons;
use crate::dbfile::Templates;
use crate::physical::PhysicalNetwork;
use crate::start::{RunningNode, Site};
use crate::{
    DaemonDied, Error, FabricSpec, Ingress, NetNs, Node, NodeGateway, NodeName, Plugged, Port,
    Result, gateway, plug, start,
};

/// All nodes and what lies between them. Cheap to clone; everything ends with the last clone.
#[derive(Clone)]
pub struct Fabric(Arc<Inner>);

struct Inner {
    nodes: BTreeMap<NodeName, RunningNode>,
    physical: PhysicalNetwork,
    /// After the nodes' connections, so that those close first.
    daemons: Arc<Daemons>,
}

/// How long the zones took to have the desired state in every datapath.
#[derive(Debug, Clone)]
pub struct Convergence {
    /// Until the slowest zone was there.
    pub took: Duration,
    pub zones: BTreeMap<NodeName, ZoneConvergence>,
}

/// One zone's part of it.
#[derive(Debug, Clone, Copy)]
pub struct ZoneConvergence {
    pub nb_cfg: i64,
    /// Until `hv_cfg` reached `nb_cfg`.
    pub took: Duration,
}

impl Fabric {
    /// Starts every node and zone side by side and waits until all of them work.
    pub async fn start(spec: FabricSpec) -> Result<Self> {
        check(&spec)?;
        let templates = Templates::load()?;
        let daemons = Daemons::new();
        let site = Site {
            physical: &spec.physical,
            run_dir: &spec.run_dir,
            templates: &templates,
            daemons: &daemons,
        };
        let physical = OnceCell::new();
        let network = || physical.get_or_try_init(|| PhysicalNetwork::build(&spec.physical));
        let starting = spec
            .nodes
            .iter()
            .map(|node| start::node(&site, node, network()));
        let (nodes, _) = tokio::try_join!(try_join_all(starting), network())?;
        start::introduce(&nodes).await?;
        let Some(physical) = physical.into_inner() else {
            unreachable!("the physical network was built by whoever asked first")
        };
        let fabric = Self(Arc::new(Inner {
            nodes: nodes
                .into_iter()
                .map(|running| (running.node.name.clone(), running))
                .collect(),
            physical,
            daemons,
        }));
        fabric.barrier().await?;
        Ok(fabric)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.nodes.values().map(|running| &running.node)
    }

    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.0.nodes.get(name).map(|running| &running.node)
    }

    /// The host outside the cluster that is the nodes' gateway.
    pub fn outside(&self) -> &NetNs {
        self.0.physical.outside()
    }

    /// Waits until everything in every zone's Northbound database is in force.
    pub async fn barrier(&self) -> Result<Convergence> {
        let started = Instant::now();
        let zones = self.0.nodes.iter().map(|(name, running)| async {
            let zone = running.counter.converge().await?;
            Ok((name.clone(), zone))
        });
        let zones = self.0.daemons.guard(try_join_all(zones)).await?;
        Ok(Convergence {
            took: started.elapsed(),
            zones: zones.into_iter().collect(),
        })
    }

    /// Makes a pod's interface and waits until OVN has it installed. A call that fails leaves nothing behind; what one
    /// that is dropped has left is removed by [`unplug_sandbox`](Self::unplug_sandbox) and the end of the pod's
    /// namespace.
    pub async fn plug(&self, port: &Port) -> Result<Plugged> {
        let node = self.running(&port.node)?;
        self.0.daemons.guard(plug::plug(node, port)).await
    }

    /// Removes what [`plug`](Self::plug) made; not an error when it is gone already.
    pub async fn unplug(&self, node: &NodeName, host_ifname: &str) -> Result<()> {
        plug::unplug(self.running(node)?, &[host_ifname.to_owned()]).await
    }

    /// The same for every interface of a sandbox, when their names were forgotten.
    pub async fn unplug_sandbox(&self, node: &NodeName, sandbox: &str) -> Result<()> {
        let node = self.running(node)?;
        plug::unplug(node, &plug::interfaces_of(node, sandbox)).await
    }

    /// Makes the node's management port and its share of the gateway, and waits until both work.
    pub async fn node_gateway(&self, node: &NodeName, gateway: &NodeGateway) -> Result<()> {
        let node = self.running(node)?;
        let daemons = &self.0.daemons;
        daemons.guard(gateway::set_up(node, gateway)).await
    }

    /// Replaces the ports under which services are reached from the physical network. Needs
    /// [`node_gateway`](Self::node_gateway) to have been called.
    pub async fn node_ingress(
        &self,
        node: &NodeName,
        gateway: &NodeGateway,
        ingress: &BTreeSet<Ingress>,
    ) -> Result<()> {
        let node = self.running(node)?;
        let daemons = &self.0.daemons;
        daemons
            .guard(gateway::set_ingress(node, gateway, ingress))
            .await
    }

    /// Ends with the first daemon that dies; never ends while all is well.
    pub async fn failure(&self) -> DaemonDied {
        self.0.daemons.death().await
    }

    fn running(&self, name: &NodeName) -> Result<&RunningNode> {
        let found = self.0.nodes.get(name);
        found.ok_or_else(|| Error::UnknownNode(name.clone()))
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fabric").field(&self.0.nodes.keys()).finish()
    }
}

/// Refuses what would only show as nodes that do not reach each other.
fn check(spec: &FabricSpec) -> Result<()> {
    let subnet = spec.physical.subnet;
    let mut names = BTreeSet::new();
    let mut addresses =
        BTreeSet::from([spec.physical.gateway, subnet.network(), subnet.broadcast()]);
    for node in &spec.nodes {
        if !names.insert(&node.name) {
            return Err(Error::DuplicateNode(node.name.clone()));
        }
        let ip = node.ip.addr();
        let same_subnet = node.ip.trunc() == subnet.trunc();
        if !same_subnet || !addresses.insert(ip) {
            return Err(Error::NodeAddress {
                node: node.name.clone(),
                ip,
                subnet,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Error, Fabric, FabricSpec, NodeGateway, NodeName, Port, check};
    use crate::NodeSpec;

    /// Callers spawn them.
    #[expect(dead_code, reason = "only its types are checked")]
    fn futures_can_be_spawned(
        fabric: &Fabric,
        port: &Port,
        node: &NodeName,
        gateway: &NodeGateway,
    ) {
        fn spawns(_: impl Future + Send) {}
        spawns(Fabric::start(FabricSpec::new(Vec::new())));
        spawns(fabric.plug(port));
        spawns(fabric.unplug_sandbox(node, ""));
        spawns(fabric.node_gateway(node, gateway));
        spawns(fabric.barrier());
        spawns(fabric.failure());
    }

    fn node(name: &str, ip: &str) -> NodeSpec {
        NodeSpec::new(NodeName::new(name).unwrap(), ip.parse().unwrap())
    }

    #[test]
    fn takes_distinct_nodes() {
        let nodes = vec![node("a", "172.18.0.2/16"), node("b", "172.18.0.3/16")];
        check(&FabricSpec::new(nodes)).unwrap();
    }

    #[test]
    fn refuses_a_name_twice() {
        let nodes = vec![node("a", "172.18.0.2/16"), node("a", "172.18.0.3/16")];
        let error = check(&FabricSpec::new(nodes)).unwrap_err();
        assert!(matches!(error, Error::DuplicateNode(_)));
    }

    #[rstest]
    #[case::the_gateways("172.18.0.1/16")]
    #[case::the_networks("172.18.0.0/16")]
    #[case::the_broadcast("172.18.255.255/16")]
    #[case::anothers("172.18.0.2/16")]
    #[case::another_networks("172.19.0.3/16")]
    #[case::another_length("172.18.0.3/24")]
    fn refuses_unusable_addresses(#[case] ip: &str) {
        let nodes = vec![node("a", "172.18.0.2/16"), node("b", ip)];
        let error = check(&FabricSpec::new(nodes)).unwrap_err();
        assert!(matches!(error, Error::NodeAddress { .. }), "{error}");
    }
}
