//! A service's pods, grouped by the numbers of the ports they serve: a port that the service knows
//! by name may have another number on each pod.

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointPort;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::controllers::common::{is_deleted, is_ready};

/// Pods that serve the same ports.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) ports: Vec<EndpointPort>,
    pub(super) pods: Vec<&'a Pod>,
}

/// Groups in the order of their first pods.
pub(super) fn by_ports<'a>(service: &Service, pods: &'a [Pod]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for pod in pods {
        let ports = ports(service, pod);
        match groups.iter_mut().find(|group| group.ports == ports) {
            Some(group) => group.pods.push(pod),
            None => groups.push(Group {
                ports,
                pods: vec![pod],
            }),
        }
    }
    groups
}

/// Those of the service's ports that the pod has.
fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let wanted = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    wanted
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(port, pod)?),
                protocol: Some(protocol(port.protocol.as_ref())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

fn protocol(protocol: Option<&String>) -> String {
    protocol.cloned().unwrap_or_else(|| "TCP".to_owned())
}

/// A service's port as a number on this pod. A name means a port of the same protocol.
fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(n)) => Some(*n),
        Some(IntOrString::String(name)) => {
            let wanted = protocol(port.protocol.as_ref());
            pod.spec
                .iter()
                .flat_map(|s| &s.containers)
                .flat_map(|c| c.ports.iter().flatten())
                .find(|p| p.name.as_ref() == Some(name) && protocol(p.protocol.as_ref()) == wanted)
                .map(|p| p.container_port)
        }
    }
}

pub(super) fn pod_ip(pod: &Pod) -> Option<String> {
    pod.status
        .as_ref()?
        .pod_ip
        .clone()
        .filter(|ip| !ip.is_empty())
}

/// Whether traffic shall go there.
pub(super) fn published(service: &Service, pod: &Pod) -> bool {
    let early = service
        .spec
        .as_ref()
        .and_then(|s| s.publish_not_ready_addresses)
        == Some(true);
    (is_ready(pod) && !is_deleted(pod)) || early
}

/// Pods of a headless service have names of their own.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    (spec.subdomain.as_ref() == service.metadata.name.as_ref())
        .then(|| spec.hostname.clone())
        .flatten()
        .filter(|name| !name.is_empty())
}

/// Without an address of its own.
pub(super) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(ports: &Value) -> Service {
        let service = json!({
            "metadata": {"name": "web"}, "spec": {"clusterIP": "10.96.0.7", "ports": ports},
        });
        serde_json::from_value(service).unwrap()
    }

    fn pod(name: &str, ports: &Value) -> Pod {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "c", "ports": ports}]},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn summary(groups: &[Group<'_>]) -> Vec<(Vec<i32>, Vec<String>)> {
        groups
            .iter()
            .map(|group| {
                let ports = group.ports.iter().filter_map(|port| port.port).collect();
                let pods = group.pods.iter();
                let names = pods.filter_map(|pod| pod.metadata.name.clone()).collect();
                (ports, names)
            })
            .collect()
    }

    #[test]
    fn a_name_may_be_another_number_on_each_pod() {
        let service = service(&json!([{"port": 80, "targetPort": "http"}]));
        let port = |number: i32| json!([{"name": "http", "containerPort": number}]);
        let pods = [
            pod("a", &port(8080)),
            pod("b", &port(9090)),
            pod("c", &port(8080)),
            pod("d", &json!([])),
        ];
        assert_eq!(
            summary(&by_ports(&service, &pods)),
            [
                (vec![8080], vec!["a".to_owned(), "c".to_owned()]),
                (vec![9090], vec!["b".to_owned()]),
                (vec![], vec!["d".to_owned()]),
            ]
        );
    }

    #[test]
    fn a_name_means_a_port_of_the_same_protocol() {
        let service = service(&json!([
            {"name": "u", "port": 53, "targetPort": "dns", "protocol": "UDP"},
            {"name": "t", "port": 53, "targetPort": "dns", "protocol": "TCP"},
        ]));
        let pods = [pod(
            "a",
            &json!([
                {"name": "dns", "containerPort": 5353, "protocol": "TCP"},
                {"name": "dns", "containerPort": 5354, "protocol": "UDP"},
            ]),
        )];
        let groups = by_ports(&service, &pods);
        assert_eq!(summary(&groups), [(vec![5354, 5353], vec!["a".to_owned()])]);
    }

    #[test]
    fn numbers_and_nothing_need_no_port_on_the_pod() {
        let service = service(
            &json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "targetPort": 8081}]),
        );
        let pods = [pod("a", &json!([]))];
        let groups = by_ports(&service, &pods);
        assert_eq!(summary(&groups), [(vec![80, 8081], vec!["a".to_owned()])]);
    }

    #[test]
    fn who_is_ending_gets_nothing_more() {
        let service = service(&json!([{"port": 80}]));
        let mut pod = pod("a", &json!([]));
        assert!(!published(&service, &pod));
        let ready = json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
        pod.status = serde_json::from_value(ready).unwrap();
        assert!(published(&service, &pod));
        let ending = json!("2026-01-01T00:00:00Z");
        pod.metadata.deletion_timestamp = serde_json::from_value(ending).unwrap();
        assert!(!published(&service, &pod));
        let mut early = service;
        early.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
        assert!(published(&early, &pod));
    }
}
