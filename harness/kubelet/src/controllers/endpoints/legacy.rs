//! Endpoints, the older form: all groups in one object with the service's name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};

use super::groups::{Group, hostname, is_headless, pod_ip, published};
use super::slices::HEADLESS;
use crate::controllers::common::Failure;
use crate::refs::pod_ref;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";

pub(super) async fn write(
    client: &Client,
    service: &Service,
    namespace: &str,
    groups: &[Group<'_>],
) -> Result<(), Failure> {
    let api: Api<Endpoints> = Api::namespaced(client.clone(), namespace);
    let name = service.name_any();
    let mut wanted = endpoints(service, namespace, groups);
    match api.get_opt(&name).await? {
        None => {
            api.create(&PostParams::default(), &wanted).await?;
        }
        Some(found)
            if found.subsets.as_deref().unwrap_or_default()
                == wanted.subsets.as_deref().unwrap_or_default()
                && found.metadata.labels == wanted.metadata.labels => {}
        Some(found) => {
            wanted.metadata.resource_version = found.metadata.resource_version;
            api.replace(&name, &PostParams::default(), &wanted).await?;
        }
    }
    Ok(())
}

/// Removes what was written for a service that is gone; what somebody else wrote stays.
pub(super) async fn remove(client: &Client, service: &Service) -> Result<(), kube::Error> {
    let namespace = service.namespace().unwrap_or_default();
    let api: Api<Endpoints> = Api::namespaced(client.clone(), &namespace);
    let name = service.name_any();
    let found = api.get_opt(&name).await?;
    let ours = found.is_some_and(|e| {
        e.labels()
            .get(MANAGED_BY)
            .is_some_and(|by| by == CONTROLLER)
    });
    if ours {
        match api.delete(&name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted?),
        }
    }
    Ok(())
}

fn endpoints(service: &Service, namespace: &str, groups: &[Group<'_>]) -> Endpoints {
    let mut labels: BTreeMap<_, _> = service.labels().clone();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    let has_ports = service
        .spec
        .as_ref()
        .is_some_and(|s| s.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    let subsets: Vec<_> = groups
        .iter()
        // A pod that has none of the ports serves nothing.
        .filter(|group| !group.ports.is_empty() || !has_ports)
        .map(|group| subset(service, group))
        .collect();
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        subsets: Some(subsets).filter(|subsets| !subsets.is_empty()),
    }
}

fn subset(service: &Service, group: &Group<'_>) -> EndpointSubset {
    let (ready, waiting): (Vec<&Pod>, Vec<&Pod>) =
        group.pods.iter().partition(|pod| published(service, pod));
    let ports = group.ports.iter().cloned().map(|port| EndpointPort {
        name: port.name.filter(|n| !n.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    });
    EndpointSubset {
        addresses: addresses(service, &ready),
        not_ready_addresses: addresses(service, &waiting),
        ports: Some(ports.collect()).filter(|p: &Vec<_>| !p.is_empty()),
    }
}

fn addresses(service: &Service, pods: &[&Pod]) -> Option<Vec<EndpointAddress>> {
    let addresses: Vec<_> = pods
        .iter()
        .map(|pod| EndpointAddress {
            ip: pod_ip(pod).unwrap_or_default(),
            hostname: hostname(service, pod),
            node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
            target_ref: Some(ObjectReference {
                api_version: None,
                resource_version: None,
                ..pod_ref(pod)
            }),
        })
        .collect();
    Some(addresses).filter(|list| !list.is_empty())
}
