//! `/etc/hosts` and the host name, as the kubelet writes them.

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
    hosts_of(pod, &hostname(pod, node), ips, dns)
}

fn hosts_of(pod: &Pod, name: &str, ips: &[IpAddr], dns: &ClusterDns) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let names =
        fqdn(pod, name, dns).map_or_else(|| name.to_owned(), |fqdn| format!("{fqdn}\t{name}"));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value)] // literals read best by value

    use std::net::Ipv4Addr;

    use serde_json::json;

    use super::*;

    fn dns() -> ClusterDns {
        ClusterDns::default()
    }

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "blue"}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn members_of_a_headless_service_know_their_full_name() {
        let pod = pod(json!({"containers": [], "hostname": "db-0", "subdomain": "db"}));
        assert_eq!(
            fqdn(&pod, "db-0", &dns()).as_deref(),
            Some("db-0.db.blue.svc.cluster.local")
        );
        let text = hosts_of(&pod, "db-0", &[Ipv4Addr::new(10, 244, 1, 5).into()], &dns());
        assert!(
            text.ends_with("10.244.1.5\tdb-0.db.blue.svc.cluster.local\tdb-0\n"),
            "{text}"
        );
    }
}
