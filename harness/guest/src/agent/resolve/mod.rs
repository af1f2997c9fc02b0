//! Names to addresses, as libc would do it: literal, `/etc/hosts`, then the name servers.

mod conf;
mod query;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::thread;

use simple_dns::TYPE;
use simple_dns::rdata::RData;
use trunkline_guest::protocol::{Family, Lookup, Outcome, Unresolved};

pub use self::conf::ResolvConf;
pub use self::query::{Failed, Reply};
use crate::deadline::Deadline;
use crate::{sys, verdict};

/// Resolves names the way this container is configured. The files are read anew for every
/// question: a kubelet may rewrite `/etc/hosts` at any time.
#[derive(Debug)]
pub struct Resolver {
    hosts: &'static str,
    resolv_conf: &'static str,
}

impl Resolver {
    pub fn system() -> Self {
        Self {
            hosts: "/etc/hosts",
            resolv_conf: "/etc/resolv.conf",
        }
    }

    pub fn conf(&self) -> ResolvConf {
        ResolvConf::parse(&fs::read_to_string(self.resolv_conf).unwrap_or_default())
    }

    /// The addresses of a host, best first.
    pub fn addresses(
        &self,
        host: &str,
        family: Option<Family>,
        deadline: Deadline,
    ) -> Result<Vec<IpAddr>, Outcome> {
        let wanted = |ip: &IpAddr| match family {
            None => true,
            Some(Family::Ipv4) => ip.is_ipv4(),
            Some(Family::Ipv6) => ip.is_ipv6(),
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            return if wanted(&ip) {
                Ok(vec![ip])
            } else {
                Err(verdict::error(format!(
                    "{host} is not of the address family asked for"
                )))
            };
        }
        let listed = conf::hosts(&fs::read_to_string(self.hosts).unwrap_or_default(), host);
        let mut found: Vec<IpAddr> = listed.into_iter().filter(wanted).collect();
        if found.is_empty() {
            found = self
                .ask_addresses(host, family, deadline)
                .map_err(|failed| failed.for_host(host))?;
        }
        sort_by_reach(&mut found);
        Ok(found)
    }

    fn ask_addresses(
        &self,
        host: &str,
        family: Option<Family>,
        deadline: Deadline,
    ) -> Result<Vec<IpAddr>, Failed> {
        let types: &[TYPE] = match family {
            None => &[TYPE::A, TYPE::AAAA],
            Some(Family::Ipv4) => &[TYPE::A],
            Some(Family::Ipv6) => &[TYPE::AAAA],
        };
        let conf = self.conf();
        let answers: Vec<Result<Vec<IpAddr>, Failed>> = thread::scope(|scope| {
            let asking: Vec<_> = types
                .iter()
                .map(|&record_type| {
                    let conf = &conf;
                    scope.spawn(move || {
                        ask(conf, host, record_type, deadline).map(|reply| addresses_in(&reply))
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|_| {
                        Err(Failed::negative(Lookup::ServerFailure, host, None))
                    })
                })
                .collect()
        });
        let mut found = Vec::new();
        let mut worst: Option<Failed> = None;
        for answer in answers {
            match answer {
                Ok(addresses) => found.extend(addresses),
                Err(failed) => worst = Some(Failed::worse(worst, failed)),
            }
        }
        match worst {
            Some(failed) if found.is_empty() => Err(failed),
            _ => Ok(found),
        }
    }
}

/// Asks the configured servers, through the search domains, for records of one type.
pub fn ask(
    conf: &ResolvConf,
    name: &str,
    record_type: TYPE,
    deadline: Deadline,
) -> Result<Reply, Failed> {
    let mut worst: Option<Failed> = None;
    for candidate in conf.candidates(name) {
        match ask_servers(conf, &candidate, record_type, deadline) {
            Ok(reply) => return Ok(reply),
            // A server that is silent for one name will be silent for the next.
            Err(failed @ Failed::Unanswered { .. }) => return Err(failed),
            Err(failed) => worst = Some(Failed::worse(worst, failed)),
        }
    }
    Err(worst.unwrap_or_else(|| Failed::negative(Lookup::InvalidName, name, None)))
}

fn ask_servers(
    conf: &ResolvConf,
    name: &str,
    record_type: TYPE,
    deadline: Deadline,
) -> Result<Reply, Failed> {
    let mut last = Failed::negative(Lookup::NoServer, name, None);
    let mut tries = conf.attempts * u32::try_from(conf.servers.len()).unwrap_or(1);
    for _ in 0..conf.attempts {
        for &server in &conf.servers {
            let limit = deadline.share(tries).at_most(conf.timeout);
            tries -= 1;
            match query::exchange(server, name, record_type, random_id(), limit) {
                Ok(reply) => return Ok(reply),
                // These two speak about the name; the others only about this server.
                Err(Failed::Negative(answer))
                    if matches!(
                        answer.why,
                        Lookup::NoSuchName | Lookup::NoRecord | Lookup::InvalidName
                    ) =>
                {
                    return Err(Failed::Negative(answer));
                }
                Err(failed) => last = failed,
            }
        }
    }
    Err(last)
}

fn random_id() -> u16 {
    // The standard library's hash keys are random; their low bits serve as well as any.
    (RandomState::new().build_hasher().finish() & 0xffff) as u16
}

fn addresses_in(reply: &Reply) -> Vec<IpAddr> {
    reply.with_records(|records| {
        records
            .iter()
            .filter_map(|record| match &record.rdata {
                RData::A(a) => Some(IpAddr::V4(a.address.into())),
                RData::AAAA(a) => Some(IpAddr::V6(a.address.into())),
                _ => None,
            })
            .collect()
    })
}

/// Addresses that have a route first, IPv6 before IPv4 among those (RFC 6724, as far as one
/// prefix per interface needs it).
fn sort_by_reach(addresses: &mut [IpAddr]) {
    addresses
        .sort_by_cached_key(|&address| (sys::source_for(address).is_none(), address.is_ipv4()));
}

impl Failed {
    pub fn negative(why: Lookup, name: &str, server: Option<SocketAddr>) -> Self {
        Self::Negative(Unresolved {
            name: name.to_owned(),
            why,
            server,
        })
    }

    /// Of two failures the one that says more: silence hides an answer, «no record» beats «no such
    /// name», since then the name exists.
    fn worse(first: Option<Self>, second: Self) -> Self {
        let rank = |failed: &Self| match failed {
            Self::Unanswered { .. } => 3,
            Self::Negative(negative) => match negative.why {
                Lookup::NoSuchName | Lookup::InvalidName => 0,
                Lookup::NoRecord => 1,
                _ => 2,
            },
        };
        match first {
            Some(first) if rank(&first) >= rank(&second) => first,
            _ => second,
        }
    }

    /// For a probe that only needed the address: any failure leaves the name unresolved.
    fn for_host(self, host: &str) -> Outcome {
        Outcome::Unresolved(match self {
            Self::Negative(negative) => Unresolved {
                name: host.to_owned(),
                ..negative
            },
            Self::Unanswered { server, .. } => Unresolved {
                name: host.to_owned(),
                why: Lookup::NoAnswer,
                server: Some(server),
            },
        })
    }
}
