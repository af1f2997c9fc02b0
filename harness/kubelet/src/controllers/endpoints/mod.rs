//! EndpointSlices and Endpoints of Services with a selector.

mod groups;
mod legacy;
mod settled;
mod slices;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Api, ListParams};
use kube::core::Selector;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt};

use super::common::{Context, Failure, drive, has_failed, has_succeeded, is_deleted};
use super::scheduler::selector_matches;
use crate::events::Recorder;

pub use settled::settled;

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(
        Api::<Service>::all(client.clone()),
        watcher::Config::default(),
    );
    let services = controller.store();
    // A pod that is selected no more still concerns whoever selected it before.
    let selected: Mutex<HashMap<ObjectRef<Pod>, Vec<ObjectRef<Service>>>> = Mutex::default();
    let controller = controller.watches(
        Api::<Pod>::all(client.clone()),
        watcher::Config::default(),
        move |pod: Pod| {
            let now: Vec<_> = services
                .state()
                .into_iter()
                .filter(|s| s.namespace() == pod.namespace() && selects(s, &pod))
                .map(|s| ObjectRef::from_obj(&*s))
                .collect();
            let mut selected = selected.lock().unwrap_or_else(PoisonError::into_inner);
            let key = ObjectRef::from_obj(&pod);
            let before = if now.is_empty() {
                selected.remove(&key)
            } else {
                selected.insert(key, now.clone())
            };
            let before = before.unwrap_or_default().into_iter();
            let gone: Vec<_> = before.filter(|service| !now.contains(service)).collect();
            now.into_iter().chain(gone)
        },
    );
    let context = Context::new(client.clone(), recorder, "endpoint-slice-controller");
    futures::join!(drive(controller, context, reconcile), remove_legacy(client));
}

fn selector(service: &Service) -> Option<LabelSelector> {
    let labels = service
        .spec
        .as_ref()?
        .selector
        .clone()
        .filter(|s| !s.is_empty())?;
    Some(LabelSelector {
        match_labels: Some(labels),
        match_expressions: None,
    })
}

fn selects(service: &Service, pod: &Pod) -> bool {
    selector(service).is_some_and(|s| selector_matches(&s, pod.labels()))
}

async fn reconcile(service: Arc<Service>, context: Arc<Context>) -> Result<Action, Failure> {
    let Some(selector) = selector(&service).filter(|_| !is_deleted(&*service)) else {
        return Ok(Action::await_change());
    };
    let namespace = service.namespace().unwrap_or_default();
    let pods = pods(&context.client, &namespace, selector).await?;
    let groups = groups::by_ports(&service, &pods);
    slices::write(&context.client, &service, &namespace, &groups).await?;
    legacy::write(&context.client, &service, &namespace, &groups).await?;
    Ok(Action::await_change())
}

/// The pods that can be endpoints, by name.
async fn pods(
    client: &Client,
    namespace: &str,
    selector: LabelSelector,
) -> Result<Vec<Pod>, Failure> {
    let selector = Selector::try_from(selector).map_err(|e| Failure::Invalid(e.to_string()))?;
    let mut pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels_from(&selector))
        .await?
        .items;
    pods.retain(|p| !has_failed(p) && !has_succeeded(p) && groups::pod_ip(p).is_some());
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

/// Slices are owned by their service and go with it; Endpoints only have its name.
async fn remove_legacy(client: Client) {
    let services = Api::<Service>::all(client.clone());
    let events = watcher(services, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let Ok(Event::Delete(service)) = event else {
            continue;
        };
        if let Err(error) = legacy::remove(&client, &service).await {
            tracing::warn!(%error, service = service.name_any(), "endpoints not removed");
        }
    }
}
