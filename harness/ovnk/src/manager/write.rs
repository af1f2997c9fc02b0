//! Carrying decisions out.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::nad;
use crate::world::{POD_NETWORKS, node_annotations};

use super::Action;

/// Field managers, as the real processes call themselves.
const MANAGER: &str = "ovnkube-cluster-manager";

/// Writes one decision. An object that is gone meanwhile is nobody's concern.
pub(super) async fn write(client: &kube::Client, action: &Action) -> Result<(), kube::Error> {
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let result = match action {
        Action::AnnotateNode { name, annotations } => {
            let labels = json!({node_annotations::ZONE: name.as_str()});
            let patch = json!({"metadata": {"annotations": annotations, "labels": labels}});
            let api: Api<Node> = Api::all(client.clone());
            api.patch(name.as_str(), &params, &Patch::Merge(patch))
                .await
                .map(drop)
        }
        Action::AnnotateNad { key, network, id } => {
            let annotations = json!({
                nad::NETWORK_ID: id.to_string(),
                nad::NETWORK_NAME: network,
                nad::TUNNEL_KEYS: "[]",
            });
            let patch = json!({"metadata": {"annotations": annotations}});
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &key.namespace, &nad::resource());
            api.patch(&key.name, &params, &Patch::Merge(patch))
                .await
                .map(drop)
        }
        Action::AnnotatePod { key, uid, networks } => {
            let networks = serde_json::to_string(networks).map_err(kube::Error::SerdeError)?;
            // The UID makes sure that it is still the same pod.
            let patch = json!({"metadata": {"uid": uid, "annotations": {POD_NETWORKS: networks}}});
            let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
            api.patch(&key.name, &params, &Patch::Merge(patch))
                .await
                .map(drop)
        }
        Action::Tell(..) => Ok(()),
    };
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}
