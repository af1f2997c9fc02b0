//! `/etc/resolv.conf`.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Name servers and search domains of everybody, each once.
#[derive(Debug, Default)]
pub struct Resolver {
    servers: Vec<IpAddr>,
    search: Vec<String>,
}

impl Resolver {
    pub fn add(&mut self, servers: &[IpAddr], search: &[String]) {
        for server in servers {
            if !self.servers.contains(server) {
                self.servers.push(*server);
            }
        }
        for domain in search {
            if !self.search.contains(domain) {
                self.search.push(domain.clone());
            }
        }
    }

    pub fn text(&self) -> String {
        let mut text = "# Written by init.\n".to_owned();
        if !self.search.is_empty() {
            let _infallible = writeln!(text, "search {}", self.search.join(" "));
        }
        for server in &self.servers {
            let _infallible = writeln!(text, "nameserver {server}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybodys_servers_once() {
        let mut resolver = Resolver::default();
        let ip = |text: &str| text.parse().unwrap();
        let search = |text: &str| text.to_owned();
        resolver.add(&[ip("10.96.0.10")], &[search("svc.cluster.local")]);
        resolver.add(
            &[ip("10.96.0.10"), ip("fd00::1")],
            &[search("svc.cluster.local"), search("b")],
        );
        assert_eq!(
            resolver.text(),
            "# Written by init.\nsearch svc.cluster.local b\nnameserver 10.96.0.10\nnameserver fd00::1\n"
        );
        assert_eq!(Resolver::default().text(), "# Written by init.\n");
    }
}
