//! Ending containers and pods.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::container::Slot;
use super::hooks;
use super::worker::{Desired, Worker};
use crate::events::Severity;
use crate::probe::ProbeKind;
use crate::refs::{Kind, container_ref, long_name};
use crate::runtime::{Signal, signal_by_name};

/// A container gets this much after its preStop hook, however long that took.
const AFTER_HOOK: Duration = Duration::from_secs(2);

impl Worker {
    /// How long containers of this pod may take to end.
    pub(super) fn grace(&self) -> Duration {
        if matches!(*self.desired.borrow(), Desired::Gone) {
            return Duration::ZERO;
        }
        let meta = self.pod.metadata.deletion_grace_period_seconds;
        let spec = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.termination_grace_period_seconds);
        let seconds = meta.or(spec).and_then(|s| u64::try_from(s).ok());
        Duration::from_secs(seconds.unwrap_or(30))
    }

    pub(super) fn probe_grace(&self, index: usize, kind: ProbeKind) -> Duration {
        let container = &self.slots[index].spec;
        let probe = match kind {
            ProbeKind::Startup => &container.startup_probe,
            ProbeKind::Readiness => &container.readiness_probe,
            ProbeKind::Liveness => &container.liveness_probe,
        };
        probe
            .as_ref()
            .and_then(|p| p.termination_grace_period_seconds)
            .and_then(|s| u64::try_from(s).ok())
            .map_or_else(|| self.grace(), Duration::from_secs)
    }

    /// Asks a container to end, and makes it end. Its exit is reported like any other.
    pub(super) fn stop(&mut self, index: usize, grace: Duration, announcement: Option<String>) {
        let name = self.slots[index].spec.name.clone();
        let Some(run) = self.slots[index]
            .run
            .as_mut()
            .filter(|r| r.finished.is_none())
        else {
            return;
        };
        let (Some(process), Some(target)) = (run.process.clone(), run.target.clone()) else {
            return;
        };
        let again = run.stopping.is_some();
        let signal = run
            .stop_signal
            .as_deref()
            .and_then(signal_by_name)
            .unwrap_or(Signal::TERM);
        // probes of a container that is ending say nothing
        run.probes = None;
        let hook = target
            .container
            .lifecycle
            .as_ref()
            .and_then(|l| l.pre_stop.clone())
            .filter(|_| !again && !grace.is_zero());
        let node = Arc::clone(&self.node);
        let about = container_ref(&self.pod, self.slots[index].kind, &name);
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let mut left = grace;
            if let Some(hook) = hook {
                if let Ok(Err(error)) = timeout(grace, hooks::run(&hook, &target)).await {
                    node.shared.recorder.record(
                        &node.reporter,
                        about,
                        Severity::Warning,
                        "FailedPreStopHook",
                        format!("PreStopHook failed: {error}"),
                    );
                }
                left = grace.saturating_sub(begun.elapsed()).max(AFTER_HOOK);
            }
            if !left.is_zero() {
                send(&process, signal);
                if timeout(left, process.wait()).await.is_ok() {
                    return;
                }
            }
            send(&process, Signal::KILL);
        });
        if let Some(run) = self.slots[index].run.as_mut() {
            run.stopping = Some(AbortOnDropHandle::new(task));
        }
        if !again {
            let text = announcement.unwrap_or_else(|| format!("Stopping container {name}"));
            self.container_event(index, Severity::Normal, "Killing", text);
        }
    }

    /// Ends everything and lets go of the API object.
    pub(super) async fn end(&mut self) {
        for sidecars in [false, true] {
            self.end_stage(sidecars).await;
        }
        // A pod's addresses are free once its phase is final, so it leaves the network before that is said.
        self.disconnect().await;
        self.stopped = true;
        let gone = matches!(*self.desired.borrow(), Desired::Gone);
        if !gone {
            self.publish().await;
        }
        self.volumes = None;
        self.node.shared.connector.remove(&self.key(), &self.uid());
        if !gone {
            self.delete_object().await;
        }
    }

    async fn end_stage(&mut self, sidecars: bool) {
        let in_stage =
            move |slot: &Slot| slot.is_running() && (slot.kind == Kind::Sidecar) == sidecars;
        let mut grace = None;
        loop {
            if !self.slots.iter().any(in_stage) {
                return;
            }
            if grace != Some(self.grace()) {
                grace = Some(self.grace());
                for index in 0..self.slots.len() {
                    if in_stage(&self.slots[index]) {
                        self.stop(index, self.grace(), None);
                    }
                }
            }
            tokio::select! {
                Some(message) = self.messages.recv() => {
                    self.handle(message).await;
                    if !matches!(*self.desired.borrow(), Desired::Gone) {
                        self.publish().await;
                    }
                }
                Ok(()) = self.desired.changed() => {
                    if let Desired::Present(pod) = &*self.desired.borrow_and_update() {
                        self.pod = Arc::clone(pod);
                    }
                }
                else => return,
            }
        }
    }

    /// Takes the pod off the network, however long that takes.
    pub(super) async fn disconnect(&mut self) {
        let Some(connected) = self.connected.take() else {
            return;
        };
        self.node
            .shared
            .connector
            .set_network(&self.key(), &self.uid(), None);
        if self.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true) {
            return;
        }
        let network = self.network(&connected.sandbox);
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.node.shared.cni.del(&self.pod, &network).await {
            tracing::warn!(%error, pod = long_name(&self.pod), "network not taken down");
            self.event(
                Severity::Warning,
                "FailedKillPod",
                format!(
                    "error killing pod: failed to \"KillPodSandbox\" for {:?} with KillPodSandboxError: \"rpc error: code = Unknown desc = failed to destroy network for sandbox \\\"{}\\\": {error}\"",
                    self.uid(),
                    network.id
                ),
            );
            // nothing announces when a network can be taken down after all
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    async fn delete_object(&self) {
        let api: Api<Pod> = Api::namespaced(
            self.node.shared.client.clone(),
            &self.pod.namespace().unwrap_or_default(),
        );
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: self.pod.metadata.uid.clone(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(&self.pod.name_any(), &params).await {
            Ok(_) => {}
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {}
            Err(error) => {
                tracing::warn!(%error, pod = long_name(&self.pod), "pod object not deleted");
            }
        }
    }
}

fn send(process: &crate::runtime::Process, signal: Signal) {
    if let Err(error) = process.signal(signal) {
        tracing::warn!(%error, pid = process.pid(), "signal not sent");
    }
}
