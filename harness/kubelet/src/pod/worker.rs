//! The loop.

use std::net::IpAddr;
use std::sync::Arc;

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::ResourceExt;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::container::Slot;
use super::context::NodeContext;
use super::policy::Restart;
use super::status::{Phase, View, phase, pod_status};
use super::writer::StatusWriter;
use crate::backoff::{Backoff, Schedule};
use crate::events::Severity;
use crate::oci::Facts;
use crate::probe::{ProbeKind, Report};
use crate::refs::{Kind, container_ref, pod_ref};
use crate::runtime::Exit;
use crate::sandbox::PodSandbox;
use crate::volumes::{Interest, PodVolumes};

/// What the API says about a pod.
#[derive(Debug, Clone)]
pub(crate) enum Desired {
    Present(Arc<Pod>),
    /// The object is gone, whatever still runs.
    Gone,
}

impl Desired {
    fn is_ending(&self) -> bool {
        match self {
            Self::Present(pod) => pod.metadata.deletion_timestamp.is_some(),
            Self::Gone => true,
        }
    }
}

/// What happened to a container.
#[derive(Debug)]
pub(super) enum Message {
    Exited { container: String, exit: Exit },
    Probed { container: String, report: Report },
}

/// The pod is being deleted; whatever was underway is given up.
#[derive(Debug)]
pub(super) struct Interrupted;

/// A sandbox with its network.
pub(super) struct Connected {
    pub sandbox: PodSandbox,
    pub ips: Vec<IpAddr>,
}

/// Runs one pod until it is gone.
pub(crate) struct Worker {
    pub(super) node: Arc<NodeContext>,
    pub(super) pod: Arc<Pod>,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    pub(super) tell: mpsc::UnboundedSender<Message>,
    pub(super) slots: Vec<Slot>,
    pub(super) connected: Option<Connected>,
    pub(super) volumes: Option<PodVolumes>,
    pub(super) failure: Option<(&'static str, String)>,
    pub(super) stopped: bool,
    pub(super) changes: broadcast::Receiver<(String, Interest)>,
    pub(super) volume_failure: Option<Instant>,
    pub(super) volume_backoff: Backoff,
    pub(super) sandbox_failure: Option<Instant>,
    pub(super) sandbox_backoff: Backoff,
    writer: StatusWriter,
    start_time: Timestamp,
    begun: Instant,
    /// When something has to be looked at again.
    wake: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        node: Arc<NodeContext>,
        pod: Arc<Pod>,
        desired: watch::Receiver<Desired>,
    ) -> Self {
        let (tell, messages) = mpsc::unbounded_channel();
        let spec = pod.spec.clone().unwrap_or_default();
        let init = spec.init_containers.into_iter().flatten().map(|c| {
            let kind = match c.restart_policy.as_deref() {
                Some("Always") => Kind::Sidecar,
                _ => Kind::Init,
            };
            Slot::new(c, kind)
        });
        let main = spec
            .containers
            .into_iter()
            .map(|c| Slot::new(c, Kind::Main));
        Self {
            slots: init.chain(main).collect(),
            changes: node.shared.changes.subscribe(),
            node,
            pod,
            desired,
            messages,
            tell,
            connected: None,
            volumes: None,
            failure: None,
            stopped: false,
            volume_failure: None,
            volume_backoff: Backoff::new(Schedule::VOLUMES),
            sandbox_failure: None,
            sandbox_backoff: Backoff::new(Schedule::SANDBOXES),
            writer: StatusWriter::default(),
            start_time: Timestamp::now(),
            begun: Instant::now(),
            wake: None,
        }
    }

    /// Works until the pod is gone.
    pub(crate) async fn run(mut self) {
        loop {
            self.take_desired();
            if self.ending() {
                self.end().await;
                return;
            }
            self.wake = None;
            // interrupted means ending, which the next turn sees
            if self.sync().await.is_err() {
                continue;
            }
            self.publish().await;
            let wake = self.wake;
            let sleep = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        // the manager is gone: the whole lab is ending
                        return;
                    }
                    self.take_desired();
                    self.refresh(&Interest::Pod).await;
                }
                Some(message) = self.messages.recv() => self.handle(message).await,
                change = self.changes.recv() => self.object_changed(change).await,
                () = sleep => {}
            }
            while let Some(Some(message)) = self.messages.recv().now_or_never() {
                self.handle(message).await;
            }
        }
    }

    fn take_desired(&mut self) {
        if let Desired::Present(pod) = &*self.desired.borrow_and_update() {
            self.pod = Arc::clone(pod);
        }
    }

    pub(super) fn ending(&self) -> bool {
        self.desired.borrow().is_ending()
    }

    /// Runs something that may take long, unless the pod is deleted meanwhile.
    pub(super) async fn unless_ending<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let mut desired = self.desired.clone();
        tokio::select! {
            done = work => Ok(done),
            // an error means that the manager is gone
            _ = desired.wait_for(Desired::is_ending) => Err(Interrupted),
        }
    }

    pub(super) fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }

    pub(super) fn event(
        &self,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.event_about(pod_ref(&self.pod), severity, reason, message);
    }

    pub(super) fn container_event(
        &self,
        index: usize,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let slot = &self.slots[index];
        let about = container_ref(&self.pod, slot.kind, &slot.spec.name);
        self.event_about(about, severity, reason, message);
    }

    fn event_about(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.node
            .shared
            .recorder
            .record(&self.node.reporter, about, severity, reason, message);
    }

    pub(super) fn facts(&self) -> Facts {
        let ips = self
            .connected
            .as_ref()
            .map(|c| c.ips.as_slice())
            .unwrap_or_default();
        Facts {
            node_name: self.node.config.name.to_string(),
            host_ip: self.node.config.ip.to_string(),
            pod_ips: ips.iter().map(ToString::to_string).collect(),
            allocatable_cpu: self.node.cpu,
            allocatable_memory: self.node.memory,
        }
    }

    pub(super) fn key(&self) -> (String, String) {
        (
            self.pod.namespace().unwrap_or_default(),
            self.pod.name_any(),
        )
    }

    pub(super) fn uid(&self) -> String {
        self.pod.uid().unwrap_or_default()
    }

    fn view(&self) -> View<'_> {
        View {
            pod: &self.pod,
            host_ip: self.node.config.ip,
            pod_ips: self
                .connected
                .as_ref()
                .map(|c| c.ips.as_slice())
                .unwrap_or_default(),
            sandbox_ready: self.connected.is_some() && !self.stopped,
            slots: self.slots.iter().map(Slot::view).collect(),
            stopped: self.stopped,
            failure: self.failure.clone(),
            start_time: self.start_time,
            now: Timestamp::now(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        phase(&self.view())
    }

    /// Writes the status if it differs from what was written last.
    pub(super) async fn publish(&mut self) {
        let mut status = pod_status(&self.view());
        // the addresses of a pod that has ended stay in its status
        if let (None, Some(written)) = (&status.pod_ip, self.writer.written()) {
            status.pod_ip.clone_from(&written.pod_ip);
            status.pod_ips.clone_from(&written.pod_ips);
        }
        if let Some(written) = self.writer.written() {
            keep_transition_times(&mut status, written);
        }
        let key = self.key();
        let uid = self.uid();
        for slot in &self.slots {
            self.node
                .shared
                .connector
                .set_container(&key, &uid, &slot.spec.name, slot.entry());
        }
        let client = self.node.shared.client.clone();
        self.writer.write(&client, &self.pod, status).await;
    }

    /// One step towards what is wanted.
    async fn sync(&mut self) -> Result<(), Interrupted> {
        if self.writer.written().is_none() {
            if let Some(phase) = self.pod.status.as_ref().and_then(|s| s.phase.as_deref())
                && matches!(phase, "Succeeded" | "Failed")
            {
                // ended before this kubelet began
                return self.unless_ending(std::future::pending()).await;
            }
            self.publish().await;
        }
        self.check_deadline();
        if self.phase().is_final() {
            self.release().await;
            return Ok(());
        }
        if !self.have_volumes().await? || !self.have_sandbox().await? {
            return Ok(());
        }
        self.containers().await
    }

    fn check_deadline(&mut self) {
        let Some(seconds) = self
            .pod
            .spec
            .as_ref()
            .and_then(|s| s.active_deadline_seconds)
        else {
            return;
        };
        let deadline =
            self.begun + std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        if Instant::now() < deadline {
            self.wake_at(deadline);
        } else if self.failure.is_none() && !self.phase().is_final() {
            let message =
                "Pod was active on the node longer than the specified deadline".to_owned();
            self.event(Severity::Normal, "DeadlineExceeded", message.clone());
            self.failure = Some(("DeadlineExceeded", message));
        }
    }

    /// A pod that has ended keeps its object, but nothing else.
    async fn release(&mut self) {
        if self.slots.iter().any(Slot::is_running) {
            for index in 0..self.slots.len() {
                if !self.slots[index].is_stopping() {
                    self.stop(index, self.grace(), None);
                }
            }
            return;
        }
        self.disconnect().await;
        self.volumes = None;
    }

    /// Starts what should run, in order.
    async fn containers(&mut self) -> Result<(), Interrupted> {
        let restart = Restart::of(&self.pod);
        let mains_begun = self
            .slots
            .iter()
            .any(|s| s.kind == Kind::Main && (s.run.is_some() || s.waiting.is_some()));
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let due = match (slot.kind, slot.exit_code()) {
                _ if slot.is_running() => false,
                // done, or no longer of interest
                (Kind::Init, Some(0)) => false,
                (Kind::Init, _) if mains_begun => false,
                (Kind::Init, Some(_)) => restart != Restart::Never,
                (Kind::Main, Some(code)) => restart.after(code),
                (_, None) | (Kind::Sidecar, Some(_)) => true,
            };
            if due {
                self.start(index).await?;
            }
            let slot = &self.slots[index];
            let blocks = match slot.kind {
                Kind::Init => !mains_begun && slot.exit_code() != Some(0),
                Kind::Sidecar => !mains_begun && !slot.run.as_ref().is_some_and(|r| r.started),
                Kind::Main => false,
            };
            if blocks {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn handle(&mut self, message: Message) {
        match message {
            Message::Exited { container, exit } => self.exited(&container, exit).await,
            Message::Probed { container, report } => self.probed(&container, report),
        }
    }

    fn probed(&mut self, container: &str, report: Report) {
        let Some(index) = self
            .index_of(container)
            .filter(|i| self.slots[*i].is_running())
        else {
            return;
        };
        match report {
            Report::Failed { kind, text } => self.container_event(
                index,
                Severity::Warning,
                "Unhealthy",
                format!("{} probe failed: {text}", kind.title()),
            ),
            Report::Changed { kind, healthy } => {
                let name = self.slots[index].spec.name.clone();
                let Some(run) = self.slots[index].run.as_mut() else {
                    return;
                };
                match (kind, healthy) {
                    (ProbeKind::Readiness, ready) => run.ready = ready,
                    (ProbeKind::Startup, true) => {
                        run.started = true;
                        if let Some(probes) = &run.probes {
                            probes.set_started();
                        }
                    }
                    (ProbeKind::Liveness, true) => {}
                    (ProbeKind::Startup | ProbeKind::Liveness, false) => {
                        let grace = self.probe_grace(index, kind);
                        let title = kind.title().to_lowercase();
                        self.stop(
                            index,
                            grace,
                            Some(format!(
                                "Container {name} failed {title} probe, will be restarted"
                            )),
                        );
                    }
                }
            }
        }
    }

    pub(super) fn index_of(&self, container: &str) -> Option<usize> {
        self.slots
            .iter()
            .position(|s| s.run.as_ref().is_some_and(|r| r.id == container))
    }
}

/// The object that the worker sees may be older than what it wrote.
fn keep_transition_times(
    status: &mut k8s_openapi::api::core::v1::PodStatus,
    written: &k8s_openapi::api::core::v1::PodStatus,
) {
    for condition in status.conditions.iter_mut().flatten() {
        let same = written
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == condition.type_ && c.status == condition.status);
        if let Some(same) = same {
            condition
                .last_transition_time
                .clone_from(&same.last_transition_time);
        }
    }
}
