//! A zone's Southbound database, as far as the fabric has business there.

use std::path::Path;
use std::time::Duration;

use ovsdb::{Client, Condition, Datum, Row, Transaction};

use crate::node::ChassisId;
use crate::{Error, NodeName, Result};

/// ovn-controller needs milliseconds; one that needs longer holds nobody up.
const LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Southbound {
    node: NodeName,
    client: Client,
}

impl Southbound {
    /// Connects, and makes the one row that must exist.
    pub(crate) async fn connect(node: &NodeName, socket: &Path, limit: Duration) -> Result<Self> {
        let wrap = || Error::ovsdb(node);
        let client = Client::connect_within(socket, "OVN_Southbound", limit)
            .await
            .map_err(wrap())?;
        let mut tx = Transaction::new();
        tx.insert("SB_Global", Row::new());
        client.transact(tx).await.map_err(wrap())?;
        let node = node.clone();
        Ok(Self { node, client })
    }

    /// Waits until ovn-controller has let go of ports whose interfaces are gone: no longer bound to this chassis, and
    /// not up. A binding that vanishes before that, because the logical port is deleted too, makes ovn-controller
    /// write to a row that it has lost; it aborts then.
    pub(crate) async fn released(&self, chassis: ChassisId, ports: &[String]) -> Result<()> {
        let wrap = || Error::ovsdb(&self.node);
        let mut tx = Transaction::new();
        let name = Condition::eq("name", chassis.to_string());
        let found = tx.select("Chassis", name, ["_uuid"]);
        let outcome = self.client.transact(tx).await.map_err(wrap())?;
        let Some((chassis, _)) = outcome.rows(found).first() else {
            return Ok(());
        };
        let mut tx = Transaction::new();
        for port in ports {
            let here = || Condition::eq("logical_port", port.as_str());
            let mut until_not = |condition: Condition, column: &str, value: Datum| {
                let rows = vec![Row::new().with(column, value)];
                let limit = u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX);
                let columns = vec![column.to_owned()];
                tx.wait("Port_Binding", condition, columns, rows, false, limit);
            };
            let bound = here().and(Condition::eq("chassis", *chassis));
            until_not(bound, "logical_port", port.as_str().into());
            let free = here().and(Condition::eq("chassis", Datum::set([] as [ovsdb::Uuid; 0])));
            until_not(free, "up", true.into());
        }
        match self.client.transact(tx).await {
            Err(ovsdb::Error::Refused { error, .. }) if error == "timed out" => {
                tracing::warn!("ovn-controller of {} keeps one of {ports:?}", self.node);
                Ok(())
            }
            result => result.map(drop).map_err(wrap()),
        }
    }
}
