//! What containers need before they can start: volumes and a sandbox with its network.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::Instant;

use super::worker::{Connected, Interrupted, Worker};
use crate::connector::PodNetwork;
use crate::events::Severity;
use crate::refs::long_name;
use crate::sandbox::{self, PodSandbox, ResolvConf};
use crate::volumes::{Interest, PodVolumes, Surroundings, interests};
use crate::{CniOutcome, Sandbox};

/// After a renewal that failed.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

impl Worker {
    pub(super) async fn have_volumes(&mut self) -> Result<bool, Interrupted> {
        if self.volumes.is_some() {
            self.renew().await;
            return Ok(true);
        }
        let now = Instant::now();
        if let Some((until, _)) = self
            .volume_failure
            .and_then(|failed| self.volume_backoff.wait_until(failed, now))
        {
            self.wake_at(until);
            return Ok(false);
        }
        let facts = self.facts();
        let shared = Arc::clone(&self.node.shared);
        let around = Surroundings {
            client: &shared.client,
            state: &shared.state,
            facts: &facts,
        };
        let pod = Arc::clone(&self.pod);
        match self
            .unless_ending(PodVolumes::set_up(&around, &pod))
            .await?
        {
            Ok(volumes) => {
                shared
                    .connector
                    .set_volumes(&self.key(), &self.uid(), volumes.paths());
                self.volumes = Some(volumes);
                self.volume_failure = None;
                Ok(true)
            }
            Err(error) => {
                self.event(Severity::Warning, "FailedMount", error.to_string());
                self.volume_backoff.attempt(now);
                self.volume_failure = Some(now);
                if let Some((until, _)) = self.volume_backoff.wait_until(now, now) {
                    self.wake_at(until);
                }
                Ok(false)
            }
        }
    }

    /// Files that will not be good for ever are made anew in time.
    async fn renew(&mut self) {
        let renewal = |worker: &Self| worker.volumes.as_ref().and_then(PodVolumes::renewal);
        let now = Instant::now();
        if renewal(self).is_some_and(|at| at <= now) {
            self.refresh_all().await;
        }
        if let Some(at) = renewal(self) {
            // What could not be renewed is tried again, but not at once.
            self.wake_at(if at <= now { now + RENEWAL_RETRY } else { at });
        }
    }

    pub(super) async fn have_sandbox(&mut self) -> Result<bool, Interrupted> {
        if self.connected.is_some() {
            return Ok(true);
        }
        let now = Instant::now();
        if let Some((until, _)) = self
            .sandbox_failure
            .and_then(|failed| self.sandbox_backoff.wait_until(failed, now))
        {
            self.wake_at(until);
            return Ok(false);
        }
        match self.connect().await? {
            Ok(connected) => {
                let network = PodNetwork {
                    netns: connected.sandbox.netns.clone(),
                    resolv_conf: connected.sandbox.resolv_conf(),
                };
                self.node
                    .shared
                    .connector
                    .set_network(&self.key(), &self.uid(), Some(network));
                self.connected = Some(connected);
                self.sandbox_failure = None;
                Ok(true)
            }
            Err(message) => {
                self.event(
                    Severity::Warning,
                    "FailedCreatePodSandBox",
                    format!(
                        "Failed to create pod sandbox: rpc error: code = Unknown desc = {message}"
                    ),
                );
                let now = Instant::now();
                self.sandbox_backoff.attempt(now);
                self.sandbox_failure = Some(now);
                if let Some((until, _)) = self.sandbox_backoff.wait_until(now, now) {
                    self.wake_at(until);
                }
                Ok(false)
            }
        }
    }

    async fn connect(&self) -> Result<Result<Connected, String>, Interrupted> {
        let shared = &self.node.shared;
        let config = &self.node.config;
        let resolv_conf = ResolvConf::of(&self.pod, &shared.dns);
        for omitted in resolv_conf.omitted() {
            self.event(Severity::Warning, "DNSConfigForming", omitted.to_string());
        }
        let made = PodSandbox::create(&self.pod, config, &resolv_conf, &shared.state).await;
        let sandbox = match made {
            Ok(sandbox) => sandbox,
            Err(error) => return Ok(Err(format!("failed to create containerd task: {error}"))),
        };
        let host_network = self.pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
        let outcome = if host_network {
            Ok(Ok(CniOutcome {
                pod_ips: vec![config.ip],
            }))
        } else {
            let network = self.network(&sandbox);
            let added = self
                .unless_ending(shared.cni.add(&self.pod, &network))
                .await;
            if !matches!(added, Ok(Ok(_)))
                && let Err(error) = shared.cni.del(&self.pod, &network).await
            {
                tracing::warn!(%error, pod = long_name(&self.pod), "network not taken back");
            }
            added
        };
        let outcome = match outcome? {
            Ok(outcome) => outcome,
            Err(error) => {
                return Ok(Err(format!(
                    "failed to setup network for sandbox {:?}: {error}",
                    sandbox.id
                )));
            }
        };
        let hosts = sandbox::hosts(&self.pod, config, &outcome.pod_ips, &shared.dns);
        if let Err(error) = sandbox.set_hosts(&hosts) {
            return Ok(Err(error.to_string()));
        }
        Ok(Ok(Connected {
            sandbox,
            ips: outcome.pod_ips,
        }))
    }

    pub(super) fn network(&self, sandbox: &PodSandbox) -> Sandbox {
        Sandbox {
            id: sandbox.id.clone(),
            netns: sandbox.netns.clone(),
            node: self.node.config.name.clone(),
        }
    }

    pub(super) async fn object_changed(
        &mut self,
        change: Result<(String, Interest), broadcast::error::RecvError>,
    ) {
        match change {
            Ok((namespace, interest))
                if Some(&namespace) == self.pod.metadata.namespace.as_ref() =>
            {
                // whatever waits for an object may have waited for this one
                self.volume_failure = None;
                for slot in &mut self.slots {
                    slot.retry_at = None;
                }
                self.refresh(&interest).await;
            }
            Ok(_) | Err(broadcast::error::RecvError::Closed) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => {
                self.volume_failure = None;
                self.refresh_all().await;
            }
        }
    }

    pub(super) async fn refresh(&mut self, interest: &Interest) {
        let affected = self
            .pod
            .spec
            .iter()
            .flat_map(|s| s.volumes.iter().flatten())
            .any(|v| interests(v).contains(interest));
        if affected {
            self.refresh_all().await;
        }
    }

    async fn refresh_all(&mut self) {
        let facts = self.facts();
        let Some(volumes) = &self.volumes else { return };
        let around = Surroundings {
            client: &self.node.shared.client,
            state: &self.node.shared.state,
            facts: &facts,
        };
        if let Err(error) = volumes.refresh(&around, &self.pod).await {
            self.event(Severity::Warning, "FailedMount", error.to_string());
        }
    }
}
