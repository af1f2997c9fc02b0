//! The life of one instance: waiting until it is its turn, starting, running, ending.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use trunkline_kubelet::Severity;
use trunkline_kubevirt::types::{InterfaceBindingPlugin, VirtualMachineInstance, VmiPhase};
use trunkline_qemu::Events;

use super::writer::Writer;
use super::{Context, Running, status};
use crate::domain::{Domain, Early, LaunchError, Launched, Launcher, launch};

pub struct Life {
    pub(super) context: Arc<Context>,
    pub(super) vmi: watch::Receiver<Arc<VirtualMachineInstance>>,
    pub(super) writer: Writer,
    /// Where it was scheduled to; nothing before.
    pub(super) node: String,
}

/// The instance is being deleted, or gone.
struct Unwanted;

impl Life {
    pub fn new(context: Arc<Context>, vmi: watch::Receiver<Arc<VirtualMachineInstance>>) -> Self {
        let writer = Writer::new(context.client.clone(), &vmi.borrow());
        Self {
            context,
            vmi,
            writer,
            node: String::new(),
        }
    }

    pub async fn live(mut self) {
        let early = self.begin_early();
        let Some(scheduled) = self.scheduled().await else {
            return;
        };
        if phase(&scheduled) == Some(VmiPhase::Running) {
            // It ran under a handler that is gone, and ended with it.
            self.fail("the node agent that ran the machine is gone")
                .await;
            return;
        }
        match self.start(&scheduled, early).await {
            Ok(Ok(started)) => self.run(started).await,
            Ok(Err(error)) => self.fail(&error.to_string()).await,
            Err(Unwanted) => self.end(VmiPhase::Failed, None).await,
        }
    }

    pub(super) fn latest(&self) -> Arc<VirtualMachineInstance> {
        Arc::clone(&self.vmi.borrow())
    }

    pub(super) fn event(
        &self,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.context
            .event(&self.latest(), &self.node, severity, reason, message);
    }

    /// Waits until virt-controller has handed the instance over. Nothing if it never will.
    async fn scheduled(&mut self) -> Option<Arc<VirtualMachineInstance>> {
        let ready = self
            .vmi
            .wait_for(|vmi| match phase(vmi) {
                Some(VmiPhase::Scheduled | VmiPhase::Running) => node(vmi).is_some(),
                Some(phase) => phase.is_final(),
                None => false,
            })
            .await
            .ok()?;
        let vmi = Arc::clone(&ready);
        drop(ready);
        node(&vmi)?.clone_into(&mut self.node);
        let ours = self.context.node(&self.node).is_some();
        (ours && !phase(&vmi).is_some_and(VmiPhase::is_final)).then_some(vmi)
    }

    /// Makes what can be made while the pod is still to come.
    fn begin_early(&self) -> AbortOnDropHandle<Early> {
        let prepare = Early::prepare(Arc::clone(&self.context), self.latest());
        AbortOnDropHandle::new(tokio::spawn(prepare))
    }

    async fn start(
        &mut self,
        vmi: &Arc<VirtualMachineInstance>,
        early: AbortOnDropHandle<Early>,
    ) -> Result<Result<Started, LaunchError>, Unwanted> {
        let mut wanted = self.vmi.clone();
        let unwanted = async move {
            // An instance that is gone is not wanted either.
            let _ = wanted
                .wait_for(|vmi| vmi.metadata.deletion_timestamp.is_some())
                .await;
        };
        tokio::select! {
            started = self.launch(vmi, early) => Ok(started),
            () = unwanted => Err(Unwanted),
        }
    }

    async fn launch(
        &self,
        vmi: &Arc<VirtualMachineInstance>,
        early: AbortOnDropHandle<Early>,
    ) -> Result<Started, LaunchError> {
        let plugins = self.context.plugins().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the binding plugins are unknown");
            BTreeMap::new()
        });
        // A preparation that panicked has prepared nothing.
        let early = async { early.await.unwrap_or_default() };
        let mut launched = match launch(&self.context, vmi, &self.node, &plugins, early).await {
            Ok(launched) => launched,
            Err(error) => {
                self.judge(&plugins).await;
                return Err(error);
            }
        };
        self.event(
            Severity::Normal,
            "Created",
            "VirtualMachineInstance defined.",
        );
        let facts = launched.domain.facts.clone();
        let judged = self.writer.change(self.latest(), |vmi, status| {
            judge(vmi, &plugins, status);
            status::checksums(&mut status.volume_status, &facts);
        });
        let paused = starts_paused(vmi);
        let (_, booted) = tokio::join!(judged, launched.boot(paused));
        booted?;
        let started = self.publish(launched);
        self.writer
            .change(self.latest(), |vmi, status| {
                let pod = status::Pod::Lives;
                status.interfaces =
                    status::interfaces(vmi, &status.interfaces, &facts.nics, None, pod);
                status.machine = Some(trunkline_kubevirt::types::Machine {
                    type_: trunkline_qemu::MACHINE_TYPE.to_owned(),
                });
                status::targets(&mut status.volume_status, &facts);
                if paused {
                    status::paused(&mut status.conditions, Some(status::Paused::ByUser));
                }
                status::phase(status, VmiPhase::Running);
            })
            .await;
        self.event(
            Severity::Normal,
            "Started",
            "VirtualMachineInstance started.",
        );
        Ok(started)
    }

    /// What is said of a machine whether it runs or not.
    async fn judge(&self, plugins: &BTreeMap<String, InterfaceBindingPlugin>) {
        self.writer
            .change(self.latest(), |vmi, status| judge(vmi, plugins, status))
            .await;
    }

    async fn fail(&self, message: &str) {
        self.event(Severity::Warning, "SyncFailed", message);
        let written = self.writer.change(self.latest(), |_, status| {
            status::failure(&mut status.conditions, message);
            status::phase(status, VmiPhase::Failed);
        });
        if written.await {
            self.event(
                Severity::Warning,
                "Stopped",
                "The VirtualMachineInstance crashed.",
            );
            self.event(Severity::Normal, "Deleted", "Signaled Deletion");
        }
    }

    /// Makes the machine reachable: whoever reads that it runs may want something of it at once.
    fn publish(&self, launched: Launched) -> Started {
        let Launched {
            launcher,
            domain,
            events,
            ..
        } = launched;
        let domain = Arc::new(domain);
        let uid = self.latest().uid().unwrap_or_default();
        if let Some(node) = self.context.node(&self.node) {
            let running = Running {
                domain: Arc::clone(&domain),
                node: node.clone(),
                vmi: self.vmi.clone(),
            };
            self.context.domains().insert(uid.clone(), running);
        }
        Started {
            launcher,
            domain,
            events,
            published: Published {
                context: Arc::clone(&self.context),
                uid,
            },
        }
    }
}

/// A machine that runs and can be reached.
pub(super) struct Started {
    pub launcher: Launcher,
    pub domain: Arc<Domain>,
    pub events: Events,
    pub published: Published,
}

/// Whether it can be migrated, and that nothing labels it.
fn judge(
    vmi: &VirtualMachineInstance,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
    status: &mut trunkline_kubevirt::types::VirtualMachineInstanceStatus,
) {
    status::migratable(vmi, plugins, status);
    status.selinux_context = Some("none".to_owned());
}

/// That a machine can be reached, until this is dropped.
pub(super) struct Published {
    context: Arc<Context>,
    uid: String,
}

impl Drop for Published {
    fn drop(&mut self) {
        self.context.domains().remove(&self.uid);
    }
}

pub(super) fn starts_paused(vmi: &VirtualMachineInstance) -> bool {
    vmi.spec.start_strategy.as_deref() == Some("Paused")
}

fn phase(vmi: &VirtualMachineInstance) -> Option<VmiPhase> {
    vmi.status.as_ref().and_then(|status| status.phase)
}

fn node(vmi: &VirtualMachineInstance) -> Option<&str> {
    vmi.status
        .as_ref()
        .and_then(|status| status.node_name.as_deref())
}
