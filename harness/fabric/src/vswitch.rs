//! A node's Open vSwitch database: its settings, bridges and ports.

use std::path::Path;
use std::time::Duration;

use ovsdb::{Client, Condition, Datum, Monitor, Mutation, Replica, Row, Transaction};
use tokio::time::timeout;

use crate::physical::NIC;
use crate::{Error, NodeName, NodeSpec, Result};

/// The bridge that OVN programs.
pub(crate) const INTEGRATION: &str = "br-int";
/// The bridge that the physical network is on.
pub(crate) const EXTERNAL: &str = "breth0";
/// The name under which OVN knows the physical network.
const PHYSICAL_NETWORK: &str = "physnet";

/// A connection with a copy of what is waited for.
#[derive(Debug)]
pub(crate) struct Vswitch {
    node: NodeName,
    client: Client,
    replica: Replica,
}

/// A port of a bridge.
#[derive(Debug, Clone)]
pub(crate) struct BridgePort<'a> {
    pub(crate) name: &'a str,
    pub(crate) interface: Row,
    pub(crate) port: Row,
}

impl Vswitch {
    pub(crate) async fn connect(node: &NodeName, socket: &Path, limit: Duration) -> Result<Self> {
        let wrap = || Error::ovsdb(node);
        let client = Client::connect_within(socket, "Open_vSwitch", limit)
            .await
            .map_err(wrap())?;
        let monitor = Monitor::new()
            .columns("Open_vSwitch", ["cur_cfg", "next_cfg"])
            .columns("Interface", ["name", "ofport", "error", "external_ids"]);
        let replica = client.monitor(monitor).await.map_err(wrap())?;
        Ok(Self {
            node: node.clone(),
            client,
            replica,
        })
    }

    /// Writes everything that ovs-vswitchd and ovn-controller shall find when they start.
    pub(crate) async fn configure(&self, node: &NodeSpec, dir: &Path) -> Result<()> {
        let mut tx = Transaction::new();
        let bridges = [integration_bridge(&mut tx), external_bridge(&mut tx, node)];
        tx.insert(
            "Open_vSwitch",
            Row::new()
                .with("bridges", Datum::set(bridges))
                .with("next_cfg", 1)
                .with("other_config", Datum::map(other_config()))
                .with("external_ids", Datum::map(external_ids(node, dir))),
        );
        self.transact(tx).await
    }

    /// Waits until ovs-vswitchd has done everything that is configured.
    pub(crate) async fn settled(&self, limit: Duration) -> Result<()> {
        let done = self.replica.wait_for(|db| {
            let (_, row) = db.rows("Open_vSwitch").next()?;
            (row.integer("cur_cfg")? >= row.integer("next_cfg")?).then_some(())
        });
        self.within(limit, "configuring Open vSwitch", done).await
    }

    pub(crate) async fn add_port(&self, bridge: &str, port: BridgePort<'_>) -> Result<()> {
        let mut tx = Transaction::new();
        let uuid = insert_port(&mut tx, port);
        tx.mutate(
            "Bridge",
            Condition::eq("name", bridge),
            [Mutation::insert("ports", Datum::set([uuid]))],
        );
        self.transact(tx).await
    }

    /// Removes ports by name; fine if there are none.
    pub(crate) async fn remove_ports(&self, bridge: &str, names: &[String]) -> Result<()> {
        let mut tx = Transaction::new();
        let selects: Vec<usize> = names
            .iter()
            .map(|name| tx.select("Port", Condition::eq("name", name.as_str()), ["_uuid"]))
            .collect();
        let wrap = || Error::ovsdb(&self.node);
        let outcome = self.client.transact(tx).await.map_err(wrap())?;
        let ports: Vec<ovsdb::Uuid> = selects
            .into_iter()
            .flat_map(|select| outcome.rows(select).iter().map(|(uuid, _)| *uuid))
            .collect();
        if ports.is_empty() {
            return Ok(());
        }
        let mut tx = Transaction::new();
        // Ports and interfaces that no bridge refers to are collected by the server.
        tx.mutate(
            "Bridge",
            Condition::eq("name", bridge),
            [Mutation::delete("ports", Datum::set(ports))],
        );
        self.transact(tx).await
    }

    /// Waits until an interface works and, if OVN is to know it, OVN's flows for it are in place.
    pub(crate) async fn installed(
        &self,
        ifname: &str,
        by_ovn: bool,
        limit: Duration,
    ) -> Result<i64> {
        let what = if by_ovn {
            "OVN's installation"
        } else {
            "the creation"
        };
        let found = self.replica.wait_for(|db| {
            let (_, row) = db.find("Interface", "name", ifname)?;
            if let Some(error) = row.str("error") {
                return Some(Err(error.to_owned()));
            }
            let ofport = row.integer("ofport").filter(|number| *number > 0)?;
            let installed = row.key("external_ids", "ovn-installed") == Some("true");
            (installed || !by_ovn).then_some(Ok(ofport))
        });
        let found = self
            .within(limit, format!("{what} of {ifname}"), found)
            .await?;
        found.map_err(|reason| Error::Interface {
            node: self.node.clone(),
            ifname: ifname.to_owned(),
            reason,
        })
    }

    /// Names of the interfaces that carry this external id.
    pub(crate) fn interfaces_with(&self, key: &str, value: &str) -> Vec<String> {
        let snapshot = self.replica.snapshot();
        snapshot
            .rows("Interface")
            .filter(|(_, row)| row.key("external_ids", key) == Some(value))
            .filter_map(|(_, row)| row.str("name").map(str::to_owned))
            .collect()
    }

    /// What these interfaces have as this external id.
    pub(crate) fn external_ids_of(&self, names: &[String], key: &str) -> Vec<String> {
        let snapshot = self.replica.snapshot();
        names
            .iter()
            .filter_map(|name| snapshot.find("Interface", "name", name.as_str()))
            .filter_map(|(_, row)| row.key("external_ids", key).map(str::to_owned))
            .collect()
    }

    async fn transact(&self, tx: Transaction) -> Result<()> {
        let outcome = self.client.transact(tx).await;
        outcome.map(drop).map_err(Error::ovsdb(&self.node))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        what: impl Into<String>,
        work: impl Future<Output = ovsdb::Result<T>>,
    ) -> Result<T> {
        match timeout(limit, work).await {
            Ok(result) => result.map_err(Error::ovsdb(&self.node)),
            Err(_) => Err(Error::Timeout {
                node: self.node.clone(),
                what: what.into(),
                limit,
            }),
        }
    }
}

fn insert_port(tx: &mut Transaction, port: BridgePort<'_>) -> ovsdb::NamedUuid {
    let interface = tx.insert("Interface", port.interface.with("name", port.name));
    let row = port.port.with("name", port.name);
    tx.insert("Port", row.with("interfaces", Datum::set([interface])))
}

fn plain(name: &str, interface: Row) -> BridgePort<'_> {
    BridgePort {
        name,
        interface,
        port: Row::new(),
    }
}

fn integration_bridge(tx: &mut Transaction) -> ovsdb::NamedUuid {
    let local = plain(INTEGRATION, Row::new().with("type", "internal"));
    let port = insert_port(tx, local);
    tx.insert(
        "Bridge",
        Row::new()
            .with("name", INTEGRATION)
            .with("ports", Datum::set([port]))
            .with("datapath_type", "netdev")
            .with("fail_mode", "secure")
            .with("other_config", Datum::map([("disable-in-band", "true")])),
    )
}

fn external_bridge(tx: &mut Transaction, node: &NodeSpec) -> ovsdb::NamedUuid {
    let local = insert_port(tx, plain(EXTERNAL, Row::new().with("type", "internal")));
    let nic = insert_port(tx, plain(NIC, Row::new()));
    // The bridge takes over the address of the interface that it takes over.
    let config = Datum::map([("hwaddr", node.mac.to_string())]);
    tx.insert(
        "Bridge",
        Row::new()
            .with("name", EXTERNAL)
            .with("ports", Datum::set([local, nic]))
            .with("datapath_type", "netdev")
            .with("fail_mode", "standalone")
            .with("other_config", config),
    )
}

fn other_config() -> [(&'static str, &'static str); 5] {
    [
        // Without it every TCP segment crosses user space alone. Read once, when ovs-vswitchd starts.
        ("userspace-tso-enable", "true"),
        ("vlan-limit", "0"),
        ("bundle-idle-timeout", "0"),
        // The userspace datapath needs few threads, and every node has its own.
        ("n-handler-threads", "1"),
        ("n-revalidator-threads", "1"),
    ]
}

/// What OVN-Kubernetes writes for ovn-controller.
fn external_ids(node: &NodeSpec, dir: &Path) -> Vec<(&'static str, String)> {
    let text = str::to_owned;
    vec![
        ("hostname", node.name.to_string()),
        ("system-id", node.chassis.to_string()),
        ("rundir", dir.display().to_string()),
        (
            "ovn-remote",
            format!("unix:{}", dir.join(crate::node::SOCKET).display()),
        ),
        ("ovn-encap-type", text("geneve")),
        ("ovn-encap-ip", node.ip.addr().to_string()),
        ("ovn-set-local-ip", text("true")),
        ("ovn-bridge-datapath-type", text("netdev")),
        (
            "ovn-bridge-mappings",
            format!("{PHYSICAL_NETWORK}:{EXTERNAL}"),
        ),
        ("ovn-is-interconn", text("true")),
        ("ovn-monitor-all", text("true")),
        ("ovn-enable-lflow-cache", text("true")),
        ("ovn-bridge-remote-probe-interval", text("0")),
        ("ovn-ofctrl-wait-before-clear", text("0")),
        ("ovn-remote-probe-interval", text("100000")),
    ]
}
