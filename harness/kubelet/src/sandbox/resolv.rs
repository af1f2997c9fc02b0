//! `/etc/resolv.conf`, as the kubelet and the container runtime write it together.

use std::fmt::{self, Display};

use k8s_openapi::api::core::v1::{Pod, PodDNSConfig};
use kube::ResourceExt;

use crate::ClusterDns;

/// Resolvers look at no more (`MAXNS`).
const MOST_SERVERS: usize = 3;
const MOST_SEARCHES: usize = 32;
/// Characters of all search domains, with the spaces between them.
const LONGEST_SEARCH_LINE: usize = 2048;
/// Characters of one search domain; some resolvers crash on longer ones.
const LONGEST_DOMAIN: usize = 253;

/// Of pods whose names are the cluster's business: enough for `_port._protocol.service.namespace.svc`.
const NDOTS: &str = "ndots:5";

/// What a pod's resolver is told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    servers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
    omitted: Vec<Omitted>,
}

/// Something did not fit: a `DNSConfigForming` event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Omitted {
    #[error(
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {0}"
    )]
    Servers(String),
    #[error(
        "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {0}"
    )]
    Searches(String),
}

/// Where names come from, before the pod's own words are added.
enum Base {
    Cluster,
    /// The node's. Nodes of a lab have no resolver of their own.
    Node,
    Nothing,
}

impl Base {
    fn of(pod: &Pod) -> Self {
        let spec = pod.spec.as_ref();
        let host_network = spec.and_then(|s| s.host_network) == Some(true);
        match spec.and_then(|s| s.dns_policy.as_deref()) {
            Some("None") => Self::Nothing,
            Some("Default") => Self::Node,
            Some("ClusterFirstWithHostNet") => Self::Cluster,
            _ if host_network => Self::Node,
            _ => Self::Cluster,
        }
    }
}

impl ResolvConf {
    pub(crate) fn of(pod: &Pod, dns: &ClusterDns) -> Self {
        let mut conf = match (Base::of(pod), dns.server) {
            (Base::Cluster, Some(server)) => {
                let namespace = pod.namespace().unwrap_or_default();
                let domain = &dns.domain;
                Self {
                    servers: vec![server.to_string()],
                    searches: vec![
                        format!("{namespace}.svc.{domain}"),
                        format!("svc.{domain}"),
                        domain.clone(),
                    ],
                    options: vec![NDOTS.to_owned()],
                    omitted: Vec::new(),
                }
            }
            (Base::Cluster | Base::Node | Base::Nothing, _) => Self::default(),
        };
        if let Some(own) = pod.spec.as_ref().and_then(|s| s.dns_config.as_ref()) {
            conf.add(own);
        }
        conf.fit();
        conf
    }

    /// What had to be left out.
    pub(crate) fn omitted(&self) -> &[Omitted] {
        &self.omitted
    }

    fn add(&mut self, own: &PodDNSConfig) {
        add_new(&mut self.servers, own.nameservers.iter().flatten());
        add_new(&mut self.searches, own.searches.iter().flatten());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            let same = |other: &String| other.split(':').next() == Some(name);
            self.options.retain(|other| !same(other));
            self.options.push(match option.value.as_deref() {
                None | Some("") => name.clone(),
                Some(value) => format!("{name}:{value}"),
            });
        }
    }

    fn fit(&mut self) {
        if self.servers.len() > MOST_SERVERS {
            self.servers.truncate(MOST_SERVERS);
            self.omitted.push(Omitted::Servers(self.servers.join(" ")));
        }
        let wanted = self.searches.len();
        self.searches.truncate(MOST_SEARCHES);
        self.searches
            .retain(|domain| domain.len() <= LONGEST_DOMAIN);
        while self.searches.join(" ").len() > LONGEST_SEARCH_LINE {
            self.searches.pop();
        }
        if self.searches.len() < wanted {
            let line = self.searches.join(" ");
            self.omitted.push(Omitted::Searches(line));
        }
    }
}

fn add_new<'a>(list: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

impl Display for ResolvConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.servers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_pass_by_value)] // literals read best by value

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const CLUSTER: &str = "search blue.svc.cluster.local svc.cluster.local cluster.local\n\
                           nameserver 10.96.0.10\noptions ndots:5\n";

    fn conf(mut spec: Value) -> ResolvConf {
        spec["containers"] = json!([]);
        let pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "blue"}, "spec": spec}),
        );
        let dns = ClusterDns {
            server: Some("10.96.0.10".parse().unwrap()),
            domain: "cluster.local".to_owned(),
        };
        ResolvConf::of(&pod.unwrap(), &dns)
    }

    #[rstest]
    #[case::nothing_said(json!({}), CLUSTER)]
    #[case::cluster_first(json!({"dnsPolicy": "ClusterFirst"}), CLUSTER)]
    #[case::cluster_first_on_the_node(json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), "")]
    #[case::cluster_for_the_node(json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), CLUSTER)]
    #[case::default(json!({"dnsPolicy": "Default"}), "")]
    #[case::none(
        json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1", "192.0.2.2"], "searches": ["a.example"]}}),
        "search a.example\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"
    )]
    #[case::default_and_own(
        json!({"dnsPolicy": "Default", "dnsConfig": {"nameservers": ["192.0.2.1"], "options": [{"name": "edns0"}]}}),
        "nameserver 192.0.2.1\noptions edns0\n"
    )]
    #[case::own_words_are_added(
        json!({"dnsConfig": {
            "nameservers": ["192.0.2.1", "10.96.0.10"], "searches": ["example", "svc.cluster.local"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0", "value": ""}],
        }}),
        "search blue.svc.cluster.local svc.cluster.local cluster.local example\n\
         nameserver 10.96.0.10\nnameserver 192.0.2.1\noptions ndots:2 edns0\n"
    )]
    fn policies(#[case] spec: Value, #[case] expected: &str) {
        let conf = conf(spec);
        assert_eq!(conf.to_string(), expected);
        assert!(conf.omitted().is_empty());
    }

    #[test]
    fn a_fourth_server_is_left_out() {
        let conf =
            conf(json!({"dnsConfig": {"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}}));
        let line = "10.96.0.10 192.0.2.1 192.0.2.2".to_owned();
        assert_eq!(conf.omitted(), [Omitted::Servers(line)]);
        assert!(!conf.to_string().contains("192.0.2.3"));
    }

    #[test]
    fn searches_that_do_not_fit_are_left_out() {
        let many: Vec<String> = (0..32).map(|n| format!("domain-{n}.example")).collect();
        let conf = conf(json!({"dnsConfig": {"searches": many}}));
        assert_eq!(conf.searches.len(), MOST_SEARCHES);
        assert!(
            matches!(conf.omitted(), [Omitted::Searches(line)] if line.ends_with("domain-28.example"))
        );

        let long: Vec<String> = (0..12)
            .map(|n| format!("{n}{}", ".x".repeat(120)))
            .collect();
        let conf = super::tests::conf(json!({"dnsConfig": {"searches": long}}));
        assert!(conf.searches.join(" ").len() <= LONGEST_SEARCH_LINE);
        assert_eq!(conf.searches.len(), 3 + 8);
    }
}
