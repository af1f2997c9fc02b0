//! Node numbers and subnets.

use std::collections::HashMap;

use ipnet::Ipv4Net;
use trunkline_fabric::NodeName;

use crate::alloc::Ids;
use crate::start::NodeFacts;
use crate::world::{Node, World};

use super::Action;
use super::shares::Shares;

/// Number 1 is the cluster router's on the join switch.
const FIRST_ID: u32 = 2;
const LAST_ID: u32 = 5000;

#[derive(Debug)]
pub(super) struct Nodes {
    facts: Vec<NodeFacts>,
    ids: Ids<NodeName>,
    subnets: Ids<NodeName>,
    shares: Shares,
    /// On its way into the world.
    written: HashMap<NodeName, Node>,
}

impl Nodes {
    pub(super) fn new(facts: Vec<NodeFacts>) -> Nodes {
        Nodes {
            facts,
            ids: Ids::new(FIRST_ID, LAST_ID),
            subnets: Ids::new(0, LAST_ID),
            shares: Shares::default(),
            written: HashMap::new(),
        }
    }

    pub(super) fn forget_write(&mut self, node: &NodeName) {
        self.written.remove(node);
    }

    pub(super) fn reconcile(&mut self, world: &World) -> Vec<Action> {
        let config = &world.config;
        let step = 32 - u32::from(config.host_prefix);
        let base = u32::from(config.cluster.network());
        for (name, node) in &world.nodes {
            self.ids.reserve(name.clone(), node.id);
            let index = u32::from(node.subnet.network()).wrapping_sub(base) >> step;
            self.subnets.reserve(name.clone(), index);
        }
        self.shares.follow(world);
        let mut actions = Vec::new();
        for facts in &self.facts {
            let known = world.nodes.get(&facts.name);
            if known.is_none() && !world.bare_nodes.contains(&facts.name) {
                // Kubernetes does not have it yet.
                continue;
            }
            let id = self.ids.allocate(facts.name.clone());
            let index = self.subnets.allocate(facts.name.clone());
            let (Some(id), Some(index)) = (id, index) else {
                tracing::warn!(node = %facts.name, "no number left for this node");
                continue;
            };
            let address = (base + (index << step)).into();
            let node = Node {
                name: facts.name.clone(),
                id,
                chassis: facts.chassis.clone(),
                subnet: Ipv4Net::new_assert(address, config.host_prefix),
                shares: self.shares.of(&facts.name),
                transit: config.transit_address(id),
                address: facts.address,
                mac: facts.mac,
                next_hop: facts.next_hop,
                encap_ip: facts.address.addr(),
            };
            if known.is_some_and(|known| **known == node) {
                // Should it ever change, it will be written again.
                self.written.remove(&facts.name);
            } else if self.written.get(&facts.name) != Some(&node) {
                actions.push(Action::AnnotateNode {
                    name: facts.name.clone(),
                    annotations: node.annotate(config),
                });
                self.written.insert(facts.name.clone(), node);
            }
        }
        actions
    }
}
