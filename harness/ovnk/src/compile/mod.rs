//! From the world to the Northbound rows of one zone. Pure: the same world gives the same rows.

mod acl;
mod cluster;
mod egress;
mod gateway;
mod groups;
mod layer2;
mod layer3;
mod limits;
mod namespaces;
mod ports;
mod services;

use trunkline_fabric::NodeName;

use crate::nad::Topology;

use crate::northbound::{Northbound, Row, RowRef, Table};
use crate::world::{Node, World};

/// All rows that the zone of this node shall have. A node that has no annotations yet has none.
pub fn compile(world: &World, zone: &NodeName) -> Northbound {
    let mut rows = Northbound::new();
    let Some(node) = world.nodes.get(zone) else {
        return rows;
    };
    let mut cx = Context {
        world,
        node,
        rows: &mut rows,
    };
    limits::compile(&mut cx);
    cluster::compile(&mut cx);
    gateway::compile(&mut cx);
    groups::default_network(&mut cx);
    acl::compile(&mut cx);
    egress::compile(&mut cx);
    ports::default_network(&mut cx);
    services::compile(&mut cx);
    for network in world.networks().values() {
        match network.conf.topology {
            Topology::Layer2 if !network.conf.primary => layer2::compile(&mut cx, network),
            Topology::Layer3 if !network.conf.primary => layer3::compile(&mut cx, network),
            // Their rows are not made yet; the cluster manager says so when such a NAD appears.
            Topology::Layer2 | Topology::Layer3 | Topology::Localnet => {}
        }
    }
    rows
}

/// What every part needs.
pub(crate) struct Context<'a> {
    pub(crate) world: &'a World,
    /// The zone's own node.
    pub(crate) node: &'a Node,
    pub(crate) rows: &'a mut Northbound,
}

impl Context<'_> {
    pub(crate) fn add(&mut self, table: Table, name: impl Into<String>, row: Row) -> RowRef {
        self.rows.insert(table, name, row)
    }

    /// Inserts a row that is named after its column `name`.
    pub(crate) fn add_named(&mut self, table: Table, row: Row) -> RowRef {
        let name = row.str("name").unwrap_or_default().to_owned();
        self.rows.insert(table, name, row)
    }

    /// Makes an existing row refer to another one.
    pub(crate) fn attach(&mut self, table: Table, name: &str, column: &str, row: RowRef) {
        if let Some(parent) = self.rows.get_mut(&RowRef::new(table, name)) {
            parent.add_ref(column, row);
        }
    }

    pub(crate) fn is_local(&self, node: &NodeName) -> bool {
        *node == self.node.name
    }
}
