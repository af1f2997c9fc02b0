//! One EndpointSlice for each group of pods; one without endpoints when there are no pods.

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, ResourceExt};

use super::groups::{Group, hostname, is_headless, pod_ip, published};
use crate::controllers::common::{Failure, controller_of, is_deleted, is_ready, owner_reference};
use crate::refs::pod_ref;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Makes the service's slices what they shall be. A slice that is not needed any more takes the
/// place of one that is missing, so that names last.
pub(super) async fn write(
    client: &Client,
    service: &Service,
    namespace: &str,
    groups: &[Group<'_>],
) -> Result<(), Failure> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let mut found = existing(&api, service).await?;
    let mut missing = Vec::new();
    for slice in wanted(service, namespace, groups) {
        match found.iter().position(|found| found.ports == slice.ports) {
            Some(at) => update(&api, found.swap_remove(at), slice).await?,
            None => missing.push(slice),
        }
    }
    for slice in missing {
        match found.pop() {
            Some(unused) => update(&api, unused, slice).await?,
            None => drop(api.create(&PostParams::default(), &slice).await?),
        }
    }
    for unused in found {
        let name = unused.name_any();
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether [`write`] would have nothing to do.
pub(super) async fn are_written(
    client: &Client,
    service: &Service,
    namespace: &str,
    groups: &[Group<'_>],
) -> Result<bool, Failure> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let mut found = existing(&api, service).await?;
    let there = wanted(service, namespace, groups).iter().all(|wanted| {
        let at = found
            .iter()
            .position(|found| found.ports == wanted.ports && says(found, wanted));
        at.map(|at| found.swap_remove(at)).is_some()
    });
    Ok(there && found.is_empty())
}

fn wanted(service: &Service, namespace: &str, groups: &[Group<'_>]) -> Vec<EndpointSlice> {
    if groups.is_empty() {
        return vec![slice(service, namespace, None)];
    }
    groups
        .iter()
        .map(|group| slice(service, namespace, Some(group)))
        .collect()
}

/// Whether a slice says what another one shall say.
fn says(found: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    found.endpoints == wanted.endpoints
        && found.ports == wanted.ports
        && found.metadata.labels == wanted.metadata.labels
}

/// Those that are ours.
async fn existing(
    api: &Api<EndpointSlice>,
    service: &Service,
) -> Result<Vec<EndpointSlice>, Failure> {
    let labels = format!(
        "{SERVICE_NAME}={},{MANAGED_BY}={CONTROLLER}",
        service.name_any()
    );
    let mut slices = api
        .list(&ListParams::default().labels(&labels))
        .await?
        .items;
    let uid = service.uid();
    slices
        .retain(|slice| !is_deleted(slice) && controller_of(slice).map(|o| &o.uid) == uid.as_ref());
    Ok(slices)
}

async fn update(
    api: &Api<EndpointSlice>,
    found: EndpointSlice,
    mut wanted: EndpointSlice,
) -> Result<(), Failure> {
    if says(&found, &wanted) {
        return Ok(());
    }
    let name = found.name_any();
    wanted.metadata.generate_name = found.metadata.generate_name;
    wanted.metadata.name = Some(name.clone());
    wanted.metadata.resource_version = found.metadata.resource_version;
    api.replace(&name, &PostParams::default(), &wanted).await?;
    Ok(())
}

fn slice(service: &Service, namespace: &str, group: Option<&Group<'_>>) -> EndpointSlice {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let pods = group.map_or(&[][..], |group| &group.pods);
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![owner_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        ports: group
            .map(|group| group.ports.clone())
            .filter(|p| !p.is_empty()),
        endpoints: pods
            .iter()
            .filter(|p| pod_ip(p).is_some_and(|ip| !ip.contains(':')))
            .map(|pod| endpoint(service, pod))
            .collect(),
    }
}

fn endpoint(service: &Service, pod: &Pod) -> Endpoint {
    Endpoint {
        addresses: pod_ip(pod).into_iter().collect(),
        conditions: Some(EndpointConditions {
            ready: Some(published(service, pod)),
            serving: Some(is_ready(pod)),
            terminating: Some(is_deleted(pod)),
        }),
        node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        hostname: hostname(service, pod),
        target_ref: Some(ObjectReference {
            api_version: None,
            resource_version: None,
            ..pod_ref(pod)
        }),
        ..Endpoint::default()
    }
}
