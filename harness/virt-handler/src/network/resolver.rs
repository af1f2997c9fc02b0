//! What a pod's `/etc/resolv.conf` says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// For a pod that has no name server.
const FALLBACK: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);
const FALLBACK_DOMAIN: &str = "cluster.local";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolver {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
    pub(super) searches: Vec<String>,
}

impl Resolver {
    /// Machines with a subdomain find their peers below it.
    pub(super) fn read(text: &str, subdomain: Option<&str>) -> Self {
        let mut resolver = Self {
            v4: Vec::new(),
            v6: Vec::new(),
            searches: Vec::new(),
        };
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["nameserver", server] => match server.parse() {
                    Ok(IpAddr::V4(ip)) => resolver.v4.push(ip),
                    Ok(IpAddr::V6(ip)) => resolver.v6.push(ip),
                    Err(_) => {}
                },
                ["search", domains @ ..] => {
                    let domains = domains.iter().map(|domain| domain.to_lowercase());
                    resolver.searches.extend(domains);
                }
                _ => {}
            }
        }
        if resolver.v4.is_empty() && resolver.v6.is_empty() {
            resolver.v4.push(FALLBACK);
        }
        if resolver.searches.is_empty() {
            resolver.searches.push(FALLBACK_DOMAIN.to_owned());
        }
        if let Some(domain) = subdomain.and_then(|name| resolver.below(name)) {
            resolver.searches.insert(0, domain);
        }
        resolver
    }

    /// The subdomain of the services' domain, unless it is there already.
    fn below(&self, subdomain: &str) -> Option<String> {
        let services = self.searches.iter().filter(|d| d.contains(".svc."));
        let domain = longest(services)?;
        let there = domain.starts_with(&format!("{subdomain}."));
        (!subdomain.is_empty() && !there).then(|| format!("{subdomain}.{domain}"))
    }

    /// The most specific one, which stands for the domain of the machine itself.
    pub(super) fn domain(&self) -> Option<&str> {
        longest(self.searches.iter()).map(String::as_str)
    }
}

/// The first of the longest.
fn longest<'a>(domains: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    domains.reduce(|best, domain| {
        if domain.len() > best.len() {
            domain
        } else {
            best
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "search ipam-l2.svc.cluster.local svc.cluster.local cluster.local\n\
                       nameserver 10.96.0.10\noptions ndots:5\n";

    #[test]
    fn a_pods_is_read() {
        let resolver = Resolver::read(POD, None);
        assert_eq!(resolver.v4, [Ipv4Addr::new(10, 96, 0, 10)]);
        assert!(resolver.v6.is_empty());
        assert_eq!(
            resolver.searches,
            [
                "ipam-l2.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local"
            ]
        );
        assert_eq!(resolver.domain(), Some("ipam-l2.svc.cluster.local"));
    }

    #[test]
    fn an_empty_one_has_a_fallback() {
        let resolver = Resolver::read("nameserver nonsense\nnameserver 1.2.3.4 5\n", None);
        assert_eq!(resolver.v4, [FALLBACK]);
        assert_eq!(resolver.searches, ["cluster.local"]);
        let six = Resolver::read("nameserver fd00::a\n", None);
        assert!(six.v4.is_empty());
        assert_eq!(six.v6.len(), 1);
    }

    #[test]
    fn a_subdomain_comes_first_and_once() {
        let resolver = Resolver::read(POD, Some("db"));
        assert_eq!(resolver.searches[0], "db.ipam-l2.svc.cluster.local");
        assert_eq!(resolver.domain(), Some("db.ipam-l2.svc.cluster.local"));
        let there = "search db.n.svc.cluster.local n.svc.cluster.local\nnameserver 10.96.0.10\n";
        assert_eq!(Resolver::read(there, Some("db")).searches.len(), 2);
        assert_eq!(Resolver::read(POD, Some("")).searches.len(), 3);
    }
}
