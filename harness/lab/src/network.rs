//! The lab's network: the fabric, and OVN-Kubernetes on it. The API and the kubelet exist before it does, so whoever
//! asks waits until it stands.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use trunkline_fabric::{Convergence, Fabric};
use trunkline_kubelet::{Cni, CniError, CniOutcome, Sandbox};
use trunkline_ovnk::{Ovnk, cni};

/// The network cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("the lab ends before its network stands")]
    Ended,
    #[error(transparent)]
    Fabric(#[from] trunkline_fabric::Error),
    #[error(transparent)]
    OvnKubernetes(#[from] trunkline_ovnk::Error),
}

#[derive(Debug)]
struct Standing {
    fabric: Fabric,
    ovnk: Ovnk,
}

/// See the module.
#[derive(Debug)]
pub struct Network {
    standing: watch::Sender<Option<std::sync::Arc<Standing>>>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            standing: watch::Sender::new(None),
        }
    }
}

impl Network {
    /// From now on it answers.
    pub fn stands(&self, fabric: Fabric, ovnk: Ovnk) {
        self.standing
            .send_replace(Some(std::sync::Arc::new(Standing { fabric, ovnk })));
    }

    async fn standing(&self) -> Result<std::sync::Arc<Standing>, NetworkError> {
        let mut watched = self.standing.subscribe();
        let standing = watched
            .wait_for(Option::is_some)
            .await
            .map_err(|_| NetworkError::Ended)?;
        standing.clone().ok_or(NetworkError::Ended)
    }

    /// Returns when every node can be used.
    pub async fn ready(&self) -> Result<(), NetworkError> {
        Ok(self.standing().await?.ovnk.ready().await?)
    }

    /// Returns when every change made so far is in force in every zone.
    pub async fn barrier(&self) -> Result<Convergence, NetworkError> {
        let standing = self.standing().await?;
        standing.ovnk.settled().await?;
        Ok(standing.fabric.barrier().await?)
    }
}

#[async_trait]
impl Cni for Network {
    async fn add(&self, pod: &Pod, sandbox: &Sandbox) -> Result<CniOutcome, CniError> {
        let standing = self
            .standing()
            .await
            .map_err(|error| CniError(error.to_string()))?;
        let added = cni::add(
            standing.ovnk.cni(),
            pod,
            &sandbox.id,
            &sandbox.netns,
            &sandbox.node,
        )
        .await;
        match added {
            Ok(added) => Ok(CniOutcome {
                pod_ips: added.pod_ips,
            }),
            Err(error) => Err(CniError(error.to_string())),
        }
    }

    async fn del(&self, _pod: &Pod, sandbox: &Sandbox) -> Result<(), CniError> {
        let standing = self
            .standing()
            .await
            .map_err(|error| CniError(error.to_string()))?;
        let deleted = cni::del(standing.ovnk.cni(), &sandbox.id, &sandbox.node).await;
        deleted.map_err(|error| CniError(error.to_string()))
    }
}
