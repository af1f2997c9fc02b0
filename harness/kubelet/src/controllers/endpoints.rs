//! EndpointSlices and Endpoints of Services with a selector.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort as LegacyPort, EndpointSubset, Endpoints, Pod, Service,
    ServicePort,
};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, ListParams, PostParams};
use kube::core::Selector;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};

use super::common::{
    Context, Failure, drive, has_failed, has_succeeded, is_deleted, is_ready, owner_reference,
};
use super::scheduler::selector_matches;
use crate::events::Recorder;
use crate::refs::pod_ref;

pub(super) async fn run(client: Client, recorder: Recorder) {
    let controller = Controller::new(
        Api::<Service>::all(client.clone()),
        watcher::Config::default(),
    );
    let services = controller.store();
    let controller = controller.watches(
        Api::<Pod>::all(client.clone()),
        watcher::Config::default(),
        move |pod: Pod| {
            services
                .state()
                .into_iter()
                .filter(|s| s.namespace() == pod.namespace() && selects(s, &pod))
                .map(|s| ObjectRef::from_obj(&*s))
                .collect::<Vec<_>>()
        },
    );
    drive(
        controller,
        Context::new(client, recorder, "endpoint-slice-controller"),
        reconcile,
    )
    .await;
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
    let selector = Selector::try_from(selector).map_err(|e| Failure::Invalid(e.to_string()))?;
    let mut pods = Api::<Pod>::namespaced(context.client.clone(), &namespace)
        .list(&ListParams::default().labels_from(&selector))
        .await?
        .items;
    pods.retain(|p| !has_failed(p) && !has_succeeded(p) && pod_ip(p).is_some());
    pods.sort_by_key(ResourceExt::name_any);
    write_slice(&context.client, &service, &namespace, &pods).await?;
    write_endpoints(&context.client, &service, &namespace, &pods).await?;
    Ok(Action::await_change())
}

fn pod_ip(pod: &Pod) -> Option<String> {
    pod.status
        .as_ref()?
        .pod_ip
        .clone()
        .filter(|ip| !ip.is_empty())
}

/// A service's port as a number on this pod.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(n)) => Some(*n),
        Some(IntOrString::String(name)) => pod
            .spec
            .iter()
            .flat_map(|s| &s.containers)
            .flat_map(|c| c.ports.iter().flatten())
            .find(|p| p.name.as_ref() == Some(name))
            .map(|p| p.container_port),
    }
}

fn ports(service: &Service, pods: &[Pod]) -> Vec<EndpointPort> {
    let wanted = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    wanted
        .filter_map(|port| {
            let number = pods.iter().find_map(|pod| target_port(port, pod));
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(number?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn published(service: &Service, pod: &Pod) -> bool {
    let early = service
        .spec
        .as_ref()
        .and_then(|s| s.publish_not_ready_addresses)
        == Some(true);
    (is_ready(pod) && !is_deleted(pod)) || early
}

fn slice(service: &Service, name: &str, namespace: &str, pods: &[Pod]) -> EndpointSlice {
    let mut labels = service.labels().clone();
    labels.insert("kubernetes.io/service-name".to_owned(), service.name_any());
    labels.insert(
        "endpointslice.kubernetes.io/managed-by".to_owned(),
        "endpointslice-controller.k8s.io".to_owned(),
    );
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![owner_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: "IPv4".to_owned(),
        ports: Some(ports(service, pods)),
        endpoints: pods
            .iter()
            .filter(|p| pod_ip(p).is_some_and(|ip| !ip.contains(':')))
            .map(|pod| Endpoint {
                addresses: pod_ip(pod).into_iter().collect(),
                conditions: Some(EndpointConditions {
                    ready: Some(published(service, pod)),
                    serving: Some(is_ready(pod)),
                    terminating: Some(is_deleted(pod)),
                }),
                node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
                hostname: hostname(service, pod),
                target_ref: Some(k8s_openapi::api::core::v1::ObjectReference {
                    api_version: None,
                    resource_version: None,
                    ..pod_ref(pod)
                }),
                ..Endpoint::default()
            })
            .collect(),
    }
}

/// Pods of a headless service have names of their own.
fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    (spec.subdomain.as_ref() == service.metadata.name.as_ref())
        .then(|| spec.hostname.clone())
        .flatten()
}

async fn write_slice(
    client: &Client,
    service: &Service,
    namespace: &str,
    pods: &[Pod],
) -> Result<(), Failure> {
    let api: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let name = format!("{}-{}", service.name_any(), suffix(service));
    let wanted = slice(service, &name, namespace, pods);
    match api.get_opt(&name).await? {
        None => {
            api.create(&PostParams::default(), &wanted).await?;
        }
        Some(found) if found.endpoints == wanted.endpoints && found.ports == wanted.ports => {}
        Some(found) => {
            let mut next = wanted;
            next.metadata.resource_version = found.metadata.resource_version;
            api.replace(&name, &PostParams::default(), &next).await?;
        }
    }
    Ok(())
}

/// Five characters of the service's uid, so that its slice has one name for good.
fn suffix(service: &Service) -> String {
    service
        .uid()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(5)
        .collect()
}

async fn write_endpoints(
    client: &Client,
    service: &Service,
    namespace: &str,
    pods: &[Pod],
) -> Result<(), Failure> {
    let api: Api<Endpoints> = Api::namespaced(client.clone(), namespace);
    let name = service.name_any();
    let wanted = endpoints(service, namespace, pods);
    match api.get_opt(&name).await? {
        None => {
            api.create(&PostParams::default(), &wanted).await?;
        }
        Some(found)
            if found.subsets.as_deref().unwrap_or_default()
                == wanted.subsets.as_deref().unwrap_or_default() => {}
        Some(found) => {
            let mut next = wanted;
            next.metadata.resource_version = found.metadata.resource_version;
            api.replace(&name, &PostParams::default(), &next).await?;
        }
    }
    Ok(())
}

fn endpoints(service: &Service, namespace: &str, pods: &[Pod]) -> Endpoints {
    let address = |pod: &Pod| EndpointAddress {
        ip: pod_ip(pod).unwrap_or_default(),
        hostname: hostname(service, pod),
        node_name: pod.spec.as_ref().and_then(|s| s.node_name.clone()),
        target_ref: Some(k8s_openapi::api::core::v1::ObjectReference {
            api_version: None,
            resource_version: None,
            ..pod_ref(pod)
        }),
    };
    let (ready, waiting): (Vec<&Pod>, Vec<&Pod>) = pods.iter().partition(|p| published(service, p));
    let listed = |pods: Vec<&Pod>| {
        let list: Vec<_> = pods.into_iter().map(address).collect();
        Some(list).filter(|l| !l.is_empty())
    };
    let ports: Vec<_> = ports(service, pods)
        .into_iter()
        .map(|p| LegacyPort {
            name: p.name.filter(|n| !n.is_empty()),
            port: p.port.unwrap_or_default(),
            protocol: p.protocol,
            app_protocol: p.app_protocol,
        })
        .collect();
    let subset = EndpointSubset {
        addresses: listed(ready),
        not_ready_addresses: listed(waiting),
        ports: Some(ports).filter(|p| !p.is_empty()),
    };
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: Some(namespace.to_owned()),
            labels: Some(service.labels().clone()).filter(|l: &BTreeMap<_, _>| !l.is_empty()),
            ..ObjectMeta::default()
        },
        subsets: (!pods.is_empty()).then(|| vec![subset]),
    }
}
