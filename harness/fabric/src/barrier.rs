//! Knowing that a zone has caught up: `nb_cfg` counted up in its Northbound database comes back as `hv_cfg` when
//! ovn-northd and the zone's ovn-controller have done everything written before.

use std::path::Path;
use std::time::Duration;

use ovsdb::{Client, Condition, Monitor, Mutation, Replica, Row, Transaction};
use tokio::time::{Instant, timeout};

use crate::fabric::ZoneConvergence;
use crate::{Error, NodeName, Result};

/// Far more than any change takes; a zone that needs longer is stuck.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection to a zone's Northbound database that only counts.
#[derive(Debug)]
pub(crate) struct Counter {
    node: NodeName,
    client: Client,
    replica: Replica,
}

impl Counter {
    /// Connects, and makes the one row that must exist.
    pub(crate) async fn connect(node: &NodeName, socket: &Path, limit: Duration) -> Result<Self> {
        let wrap = || Error::ovsdb(node);
        let client = Client::connect_within(socket, "OVN_Northbound", limit)
            .await
            .map_err(wrap())?;
        let mut tx = Transaction::new();
        tx.insert("NB_Global", Row::new().with("name", node.as_str()));
        client.transact(tx).await.map_err(wrap())?;
        let monitor = Monitor::new().columns("NB_Global", ["hv_cfg"]);
        let replica = client.monitor(monitor).await.map_err(wrap())?;
        Ok(Self {
            node: node.clone(),
            client,
            replica,
        })
    }

    /// Counts up and waits for the count to come back.
    pub(crate) async fn converge(&self) -> Result<ZoneConvergence> {
        let started = Instant::now();
        let mut tx = Transaction::new();
        tx.mutate("NB_Global", Condition::all(), [Mutation::add("nb_cfg", 1)]);
        let read = tx.select("NB_Global", Condition::all(), ["nb_cfg"]);
        let outcome = self
            .client
            .transact(tx)
            .await
            .map_err(Error::ovsdb(&self.node))?;
        let row = outcome.rows(read).first();
        let nb_cfg = row
            .and_then(|(_, row)| row.integer("nb_cfg"))
            .ok_or_else(|| self.no_row())?;
        let reached = self.replica.wait_for(|db| {
            let (_, row) = db.rows("NB_Global").next()?;
            (row.integer("hv_cfg")? >= nb_cfg).then_some(())
        });
        match timeout(LIMIT, reached).await {
            Ok(result) => result.map_err(Error::ovsdb(&self.node))?,
            Err(_) => {
                return Err(Error::Timeout {
                    node: self.node.clone(),
                    what: "the convergence of OVN".to_owned(),
                    limit: LIMIT,
                });
            }
        }
        Ok(ZoneConvergence {
            nb_cfg,
            took: started.elapsed(),
        })
    }

    fn no_row(&self) -> Error {
        Error::ovsdb(&self.node)(ovsdb::Error::Protocol("NB_Global has no row".to_owned()))
    }
}
