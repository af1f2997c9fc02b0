//! Connecting a pod's sandbox: Multus 4.2.3 in front of OVN-Kubernetes' CNI plugin.

mod attach;
mod delegate;
mod status;
mod wait;

use std::net::IpAddr;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use trunkline_fabric::{Fabric, NetNs, NodeName};

use crate::events::{Happening, Recorder, Severity, Source, Subject};
use crate::names::Key;
use crate::observe::Worlds;
use crate::world::{Attachment, key};

use attach::attach;
use delegate::Delegate;

/// What is needed to connect pods. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    client: kube::Client,
    fabric: Fabric,
    worlds: Worlds,
    recorder: Recorder,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Context {
    pub(crate) fn new(
        client: kube::Client,
        fabric: Fabric,
        worlds: Worlds,
        recorder: Recorder,
    ) -> Context {
        Context {
            client,
            fabric,
            worlds,
            recorder,
        }
    }
}

/// What the container runtime appends to `failed to setup network for sandbox "…": `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plugin type=\"multus\" name=\"multus-cni-network\" failed (add): {0}")]
pub struct CniError(String);

/// A connected pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// On the default network.
    pub pod_ips: Vec<IpAddr>,
}

/// A pod's sandbox, as every part sees it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    key: Key,
    uid: String,
    sandbox: String,
    netns: NetNs,
    node: NodeName,
}

impl Request {
    /// Multus' own errors.
    fn error(&self, message: impl std::fmt::Display) -> CniError {
        let (key, uid) = (&self.key, &self.uid);
        CniError(format!("Multus: [{key}/{uid}]: {message}"))
    }

    /// Errors of the plugin for one network.
    fn plugin_error(&self, network: &str, message: impl std::fmt::Display) -> CniError {
        let (key, uid) = (&self.key, &self.uid);
        CniError(format!(
            "[{key}/{uid}:{network}]: error adding container to network {network:?}: {message}"
        ))
    }

    fn subject(&self) -> Subject {
        Subject::Pod {
            key: self.key.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// What Multus says about a pod.
fn happening(severity: Severity, reason: &'static str, message: String) -> Happening {
    Happening {
        source: Source::Multus,
        severity,
        reason,
        message,
    }
}

/// Makes every interface of the pod, and writes down what it got. Whatever was made is taken back
/// when one of them fails; call [`del`] too when the future is dropped.
pub async fn add(
    cx: &Context,
    pod: &Pod,
    sandbox: &str,
    netns: &NetNs,
    node: &NodeName,
) -> Result<Added, CniError> {
    let request = Request {
        key: key(pod),
        uid: pod.uid().unwrap_or_default(),
        sandbox: sandbox.to_owned(),
        netns: netns.clone(),
        node: node.clone(),
    };
    let delegates = delegate::load(cx, &request, pod).await?;
    match attach_all(cx, &request, &delegates).await {
        Ok(attached) => {
            status::write(cx, &request, &delegates, &attached).await?;
            let addresses = attached.first().map(|a| a.addresses.as_slice());
            let addresses = addresses.unwrap_or_default().iter();
            Ok(Added {
                pod_ips: addresses.map(ipnet::IpNet::addr).collect(),
            })
        }
        Err(error) => {
            // The first error is the one to tell.
            if let Err(error) = del(cx, sandbox, node).await {
                tracing::debug!(pod = %request.key, %error, "cleaning up after a failed attachment");
            }
            Err(error)
        }
    }
}

/// Takes back whatever [`add`] made for the sandbox. Repeating it does no harm.
pub async fn del(cx: &Context, sandbox: &str, node: &NodeName) -> Result<(), CniError> {
    let done = cx.fabric.unplug_sandbox(node, sandbox).await;
    done.map_err(|error| CniError(error.to_string()))
}

/// The interfaces are made side by side, but told of in order, as Multus makes them one by one.
async fn attach_all(
    cx: &Context,
    request: &Request,
    delegates: &[Delegate],
) -> Result<Vec<Attachment>, CniError> {
    let mut pending: FuturesOrdered<_> = delegates
        .iter()
        .map(|delegate| attach(cx, request, delegate))
        .collect();
    let mut attached = Vec::new();
    while let Some(result) = pending.next().await {
        let attachment: Attachment = result?;
        let delegate = &delegates[attached.len()];
        let addresses: Vec<_> = attachment
            .addresses
            .iter()
            .map(ipnet::IpNet::to_string)
            .collect();
        let message = format!(
            "Add {} [{}] from {}",
            delegate.interface,
            addresses.join(" "),
            delegate.display_name()
        );
        let added = happening(Severity::Normal, "AddedInterface", message);
        cx.recorder.record(request.subject(), added);
        attached.push(attachment);
    }
    Ok(attached)
}
