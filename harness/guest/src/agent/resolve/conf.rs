//! `/etc/resolv.conf` and `/etc/hosts`. The agent is static and has no name service switch.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What `resolv.conf` says, with the defaults of resolv.conf(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<SocketAddr>,
    pub search: Vec<String>,
    pub ndots: usize,
    pub timeout: Duration,
    pub attempts: u32,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl ResolvConf {
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // Three at most, as in glibc. A scope (`fe80::1%eth0`) is left to glibc too.
                    if let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>)
                        && conf.servers.len() < 3
                    {
                        conf.servers.push(SocketAddr::new(ip, 53));
                    }
                }
                Some("search" | "domain") => conf.search = words.map(plain).collect(),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {}
            }
        }
        conf
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else {
            return;
        };
        let Ok(value) = value.parse::<u32>() else {
            return;
        };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(u64::from(value.clamp(1, 30))),
            "attempts" => self.attempts = value.clamp(1, 5),
            _ => {}
        }
    }

    /// The names to ask for, in order, for a name typed by somebody.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let searched = self.search.iter().map(|domain| {
            if domain.is_empty() {
                name.to_owned()
            } else {
                format!("{name}.{domain}")
            }
        });
        let as_is = std::iter::once(name.to_owned());
        let mut candidates: Vec<String> = if name.matches('.').count() >= self.ndots {
            as_is.chain(searched).collect()
        } else {
            searched.chain(as_is).collect()
        };
        candidates.dedup();
        candidates
    }
}

fn plain(domain: &str) -> String {
    domain.trim_end_matches('.').to_owned()
}

/// The addresses of a name in `/etc/hosts`.
pub fn hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    text.lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let ip = words.next()?.parse().ok()?;
            words
                .any(|alias| alias.eq_ignore_ascii_case(name))
                .then_some(ip)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const KUBERNETES: &str = "search tenantblue.svc.cluster.local svc.cluster.local cluster.local.\n\
        nameserver 10.96.0.10 # cluster DNS\nnameserver fd00::a\noptions ndots:5 timeout:2 trust-ad\n";

    #[test]
    fn the_file_of_a_pod_is_understood() {
        let conf = ResolvConf::parse(KUBERNETES);
        assert_eq!(
            conf.servers,
            [
                "10.96.0.10:53".parse().unwrap(),
                "[fd00::a]:53".parse().unwrap()
            ]
        );
        assert_eq!(conf.search[2], "cluster.local");
        assert_eq!(
            (conf.ndots, conf.timeout.as_secs(), conf.attempts),
            (5, 2, 2)
        );
    }

    #[rstest]
    #[case("db", &["db.tenantblue.svc.cluster.local", "db.svc.cluster.local", "db.cluster.local", "db"])]
    #[case("a.b.c.d.e.f", &["a.b.c.d.e.f", "a.b.c.d.e.f.tenantblue.svc.cluster.local", "a.b.c.d.e.f.svc.cluster.local", "a.b.c.d.e.f.cluster.local"])]
    #[case("example.org.", &["example.org"])]
    fn search_domains_apply_as_ndots_says(#[case] name: &str, #[case] expected: &[&str]) {
        assert_eq!(ResolvConf::parse(KUBERNETES).candidates(name), expected);
    }

    #[test]
    fn hosts_knows_aliases_and_comments() {
        let text =
            "127.0.0.1 localhost\n10.1.2.3\tweb web.example # web\n::1 localhost\n#9.9.9.9 web\n";
        assert_eq!(
            hosts(text, "WEB.example"),
            ["10.1.2.3".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(hosts(text, "localhost").len(), 2);
        assert!(hosts(text, "nobody").is_empty());
    }
}
