//! Everything together: the controllers of a whole cluster as tasks of one process.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::task::JoinSet;
use trunkline_fabric::{Fabric, MacAddr, NodeName};

use crate::config::ClusterConfig;
use crate::converge::{Progress, Zone};
use crate::error::{Error, Result};
use crate::events::Recorder;
use crate::observe::{self, Versions, Worlds};
use crate::world::World;
use crate::{cni, gateway, manager};

/// Namespaces that OVN-Kubernetes brings along.
const NAMESPACES: [&str; 2] = ["ovn-host-network", "ovn-kubernetes"];

/// What a node knows about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    pub name: NodeName,
    pub chassis: String,
    /// On the physical network.
    pub address: Ipv4Net,
    /// Of breth0.
    pub mac: MacAddr,
    /// The physical network's way out.
    pub next_hop: Ipv4Addr,
}

impl NodeFacts {
    pub fn of(node: &trunkline_fabric::Node, next_hop: Ipv4Addr) -> NodeFacts {
        NodeFacts {
            name: node.name.clone(),
            chassis: node.chassis.to_string(),
            address: node.ip,
            mac: node.mac,
            next_hop,
        }
    }
}

/// The running controllers. They end when this is dropped.
pub struct Ovnk {
    client: kube::Client,
    cni: cni::Context,
    worlds: Worlds,
    versions: Versions,
    manager_idle: watch::Receiver<u64>,
    progress: Vec<watch::Receiver<Progress>>,
    gateways: Vec<watch::Receiver<gateway::Progress>>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Ovnk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ovnk")
            .field("nodes", &self.gateways.len())
            .finish_non_exhaustive()
    }
}

impl Ovnk {
    /// Connects to all zones and starts the controllers; [`Ovnk::ready`] says when they have
    /// done their first work. `next_hop` is the physical network's gateway.
    pub async fn start(
        client: kube::Client,
        fabric: Fabric,
        config: ClusterConfig,
        next_hop: Ipv4Addr,
    ) -> Result<Ovnk> {
        let (worlds, versions) = observe::start(&client, config);
        let recorder = Recorder::start(client.clone());
        let nodes: Vec<_> = fabric.nodes().cloned().collect();
        let facts = nodes.iter().map(|node| NodeFacts::of(node, next_hop));
        let mut tasks = JoinSet::new();
        let (idle, manager_idle) = watch::channel(0);
        tasks.spawn(manager::run(
            client.clone(),
            recorder.clone(),
            facts.collect(),
            worlds.clone(),
            idle,
        ));
        let zones = futures::future::try_join_all(nodes.iter().map(Zone::connect));
        let namespaces = futures::future::try_join_all(
            NAMESPACES.map(|name| ensure_namespace(client.clone(), name)),
        );
        let (zones, _) = futures::try_join!(zones, namespaces)?;
        let mut progress = Vec::new();
        for zone in zones {
            let (tx, rx) = watch::channel(Progress::default());
            tasks.spawn(zone.run(worlds.clone(), tx));
            progress.push(rx);
        }
        let mut gateways = Vec::new();
        for node in &nodes {
            let (tx, rx) = watch::channel(gateway::Progress::default());
            let (fabric, name) = (fabric.clone(), node.name.clone());
            tasks.spawn(gateway::run(fabric, name, worlds.clone(), tx));
            gateways.push(rx);
        }
        Ok(Ovnk {
            cni: cni::Context::new(client.clone(), fabric, worlds.clone(), recorder),
            client,
            worlds,
            versions,
            manager_idle,
            progress,
            gateways,
            _tasks: tasks,
        })
    }

    /// Waits until every node can be used: annotated, its zone programmed, its gateway working.
    /// Needs the Kubernetes nodes to exist.
    pub async fn ready(&self) -> Result<()> {
        for progress in &self.progress {
            let mut progress = progress.clone();
            let waited = progress.wait_for(|progress| progress.programmed).await;
            waited.map_err(|_| Error::Ended)?;
        }
        for gateway in &self.gateways {
            let mut gateway = gateway.clone();
            let waited = gateway.wait_for(|gateway| gateway.outcome.is_some()).await;
            if let Some(Err(failure)) = &waited.map_err(|_| Error::Ended)?.outcome {
                return Err(Error::NotReady(failure.clone()));
            }
        }
        Ok(())
    }

    /// Waits until everything that exists now has been observed, whatever had to be given out
    /// was, and the rows of all that are in every zone's database. What OVN makes of them is for
    /// the fabric's barrier to wait for.
    pub async fn settled(&self) -> Result<()> {
        observe::caught_up(&self.client, &mut self.versions.clone())
            .await
            .map_err(|source| Error::List(Box::new(source)))?;
        loop {
            let generation = self.worlds.borrow().generation;
            let mut idle = self.manager_idle.clone();
            let waited = idle.wait_for(|seen| *seen >= generation).await;
            waited.map_err(|_| Error::Ended)?;
            for progress in &self.progress {
                let mut progress = progress.clone();
                let waited = progress.wait_for(|p| p.generation >= generation).await;
                waited.map_err(|_| Error::Ended)?;
            }
            for gateway in &self.gateways {
                let mut gateway = gateway.clone();
                let waited = gateway.wait_for(|g| g.generation >= generation).await;
                waited.map_err(|_| Error::Ended)?;
            }
            if self.worlds.borrow().generation == generation {
                return Ok(());
            }
        }
    }

    /// What [`cni::add`] and [`cni::del`] need.
    pub fn cni(&self) -> &cni::Context {
        &self.cni
    }

    /// The objects as last observed.
    pub fn world(&self) -> World {
        self.worlds.borrow().world.clone()
    }
}

async fn ensure_namespace(client: kube::Client, name: &str) -> Result<()> {
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    let api: Api<Namespace> = Api::all(client);
    match api.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(source) => Err(Error::Namespace {
            namespace: name.to_owned(),
            source: Box::new(source),
        }),
    }
}
