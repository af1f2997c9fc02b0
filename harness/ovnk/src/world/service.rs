//! Services and their endpoints, as far as load balancers are concerned.

use std::fmt;
use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::ResourceExt;

/// The label that says which service a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The order is the one in which upstream goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }

    /// No name means TCP.
    fn parse(name: Option<&str>) -> Option<Protocol> {
        let name = name.unwrap_or("TCP");
        Protocol::ALL
            .into_iter()
            .find(|protocol| protocol.as_str() == name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of a service's endpoints a node sends traffic to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    /// Only to its own.
    Local,
}

impl TrafficPolicy {
    fn parse(policy: Option<&str>) -> TrafficPolicy {
        match policy {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Empty when it is the only one.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// A service that has cluster addresses, or once had or will have them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// None for a headless service and for a mere alias.
    pub cluster_ips: Vec<IpAddr>,
    /// Addresses that lead here although they are not the cluster's.
    pub external_ips: Vec<IpAddr>,
    pub ports: Vec<ServicePort>,
    /// For how many seconds a client stays with its endpoint.
    pub affinity: Option<u32>,
    pub internal_policy: TrafficPolicy,
    pub external_policy: TrafficPolicy,
    pub publish_not_ready: bool,
}

/// What Kubernetes sets when a service asks for affinity without a number.
const DEFAULT_AFFINITY: u32 = 10_800;

impl Service {
    pub fn observed(service: &core::Service) -> Service {
        let Some(spec) = &service.spec else {
            return Service::default();
        };
        if spec.type_.as_deref() == Some("ExternalName") {
            return Service::default();
        }
        let single = spec.cluster_ip.as_slice();
        let cluster_ips = match spec.cluster_ips.as_deref() {
            Some(several) if !several.is_empty() => addresses(several),
            // Written before there could be several.
            _ => addresses(single),
        };
        let mut external_ips = addresses(spec.external_ips.as_deref().unwrap_or_default());
        if spec.type_.as_deref() == Some("LoadBalancer") {
            let status = service
                .status
                .as_ref()
                .and_then(|s| s.load_balancer.as_ref());
            let ingress = status
                .and_then(|s| s.ingress.as_deref())
                .unwrap_or_default();
            external_ips.extend(ingress.iter().flat_map(|i| addresses(i.ip.as_slice())));
        }
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let config = spec.session_affinity_config.as_ref();
            let seconds = config.and_then(|c| c.client_ip.as_ref()?.timeout_seconds);
            seconds
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(DEFAULT_AFFINITY)
        });
        Service {
            cluster_ips,
            external_ips,
            ports: spec.ports.iter().flatten().filter_map(port).collect(),
            affinity,
            internal_policy: TrafficPolicy::parse(spec.internal_traffic_policy.as_deref()),
            external_policy: TrafficPolicy::parse(spec.external_traffic_policy.as_deref()),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        }
    }
}

/// Those that are addresses: `None` is what a headless service has.
fn addresses(texts: &[String]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

fn port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        port: u16::try_from(port.port).ok()?,
        node_port: port
            .node_port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port != 0),
    })
}

/// A port that all endpoints of a slice serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// The service port's.
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub addresses: Vec<IpAddr>,
    pub node: Option<String>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
}

/// Some of a service's endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The service, in the same namespace.
    pub service: Option<String>,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

impl EndpointSlice {
    pub fn observed(slice: &discovery::EndpointSlice) -> EndpointSlice {
        let service = slice.labels().get(SERVICE_NAME).cloned();
        // Names are nothing that packets can be sent to.
        if slice.address_type == "FQDN" {
            return EndpointSlice {
                service,
                ..EndpointSlice::default()
            };
        }
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            Some(EndpointPort {
                name: port.name.clone().unwrap_or_default(),
                protocol: Protocol::parse(port.protocol.as_deref())?,
                port: u16::try_from(port.port?).ok().filter(|port| *port != 0)?,
            })
        });
        EndpointSlice {
            service,
            ports: ports.collect(),
            endpoints: slice.endpoints.iter().map(endpoint).collect(),
        }
    }
}

/// A condition that is not said is ready; serving is as ready unless it is said.
fn endpoint(endpoint: &discovery::Endpoint) -> Endpoint {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let ready = conditions.ready.unwrap_or(true);
    Endpoint {
        addresses: addresses(&endpoint.addresses),
        node: endpoint.node_name.clone(),
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
    }
}
