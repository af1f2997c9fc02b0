//! The lab's network: the fabric, OVN-Kubernetes on it, and the cluster's DNS. The API and the kubelet exist before it
//! does, so whoever asks waits until it stands.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use trunkline_fabric::{Convergence, Fabric};
use trunkline_kubelet::{Cni, CniError, CniOutcome, Sandbox, controllers};
use trunkline_ovnk::{Ovnk, cni};

use crate::dns::Dns;

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

struct Standing {
    client: kube::Client,
    fabric: Fabric,
    ovnk: Ovnk,
    dns: Dns,
}

/// See the module.
pub struct Network {
    standing: watch::Sender<Option<std::sync::Arc<Standing>>>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
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
    pub fn stands(&self, client: kube::Client, fabric: Fabric, ovnk: Ovnk, dns: Dns) {
        let standing = Standing {
            client,
            fabric,
            ovnk,
            dns,
        };
        self.standing
            .send_replace(Some(std::sync::Arc::new(standing)));
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

    /// Returns when every change made so far is in force in every zone, and names can be resolved.
    pub async fn barrier(&self) -> Result<Convergence, NetworkError> {
        let standing = self.standing().await?;
        standing.dns.begun().await;
        controllers::endpoints_settled(&standing.client).await;
        standing.dns.caught_up(&standing.client).await;
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
        let added = added.map_err(|error| CniError(error.to_string()))?;
        standing
            .dns
            .pod_added(pod, sandbox)
            .await
            .map_err(|error| CniError(error.to_string()))?;
        Ok(CniOutcome {
            pod_ips: added.pod_ips,
        })
    }

    async fn del(&self, _pod: &Pod, sandbox: &Sandbox) -> Result<(), CniError> {
        let standing = self
            .standing()
            .await
            .map_err(|error| CniError(error.to_string()))?;
        standing.dns.pod_gone(sandbox);
        let deleted = cni::del(standing.ovnk.cni(), &sandbox.id, &sandbox.node).await;
        deleted.map_err(|error| CniError(error.to_string()))
    }
}
