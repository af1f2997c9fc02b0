//! A container has ended.

use std::time::Duration;

use k8s_openapi::api::core::v1::ContainerStateTerminated;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::time::Instant;

use super::container::{Finished, ID_PREFIX};
use super::termination;
use super::worker::Worker;
use crate::runtime::Exit;

/// The kernel closes a container's streams with its last process; nothing should be underway after this.
const DRAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// A container's process has ended.
    pub(super) async fn exited(&mut self, container: &str, exit: Exit) {
        let Some(index) = self.index_of(container) else {
            return;
        };
        let runc = self.node.shared.runc.clone();
        let slot = &mut self.slots[index];
        let spec = slot.spec.clone();
        let Some(run) = slot.run.as_mut() else { return };
        run.probes = None;
        run.stopping = None;
        run.running = None;
        run.ready = false;
        run.log.close();
        // the kernel closes them with the container's last process
        let _ = tokio::time::timeout(DRAIN, run.log.drained()).await;
        let message = run.bundle.as_ref().and_then(|b| {
            termination::message(&spec, &b.termination_message(), &run.log, exit.code)
        });
        run.finished = Some(Finished {
            state: ContainerStateTerminated {
                container_id: Some(format!("{ID_PREFIX}{container}")),
                exit_code: exit.code,
                reason: Some(if exit.code == 0 { "Completed" } else { "Error" }.to_owned()),
                message,
                started_at: Some(Time(run.begun)),
                finished_at: Some(Time(exit.at)),
                signal: None,
            },
            at: Instant::now(),
        });
        if let Some(bundle) = run.bundle.take()
            && let Err(error) = runc.delete(bundle.id()).await
        {
            tracing::warn!(%error, container, "container not deleted");
        }
    }
}
