//! Keeping a zone's databases what they shall be.

use std::sync::Arc;
use std::time::Duration;

use ovsdb::{Client, Replica, Snapshot};
use tokio::sync::watch;
use trunkline_fabric::{Node, NodeName};

use super::chassis;
use super::plan::{Plan, plan};
use crate::compile;
use crate::error::{Error, Result};
use crate::northbound::{self, from_replica};
use crate::observe::{Published, Worlds};

/// The databases of a zone.
pub(crate) struct Zone {
    name: NodeName,
    nb: Client,
    nb_replica: Replica,
    sb: Client,
    sb_replica: Replica,
}

/// Which world the databases follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The latest world of which every row is in the database.
    pub(crate) generation: u64,
    /// There were rows at all: the node has its annotations.
    pub(crate) programmed: bool,
}

/// Pause after a transaction that the server refused.
const RETRY: Duration = Duration::from_millis(50);
/// How long the copy may lag behind an answered transaction.
const ECHO_LIMIT: Duration = Duration::from_secs(5);

impl Zone {
    pub(crate) async fn connect(node: &Node) -> Result<Zone> {
        let failed = |source| Error::Database {
            zone: node.name.clone(),
            source,
        };
        let nb = async {
            let nb = Client::connect(&node.zone.nb, "OVN_Northbound").await?;
            let replica = nb.monitor(northbound::monitor(nb.schema())).await?;
            Ok((nb, replica))
        };
        let sb = async {
            let sb = Client::connect(&node.zone.sb, "OVN_Southbound").await?;
            let replica = sb.monitor(chassis::monitor()).await?;
            Ok((sb, replica))
        };
        let ((nb, nb_replica), (sb, sb_replica)) = futures::try_join!(nb, sb).map_err(failed)?;
        Ok(Zone {
            name: node.name.clone(),
            nb,
            nb_replica,
            sb,
            sb_replica,
        })
    }

    /// Runs until the worlds end.
    pub(crate) async fn run(self, mut worlds: Worlds, progress: watch::Sender<Progress>) {
        let mut rows = self.nb_replica.watch();
        let mut chassis = self.sb_replica.watch();
        loop {
            let published = worlds.borrow_and_update().clone();
            rows.mark_unchanged();
            chassis.mark_unchanged();
            let done = if published.complete {
                self.converge(&published).await
            } else {
                Ok(Done::Idle)
            };
            let retry = match done {
                // What was written comes back as a change, and is looked at again.
                Ok(Done::Wrote) => continue,
                Ok(Done::Idle) => {
                    let now = Progress {
                        generation: published.generation,
                        programmed: published.world.nodes.contains_key(&self.name),
                    };
                    progress.send_if_modified(|before| std::mem::replace(before, now) != now);
                    None
                }
                Err(error) => {
                    tracing::warn!(zone = %self.name, %error, "rows not written, will try again");
                    Some(RETRY)
                }
            };
            let retry = async {
                match retry {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                changed = worlds.changed() => changed.is_err(),
                changed = rows.changed() => changed.is_err(),
                changed = chassis.changed() => changed.is_err(),
                () = retry => false,
            };
            if ended {
                return;
            }
        }
    }

    async fn converge(&self, published: &Published) -> ovsdb::Result<Done> {
        let (nb, sb) = futures::join!(self.northbound(published), self.southbound(published));
        Ok(match (nb?, sb?) {
            (Done::Idle, Done::Idle) => Done::Idle,
            _ => Done::Wrote,
        })
    }

    async fn northbound(&self, published: &Published) -> ovsdb::Result<Done> {
        let desired = compile(&published.world, &self.name);
        let observed = from_replica(&self.nb_replica.snapshot());
        let Some(plan) = plan(self.nb.schema(), &desired, &observed) else {
            return Ok(Done::Idle);
        };
        let Plan {
            transaction,
            inserted,
            deleted,
        } = plan;
        tracing::debug!(
            zone = %self.name,
            operations = transaction.len(),
            inserted = inserted.len(),
            deleted = deleted.len(),
            "writing the northbound database"
        );
        let before = self.nb_replica.snapshot().version();
        let outcome = self.nb.transact(transaction).await?;
        // Nothing must be inserted twice because the copy has not heard of it yet.
        let inserted: Vec<_> = inserted
            .into_iter()
            .filter_map(|(reference, name)| Some((reference.table, outcome.uuid(&name)?)))
            .collect();
        let arrived = |db: &Snapshot| {
            let there = inserted
                .iter()
                .all(|(table, uuid)| db.row(table.as_str(), *uuid).is_some());
            let gone = deleted
                .iter()
                .all(|(reference, uuid)| db.row(reference.table.as_str(), *uuid).is_none());
            (db.version() > before && there && gone).then_some(())
        };
        // Somebody else may have removed a row at once, so do not wait for ever.
        match tokio::time::timeout(ECHO_LIMIT, self.nb_replica.wait_for(arrived)).await {
            Ok(Ok(())) | Err(_) => Ok(Done::Wrote),
            Ok(Err(error)) => Err(error),
        }
    }

    async fn southbound(&self, published: &Published) -> ovsdb::Result<Done> {
        let snapshot = self.sb_replica.snapshot();
        let Some(transaction) = chassis::plan(&published.world, &self.name, &snapshot) else {
            return Ok(Done::Idle);
        };
        self.sb.transact(transaction).await?;
        let world = Arc::new(published.world.clone());
        let settled = |db: &Snapshot| {
            chassis::plan(&world, &self.name, db)
                .is_none()
                .then_some(())
        };
        match tokio::time::timeout(ECHO_LIMIT, self.sb_replica.wait_for(settled)).await {
            Ok(Ok(())) | Err(_) => Ok(Done::Wrote),
            Ok(Err(error)) => Err(error),
        }
    }
}

enum Done {
    Idle,
    Wrote,
}
