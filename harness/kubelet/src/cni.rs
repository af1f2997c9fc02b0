//! What the kubelet asks of the network.

use std::net::IpAddr;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use trunkline_fabric::{NetNs, NodeName};

/// What all containers of a pod share, as the network sees it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// 64 hexadecimal digits, new for every attempt.
    pub id: String,
    pub netns: NetNs,
    pub node: NodeName,
}

/// What a pod got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniOutcome {
    /// The pod's own addresses (`status.podIPs`), the first one being `status.podIP`.
    pub pod_ips: Vec<IpAddr>,
}

/// Why a pod has no network, in the words that follow `failed to setup network for sandbox "…": `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CniError(pub String);

/// Connects sandboxes to the cluster's networks.
#[async_trait]
pub trait Cni: Send + Sync {
    /// Makes every interface of the pod. The future is dropped when the pod is deleted meanwhile; [`Cni::del`]
    /// follows in any case.
    async fn add(&self, pod: &Pod, sandbox: &Sandbox) -> Result<CniOutcome, CniError>;

    /// Takes back whatever [`Cni::add`] did, complete or not. Must be repeatable.
    async fn del(&self, pod: &Pod, sandbox: &Sandbox) -> Result<(), CniError>;
}
