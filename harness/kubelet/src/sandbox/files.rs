//! `/etc/hosts`, `/etc/resolv.conf` and the host name, as the kubelet writes them.

use std::fmt::Write;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::{ClusterDns, NodeConfig};

/// Labels of DNS end here.
const LONGEST: usize = 63;

pub(crate) fn hostname(pod: &Pod, node: &NodeConfig) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    if spec.host_network == Some(true) {
        return node.name.to_string();
    }
    let mut name = spec
        .hostname
        .filter(|n| !n.is_empty())
        .unwrap_or_else(|| pod.name_any());
    name.truncate(LONGEST);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The name with its domain, for pods that have a subdomain.
fn fqdn(pod: &Pod, hostname: &str, dns: &ClusterDns) -> Option<String> {
    let subdomain = pod
        .spec
        .as_ref()?
        .subdomain
        .as_deref()
        .filter(|s| !s.is_empty())?;
    let namespace = pod.namespace().unwrap_or_default();
    Some(format!(
        "{hostname}.{subdomain}.{namespace}.svc.{}",
        dns.domain
    ))
}

pub(crate) fn hosts(pod: &Pod, node: &NodeConfig, ips: &[IpAddr], dns: &ClusterDns) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let name = hostname(pod, node);
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         fe00::\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let names =
        fqdn(pod, &name, dns).map_or_else(|| name.clone(), |fqdn| format!("{fqdn}\t{name}"));
    for ip in ips {
        // writing to a String cannot fail
        let _ = writeln!(text, "{ip}\t{names}");
    }
    let mut aliases = spec.host_aliases.iter().flatten().peekable();
    if aliases.peek().is_some() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        let _ = writeln!(
            text,
            "{}\t{}",
            alias.ip,
            alias
                .hostnames
                .iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("\t")
        );
    }
    text
}

#[derive(Debug, Default)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

pub(crate) fn resolv_conf(pod: &Pod, dns: &ClusterDns) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirst" => spec.host_network != Some(true),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = match (cluster, dns.server) {
        (true, Some(server)) => {
            let namespace = pod.namespace().unwrap_or_default();
            let domain = &dns.domain;
            Resolver {
                nameservers: vec![server.to_string()],
                searches: vec![
                    format!("{namespace}.svc.{domain}"),
                    format!("svc.{domain}"),
                    domain.clone(),
                ],
                options: vec!["ndots:5".to_owned()],
            }
        }
        // nodes of a lab have no resolver of their own
        _ => Resolver::default(),
    };
    if let Some(config) = spec.dns_config {
        resolver
            .nameservers
            .extend(config.nameservers.into_iter().flatten());
        resolver
            .searches
            .extend(config.searches.into_iter().flatten());
        for option in config.options.into_iter().flatten() {
            let Some(name) = option.name else { continue };
            resolver
                .options
                .retain(|o| *o != name && !o.starts_with(&format!("{name}:")));
            resolver.options.push(match option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
        resolver.nameservers.dedup();
        resolver.searches.dedup();
    }
    let mut text = String::new();
    if !resolver.searches.is_empty() {
        let _ = writeln!(text, "search {}", resolver.searches.join(" "));
    }
    for server in &resolver.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.options.is_empty() {
        let _ = writeln!(text, "options {}", resolver.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value)] // literals read best by value

    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "blue"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn cluster_first_with_own_options() {
        let dns = ClusterDns {
            server: Some("10.96.0.10".parse().unwrap()),
            domain: "cluster.local".to_owned(),
        };
        let pod = pod(json!({"containers": [], "dnsConfig": {
            "searches": ["example"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]
        }}));
        assert_eq!(
            resolv_conf(&pod, &dns),
            "search blue.svc.cluster.local svc.cluster.local cluster.local example\n\
             nameserver 10.96.0.10\noptions ndots:2 edns0\n"
        );
    }

    #[test]
    fn no_cluster_dns_leaves_the_pods_own_words() {
        let pod = pod(
            json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}),
        );
        assert_eq!(
            resolv_conf(&pod, &ClusterDns::default()),
            "nameserver 192.0.2.1\n"
        );
    }
}
