//! Waiting for the addresses that the cluster manager gives.

use std::time::Duration;

use super::{Context, Request};
use crate::world::Attachment;

/// The kubelet gives up on a sandbox after as long.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub(super) enum WaitError {
    #[error(
        "failed to get pod annotation: timed out waiting for annotations: context deadline exceeded"
    )]
    TimedOut,
    #[error(
        "failed to get pod annotation: canceled while waiting for annotations: context canceled"
    )]
    Canceled,
}

/// What the pod has on the network, as soon as it is known.
pub(super) async fn attachment(
    cx: &Context,
    request: &Request,
    network: &str,
) -> Result<Attachment, WaitError> {
    let mut worlds = cx.worlds.clone();
    let find = async {
        loop {
            let found = {
                let published = worlds.borrow_and_update();
                published
                    .world
                    .pods
                    .get(&request.key)
                    .filter(|pod| pod.uid == request.uid)
                    .and_then(|pod| pod.networks.get(network).cloned())
            };
            if let Some(attachment) = found {
                return Ok(attachment);
            }
            worlds.changed().await.map_err(|_| WaitError::Canceled)?;
        }
    };
    tokio::time::timeout(LIMIT, find)
        .await
        .unwrap_or(Err(WaitError::TimedOut))
}
