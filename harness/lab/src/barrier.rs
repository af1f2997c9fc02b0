//! `lab.trunkline.dev/v1alpha1 Barrier`: created, it answers when every change made before is in force in every zone.

use std::sync::Arc;

use async_trait::async_trait;
use kubeapi::{Status, User, VirtualHandler, VirtualResource};
use serde_json::{Value, json};

use crate::network::Network;

pub const GROUP: &str = "lab.trunkline.dev";
pub const VERSION: &str = "v1alpha1";

/// The resource, for the API server.
pub fn resource(network: Arc<Network>) -> VirtualResource {
    VirtualResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        plural: "barriers".to_owned(),
        singular: "barrier".to_owned(),
        kind: "Barrier".to_owned(),
        namespaced: false,
        handler: Arc::new(Barrier(network)),
    }
}

struct Barrier(Arc<Network>);

#[async_trait]
impl VirtualHandler for Barrier {
    async fn create(
        &self,
        _namespace: Option<&str>,
        mut object: Value,
        _user: &User,
    ) -> Result<Value, Status> {
        let convergence = self.0.barrier().await.map_err(|error| {
            Status::internal(&format!("the network does not converge: {error}"))
        })?;
        let zones: Vec<_> = convergence
            .zones
            .iter()
            .map(|(node, zone)| json!({"name": node.as_str(), "nbCfg": zone.nb_cfg, "tookMilliseconds": millis(zone.took)}))
            .collect();
        object["status"] = json!({"tookMilliseconds": millis(convergence.took), "zones": zones});
        Ok(object)
    }
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
