//! The cluster manager: gives nodes, networks and pods their numbers and addresses, and writes
//! them into annotations. Decisions are pure functions of the world and of what was given out
//! before; a small loop carries them out.

mod networks;
mod nodes;
mod pods;
mod pool;
mod shares;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use trunkline_fabric::NodeName;

use crate::events::{Happening, Recorder, Subject};
use crate::names::Key;
use crate::observe::Worlds;
use crate::start::NodeFacts;
use crate::world::{PodNetworks, World};

use networks::Networks;
use pods::Pods;

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    AnnotateNode {
        name: NodeName,
        annotations: BTreeMap<&'static str, String>,
    },
    AnnotateNad {
        key: Key,
        network: String,
        id: u32,
    },
    AnnotatePod {
        key: Key,
        uid: String,
        networks: PodNetworks,
    },
    Tell(Subject, Happening),
}

/// All that was given out.
#[derive(Debug)]
pub(crate) struct Manager {
    nodes: nodes::Nodes,
    networks: Networks,
    pods: Pods,
}

impl Manager {
    pub(crate) fn new(facts: Vec<NodeFacts>) -> Manager {
        Manager {
            nodes: nodes::Nodes::new(facts),
            networks: Networks::new(),
            pods: Pods::new(),
        }
    }

    /// What to do about this world. Asking again gives nothing new until the world changes or
    /// [`Manager::failed`] says that something did not work.
    pub(crate) fn reconcile(&mut self, world: &World) -> Vec<Action> {
        let mut actions = self.nodes.reconcile(world);
        actions.extend(self.networks.reconcile(world));
        actions.extend(self.pods.reconcile(world));
        actions
    }

    fn failed(&mut self, action: &Action) {
        match action {
            Action::AnnotateNode { name, .. } => self.nodes.forget_write(name),
            Action::AnnotateNad { key, .. } => self.networks.forget_write(key),
            Action::AnnotatePod { uid, .. } => self.pods.forget_write(uid),
            Action::Tell(..) => {}
        }
    }
}

/// Pause after a write that the API refused for reasons of its own.
const RETRY: Duration = Duration::from_millis(50);

/// Runs until the worlds end. `idle` gets the generation of each world that left nothing to do.
pub(crate) async fn run(
    client: kube::Client,
    recorder: Recorder,
    facts: Vec<NodeFacts>,
    mut worlds: Worlds,
    idle: watch::Sender<u64>,
) {
    let mut manager = Manager::new(facts);
    loop {
        let published = worlds.borrow_and_update().clone();
        // Before everything is listed, numbers that are in use might be given out again.
        let mut failed = false;
        if published.complete {
            let mut writes = FuturesUnordered::new();
            let mut wrote = false;
            for action in manager.reconcile(&published.world) {
                if let Action::Tell(subject, happening) = action {
                    recorder.record(subject, happening);
                    continue;
                }
                wrote = true;
                let client = client.clone();
                writes.push(async move {
                    let result = write::write(&client, &action).await;
                    (action, result)
                });
            }
            while let Some((action, result)) = writes.next().await {
                if let Err(error) = result {
                    tracing::debug!(?action, %error, "annotation not written, will try again");
                    manager.failed(&action);
                    failed = true;
                }
            }
            if !wrote {
                idle.send_replace(published.generation);
            }
        }
        let retry = async {
            if failed {
                tokio::time::sleep(RETRY).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

#[cfg(test)]
mod tests;
