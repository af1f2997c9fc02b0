//! Waiting until the slices say what the pods say: whoever looks at a Service right after its pods changed would see
//! the state before.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, ResourceExt};

use super::super::common::{Failure, is_deleted};
use super::{groups, pods, selector, slices};

/// A controller that has nothing else to do needs milliseconds.
const LIMIT: Duration = Duration::from_secs(5);

/// Returns when the slices of every Service with a selector are those of its pods. Slices that somebody else keeps
/// changing are not waited for without end.
pub async fn settled(client: &Client) {
    let settling = async {
        let slices = Api::<PartialObjectMeta<EndpointSlice>>::all(client.clone());
        let changes = watcher(slices, watcher::Config::default()).default_backoff();
        let mut changes = std::pin::pin!(changes);
        loop {
            match are_current(client).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "looking at endpoints"),
            }
            if changes.next().await.is_none() {
                return;
            }
        }
    };
    if tokio::time::timeout(LIMIT, settling).await.is_err() {
        tracing::warn!("the endpoints of some Service do not become those of its pods");
    }
}

async fn are_current(client: &Client) -> Result<bool, Failure> {
    let services = Api::<Service>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    for service in services.items {
        let Some(selector) = selector(&service).filter(|_| !is_deleted(&service)) else {
            continue;
        };
        let namespace = service.namespace().unwrap_or_default();
        let pods = pods(client, &namespace, selector).await?;
        let groups = groups::by_ports(&service, &pods);
        if !slices::are_written(client, &service, &namespace, &groups).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
