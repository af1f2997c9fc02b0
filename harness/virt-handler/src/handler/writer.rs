//! Writing the status of an instance that others write too.

use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use trunkline_kubevirt::merge_patch;
use trunkline_kubevirt::types::{VirtualMachineInstance, VirtualMachineInstanceStatus};

/// One instance, by its uid: one with the same name that came later is left alone.
#[derive(Debug)]
pub struct Writer {
    api: Api<VirtualMachineInstance>,
    uid: String,
    /// As it was after the last change: the watch may not have told yet.
    written: Mutex<Option<Arc<VirtualMachineInstance>>>,
}

impl Writer {
    pub fn new(client: Client, vmi: &VirtualMachineInstance) -> Self {
        Self {
            api: Api::namespaced(client, &vmi.namespace().unwrap_or_default()),
            uid: vmi.uid().unwrap_or_default(),
            written: Mutex::default(),
        }
    }

    /// The later of what was told and what was written.
    fn latest(&self, told: Arc<VirtualMachineInstance>) -> Arc<VirtualMachineInstance> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        match &*written {
            Some(written) if version(written) > version(&told) => Arc::clone(written),
            _ => told,
        }
    }

    fn remember(&self, written: VirtualMachineInstance) -> Arc<VirtualMachineInstance> {
        let written = Arc::new(written);
        let mut known = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(&written));
        written
    }

    /// Applies the change to the latest version, as often as somebody else was faster. Whether the instance is still
    /// there.
    pub async fn change(
        &self,
        told: Arc<VirtualMachineInstance>,
        change: impl Fn(&VirtualMachineInstance, &mut VirtualMachineInstanceStatus),
    ) -> bool {
        let name = told.name_any();
        let mut latest = self.latest(told);
        loop {
            let before = latest.status.clone().unwrap_or_default();
            let mut after = before.clone();
            change(&latest, &mut after);
            let difference = merge_patch(&to_value(&before), &to_value(&after));
            let Some(difference) = difference else {
                return true;
            };
            let patch = json!({
                "metadata": {"resourceVersion": latest.metadata.resource_version},
                "status": difference,
            });
            let written = self
                .api
                .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await;
            match written {
                Ok(written) => {
                    self.remember(written);
                    return true;
                }
                Err(kube::Error::Api(status)) if status.code == 409 => match self.read(&name).await
                {
                    Some(read) => latest = self.remember(read),
                    None => return false,
                },
                Err(kube::Error::Api(status)) if status.code == 404 => return false,
                Err(error) => {
                    tracing::warn!(%error, name, "the status was not written");
                    return true;
                }
            }
        }
    }

    async fn read(&self, name: &str) -> Option<VirtualMachineInstance> {
        match self.api.get_opt(name).await {
            Ok(vmi) => vmi.filter(|vmi| vmi.uid().as_deref() == Some(self.uid.as_str())),
            Err(error) => {
                tracing::warn!(%error, name, "the instance could not be read");
                None
            }
        }
    }
}

/// Versions of one object are numbers that grow.
fn version(vmi: &VirtualMachineInstance) -> u64 {
    let version = vmi.metadata.resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn to_value(status: &VirtualMachineInstanceStatus) -> Value {
    // It was read from JSON.
    serde_json::to_value(status).unwrap_or_default()
}
