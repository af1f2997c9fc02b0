//! Writing the status of an instance that others write too.

use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};
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
            let difference = difference(&to_value(&before), &to_value(&after));
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

/// The merge patch that makes the one of the other; nothing if they are equal.
fn difference(before: &Value, after: &Value) -> Option<Value> {
    if before == after {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return Some(after.clone());
    };
    let mut patch = Map::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in after {
        match before.get(name) {
            Some(known) => {
                if let Some(changed) = difference(known, value) {
                    patch.insert(name.clone(), changed);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn a_difference_names_what_changed() {
        let before = json!({"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2], "f": {}});
        assert_eq!(difference(&before, &before), None);
        let after = json!({"a": 1, "b": {"c": 4}, "e": [2], "f": {}, "g": true});
        let patch = difference(&before, &after).unwrap();
        assert_eq!(
            patch,
            json!({"b": {"c": 4, "d": null}, "e": [2], "g": true})
        );
    }
}
