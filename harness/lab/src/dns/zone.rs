//! Answers: the records of names, as CoreDNS makes them of a cluster (its plugin `kubernetes`, `pods insecure`).

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use hickory_server::proto::{
    ProtoError,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, NS, PTR, SOA, SRV, TXT},
    },
};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use rand::seq::SliceRandom;

use super::{
    DOMAIN,
    cluster::{self, Cluster, Endpoint},
    question::{self, Part, Subject},
};

/// Seconds for which answers hold, also the ones that say no.
const TTL: u32 = 30;

/// Of the specification.
const VERSION: &str = "1.1.0";

/// How far aliases are followed.
const DEPTH: usize = 8;

/// What there is to say about a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Records of the type asked for, and what helps with them.
    Records {
        records: Vec<Record>,
        additional: Vec<Record>,
    },
    /// The name exists and has no record of the type.
    NoRecord,
    NoSuchName,
}

impl Answer {
    fn of(records: Vec<Record>) -> Self {
        if records.is_empty() {
            return Self::NoRecord;
        }
        Self::Records {
            records,
            additional: Vec::new(),
        }
    }
}

/// The cluster's domain and its reverse tree.
#[derive(Debug)]
pub struct Zone {
    cluster: Cluster,
    domain: Name,
    serial: u32,
}

/// An address of a Service, on one of its ports.
struct Target {
    /// The name that an SRV record leads to.
    name: Name,
    ip: IpAddr,
    port: Option<u16>,
}

impl Zone {
    pub fn new(cluster: Cluster) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            cluster,
            domain: parse(DOMAIN).unwrap_or_default(),
            // In 2106 it starts again, as serial numbers may.
            serial: now.map_or(1, |now| {
                u32::try_from(now.as_secs() & u64::from(u32::MAX)).unwrap_or(1)
            }),
        }
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether this is where the name would be if it existed.
    pub fn holds(&self, name: &Name) -> bool {
        question::read(name, &self.domain) != Subject::Elsewhere
    }

    /// The record that goes with every no.
    pub fn authority(&self) -> Record {
        let (server, master) = (self.below("ns.dns"), self.below("hostmaster"));
        let soa = SOA::new(server, master, self.serial, 7200, 1800, 86400, TTL);
        Record::from_rdata(self.domain.clone(), TTL, RData::SOA(soa))
    }

    /// Answers under the name that was asked for, in its spelling.
    pub fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        self.follow(name, kind, DEPTH)
    }

    fn follow(&self, name: &Name, kind: RecordType, depth: usize) -> Answer {
        let record = |data| Record::from_rdata(name.clone(), TTL, data);
        match question::read(name, &self.domain) {
            Subject::Domain => match kind {
                RecordType::SOA => Answer::of(vec![self.authority()]),
                RecordType::NS => {
                    let server =
                        self.below(&format!("{}.{}.svc", super::SERVICE, super::NAMESPACE));
                    let address = address(super::ADDRESS.into());
                    Answer::Records {
                        records: vec![record(RData::NS(NS(server.clone())))],
                        additional: vec![Record::from_rdata(server, TTL, address)],
                    }
                }
                _ => Answer::NoRecord,
            },
            Subject::Version if kind == RecordType::TXT => {
                Answer::of(vec![record(RData::TXT(TXT::new(vec![VERSION.to_owned()])))])
            }
            Subject::NameServer => {
                let ips = [IpAddr::V4(super::ADDRESS)];
                Answer::of(addresses(name, kind, ips))
            }
            Subject::Branch => Answer::NoRecord,
            Subject::Namespace(namespace) if self.cluster.has_namespace(&namespace) => {
                Answer::NoRecord
            }
            Subject::Pod { namespace, ip } if self.cluster.has_namespace(&namespace) => {
                Answer::of(addresses(name, kind, [ip]))
            }
            Subject::Service {
                namespace,
                service,
                part,
            } => match self.cluster.service(&namespace, &service) {
                Some(service) => self.service(name, kind, &service, &part, depth),
                None => Answer::NoSuchName,
            },
            Subject::Address(ip) => self.names_of(name, kind, ip),
            Subject::Version
            | Subject::Namespace(_)
            | Subject::Pod { .. }
            | Subject::Impossible
            | Subject::Elsewhere => Answer::NoSuchName,
        }
    }

    fn service(
        &self,
        name: &Name,
        kind: RecordType,
        service: &Service,
        part: &Part,
        depth: usize,
    ) -> Answer {
        if let Some(alias) = external_name(service) {
            return match part {
                Part::Whole => self.alias(name, kind, alias, depth),
                Part::Endpoint(_) | Part::Port { .. } => Answer::NoSuchName,
            };
        }
        let targets = self.targets(service, part);
        if targets.is_empty() {
            return Answer::NoSuchName;
        }
        match kind {
            RecordType::SRV => services(name, &targets),
            _ => Answer::of(addresses(name, kind, targets.iter().map(|t| t.ip))),
        }
    }

    /// The name that an external one stands for, with its addresses when they are the cluster's.
    fn alias(&self, name: &Name, kind: RecordType, target: &str, depth: usize) -> Answer {
        let Ok(target) = parse(target) else {
            return Answer::NoRecord;
        };
        let mut records = vec![Record::from_rdata(
            name.clone(),
            TTL,
            RData::CNAME(CNAME(target.clone())),
        )];
        match kind {
            RecordType::CNAME => Answer::of(records),
            RecordType::A | RecordType::AAAA => {
                let further = depth.checked_sub(1);
                if let Some(depth) = further
                    && let Answer::Records { records: more, .. } = self.follow(&target, kind, depth)
                {
                    records.extend(more);
                }
                Answer::of(records)
            }
            _ => Answer::NoRecord,
        }
    }

    fn targets(&self, service: &Service, part: &Part) -> Vec<Target> {
        let namespace = service.namespace().unwrap_or_default();
        let own = self.below(&format!("{}.{namespace}.svc", service.name_any()));
        let endpoints = |keep: &dyn Fn(&Endpoint) -> bool| {
            let mut found = self.cluster.endpoints(&namespace, &service.name_any());
            found.retain(keep);
            found
        };
        let headless = cluster::cluster_ips(service).next().is_none();
        let endpoints = match part {
            Part::Endpoint(host) => endpoints(&|e| e.host.eq_ignore_ascii_case(host)),
            Part::Whole | Part::Port { .. } if headless => endpoints(&|_| true),
            Part::Whole | Part::Port { .. } => return own_targets(service, &own, part),
        };
        let mut targets = Vec::new();
        for Endpoint { ip, host, ports } in endpoints {
            let Ok(name) = own.prepend_label(host.as_str()) else {
                continue;
            };
            let wanted = ports
                .iter()
                .filter(|port| part.is_port(&port.name, &port.protocol))
                .map(|port| Some(port.number));
            // Without ports a headless Service still has addresses.
            let none = (ports.is_empty() && !matches!(part, Part::Port { .. })).then_some(None);
            targets.extend(wanted.chain(none).map(|port| Target {
                name: name.clone(),
                ip,
                port,
            }));
        }
        targets
    }

    fn names_of(&self, name: &Name, kind: RecordType, ip: IpAddr) -> Answer {
        let names: Vec<Name> = match self.cluster.service_at(ip) {
            Some(service) => {
                let namespace = service.namespace().unwrap_or_default();
                vec![self.below(&format!("{}.{namespace}.svc", service.name_any()))]
            }
            None => self
                .cluster
                .endpoints_at(ip)
                .into_iter()
                .map(|(host, service, namespace)| {
                    self.below(&format!("{host}.{service}.{namespace}.svc"))
                })
                .collect(),
        };
        match kind {
            _ if names.is_empty() => Answer::NoSuchName,
            RecordType::PTR => Answer::of(
                names
                    .into_iter()
                    .map(|target| Record::from_rdata(name.clone(), TTL, RData::PTR(PTR(target))))
                    .collect(),
            ),
            _ => Answer::NoRecord,
        }
    }

    /// A name below the domain.
    fn below(&self, relative: &str) -> Name {
        // What does not fit into a name is nobody's.
        Name::from_ascii(relative)
            .and_then(|name| name.append_domain(&self.domain))
            .unwrap_or_default()
    }
}

impl Part {
    /// Whether a port belongs to it.
    fn is_port(&self, name: &str, protocol: &str) -> bool {
        match self {
            Self::Whole | Self::Endpoint(_) => true,
            Self::Port {
                port,
                protocol: wanted,
            } => name.eq_ignore_ascii_case(port) && protocol.eq_ignore_ascii_case(wanted),
        }
    }
}

/// A Service with an address of its own has one target per port, whatever is behind it.
fn own_targets(service: &Service, own: &Name, part: &Part) -> Vec<Target> {
    let ports: Vec<_> = service
        .spec
        .iter()
        .flat_map(|spec| spec.ports.iter().flatten())
        .filter(|port| {
            let name = port.name.as_deref().unwrap_or_default();
            part.is_port(name, port.protocol.as_deref().unwrap_or("TCP"))
        })
        .map(|port| u16::try_from(port.port).ok())
        .collect();
    let target = |ip, port| Target {
        name: own.clone(),
        ip,
        port,
    };
    cluster::cluster_ips(service)
        .flat_map(|ip| ports.iter().map(move |port| target(ip, *port)))
        .collect()
}

fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    let external = spec.type_.as_deref() == Some("ExternalName");
    spec.external_name.as_deref().filter(|_| external)
}

/// In any order, so that clients that take the first spread over all.
fn addresses(name: &Name, kind: RecordType, ips: impl IntoIterator<Item = IpAddr>) -> Vec<Record> {
    let distinct: BTreeSet<IpAddr> = ips.into_iter().collect();
    let mut records: Vec<_> = distinct
        .into_iter()
        .filter(|ip| address(*ip).record_type() == kind)
        .map(|ip| Record::from_rdata(name.clone(), TTL, address(ip)))
        .collect();
    records.shuffle(&mut rand::rng());
    records
}

fn address(ip: IpAddr) -> RData {
    match ip {
        IpAddr::V4(ip) => RData::A(ip.into()),
        IpAddr::V6(ip) => RData::AAAA(ip.into()),
    }
}

/// Every target with a port has the same weight; together they weigh 100.
fn services(name: &Name, targets: &[Target]) -> Answer {
    let weight = 100_u16
        .checked_div(u16::try_from(targets.len()).unwrap_or(u16::MAX))
        .unwrap_or_default()
        .max(1);
    let (mut records, mut additional) = (Vec::new(), Vec::new());
    for target in targets {
        let Some(port) = target.port else { continue };
        let data = RData::SRV(SRV::new(0, weight, port, target.name.clone()));
        let service = Record::from_rdata(name.clone(), TTL, data);
        if !records.contains(&service) {
            records.push(service);
        }
        let address = Record::from_rdata(target.name.clone(), TTL, address(target.ip));
        if !additional.contains(&address) {
            additional.push(address);
        }
    }
    if records.is_empty() {
        return Answer::NoRecord;
    }
    Answer::Records {
        records,
        additional,
    }
}

/// An absolute name, with or without the dot at its end.
fn parse(name: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
mod tests;
