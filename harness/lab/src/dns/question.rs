//! Which thing of the cluster a name means, by the Kubernetes specification for DNS-based service discovery.

use std::net::IpAddr;

use hickory_server::proto::rr::Name;

/// What a name stands for. Whether that exists is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The cluster's domain itself.
    Domain,
    /// `dns-version`
    Version,
    /// `ns.dns`
    NameServer,
    /// `svc` and `pod`: nothing but what is below them.
    Branch,
    /// `<namespace>.svc` and `<namespace>.pod`
    Namespace(String),
    /// `<service>.<namespace>.svc`, and what is below that
    Service {
        namespace: String,
        service: String,
        part: Part,
    },
    /// `10-244-1-5.<namespace>.pod`
    Pod { namespace: String, ip: IpAddr },
    /// An address in the reverse tree.
    Address(IpAddr),
    /// Under the domain, but nothing can have this name.
    Impossible,
    /// Not the cluster's.
    Elsewhere,
}

/// What of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// `<host>.<service>…`: one endpoint.
    Endpoint(String),
    /// `_<port>._<protocol>.<service>…`
    Port {
        port: String,
        protocol: String,
    },
}

/// Reads a name. `domain` is the cluster's.
pub fn read(name: &Name, domain: &Name) -> Subject {
    if let Ok(net) = name.parse_arpa_name() {
        return if net.prefix_len() == net.max_prefix_len() {
            Subject::Address(net.addr())
        } else {
            Subject::Elsewhere
        };
    }
    if !domain.zone_of(name) {
        return Subject::Elsewhere;
    }
    let below = usize::from(name.num_labels().saturating_sub(domain.num_labels()));
    let labels: Vec<String> = name
        .iter()
        .take(below)
        .map(|label| String::from_utf8_lossy(label).to_lowercase())
        .collect();
    // From the domain downwards.
    let path: Vec<&str> = labels.iter().rev().map(String::as_str).collect();
    match path.as_slice() {
        [] => Subject::Domain,
        ["dns-version"] => Subject::Version,
        ["dns", "ns"] => Subject::NameServer,
        ["svc" | "pod"] => Subject::Branch,
        ["svc" | "pod", namespace] => Subject::Namespace((*namespace).to_owned()),
        ["pod", namespace, pod] => address(pod).map_or(Subject::Impossible, |ip| Subject::Pod {
            namespace: (*namespace).to_owned(),
            ip,
        }),
        ["svc", namespace, service, rest @ ..] => {
            let part = match rest {
                [] => Part::Whole,
                [endpoint] => Part::Endpoint((*endpoint).to_owned()),
                [protocol, port] => Part::Port {
                    port: without_underscore(port),
                    protocol: without_underscore(protocol),
                },
                _ => return Subject::Impossible,
            };
            Subject::Service {
                namespace: (*namespace).to_owned(),
                service: (*service).to_owned(),
                part,
            }
        }
        _ => Subject::Impossible,
    }
}

fn without_underscore(label: &str) -> String {
    label.strip_prefix('_').unwrap_or(label).to_owned()
}

/// `10-244-1-5` and `fd00--5`.
fn address(label: &str) -> Option<IpAddr> {
    let v4 = label.matches('-').count() == 3 && !label.contains("--");
    label.replace('-', if v4 { "." } else { ":" }).parse().ok()
}

/// The label of an endpoint that has no name of its own.
pub fn label(ip: IpAddr) -> String {
    ip.to_string().replace(['.', ':'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> Subject {
        super::read(
            &Name::from_ascii(name).unwrap(),
            &Name::from_ascii("cluster.local.").unwrap(),
        )
    }

    fn service(part: Part) -> Subject {
        Subject::Service {
            namespace: "blue".to_owned(),
            service: "web".to_owned(),
            part,
        }
    }

    #[test]
    fn names_of_services() {
        assert_eq!(read("Web.blue.svc.Cluster.local."), service(Part::Whole));
        assert_eq!(
            read("web-0.web.blue.svc.cluster.local."),
            service(Part::Endpoint("web-0".to_owned()))
        );
        assert_eq!(
            read("_http._tcp.web.blue.svc.cluster.local."),
            service(Part::Port {
                port: "http".to_owned(),
                protocol: "tcp".to_owned()
            })
        );
    }

    #[test]
    fn addresses_in_names() {
        let pod = |ip: &str| Subject::Pod {
            namespace: "blue".to_owned(),
            ip: ip.parse().unwrap(),
        };
        assert_eq!(
            read("10-244-1-5.blue.pod.cluster.local."),
            pod("10.244.1.5")
        );
        assert_eq!(read("fd00--5.blue.pod.cluster.local."), pod("fd00::5"));
        assert_eq!(
            read("10-244-1.blue.pod.cluster.local."),
            Subject::Impossible
        );
        assert_eq!(
            read("5.1.244.10.in-addr.arpa."),
            Subject::Address("10.244.1.5".parse().unwrap())
        );
        assert_eq!(read("244.10.in-addr.arpa."), Subject::Elsewhere);
        assert_eq!(label("fd00::5".parse().unwrap()), "fd00--5");
    }

    #[test]
    fn what_is_in_between() {
        assert_eq!(read("cluster.local."), Subject::Domain);
        assert_eq!(read("svc.cluster.local."), Subject::Branch);
        assert_eq!(
            read("blue.svc.cluster.local."),
            Subject::Namespace("blue".to_owned())
        );
        assert_eq!(read("dns-version.cluster.local."), Subject::Version);
        assert_eq!(
            read("a.b.c.web.blue.svc.cluster.local."),
            Subject::Impossible
        );
        assert_eq!(read("example.cluster.local."), Subject::Impossible);
        assert_eq!(read("example.com."), Subject::Elsewhere);
        assert_eq!(read("notcluster.local."), Subject::Elsewhere);
    }
}
