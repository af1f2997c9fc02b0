//! Claims of a pod that is to be scheduled.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::Stores;
use super::affinity::term_matches;
use crate::controllers::volumes::{DEFAULT_CLASS, SELECTED_NODE};

/// What the pod's claims mean for its place.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Volumes that it is bound to already.
    volumes: Vec<Arc<PersistentVolume>>,
    /// Claims that wait for a pod's node.
    pub unbound: Vec<Arc<PersistentVolumeClaim>>,
}

impl Claims {
    /// The error is a reason against every node.
    pub(super) fn of(pod: &Pod, stores: &Stores) -> Result<Self, String> {
        let namespace = pod.namespace().unwrap_or_default();
        let mut claims = Self::default();
        let sources = pod
            .spec
            .iter()
            .flat_map(|s| s.volumes.iter().flatten())
            .filter_map(|v| v.persistent_volume_claim.as_ref());
        for source in sources {
            let name = &source.claim_name;
            let claim = stores
                .claims
                .get(&ObjectRef::new(name).within(&namespace))
                .ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
            if claim.metadata.deletion_timestamp.is_some() {
                return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
            let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref());
            match volume.filter(|_| bound) {
                Some(volume) => claims
                    .volumes
                    .extend(stores.volumes.get(&ObjectRef::new(volume))),
                None if waits_for_consumer(&claim, stores) => claims.unbound.push(claim),
                None => return Err("pod has unbound immediate PersistentVolumeClaims".to_owned()),
            }
        }
        Ok(claims)
    }

    /// Whether the volumes can be had on this node.
    pub(super) fn fit(&self, node: &Node) -> bool {
        self.volumes.iter().all(|volume| {
            volume
                .spec
                .as_ref()
                .and_then(|s| s.node_affinity.as_ref())
                .and_then(|a| a.required.as_ref())
                .is_none_or(|r| r.node_selector_terms.iter().any(|t| term_matches(t, node)))
        })
    }

    /// Tells the provisioner where the pod will be.
    pub(super) async fn select_node(&self, client: &Client, node: &str) {
        for claim in &self.unbound {
            if claim
                .annotations()
                .get(SELECTED_NODE)
                .is_some_and(|n| n == node)
            {
                continue;
            }
            let api: Api<PersistentVolumeClaim> =
                Api::namespaced(client.clone(), &claim.namespace().unwrap_or_default());
            let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}});
            if let Err(error) = api
                .patch(
                    &claim.name_any(),
                    &PatchParams::default(),
                    &Patch::Merge(patch),
                )
                .await
            {
                tracing::debug!(%error, claim = claim.name_any(), "node not selected");
            }
        }
    }
}

fn waits_for_consumer(claim: &PersistentVolumeClaim, stores: &Stores) -> bool {
    let name = claim
        .spec
        .as_ref()
        .and_then(|s| s.storage_class_name.as_deref())
        .unwrap_or(DEFAULT_CLASS);
    stores
        .classes
        .get(&ObjectRef::new(name))
        .is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
}
