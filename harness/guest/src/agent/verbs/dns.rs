//! Questions to name servers.

use std::net::{IpAddr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{ResourceRecord, TYPE};
use trunkline_guest::protocol::{Answer, Dns, DnsAnswer, Outcome, Record, RecordType};

use crate::deadline::Deadline;
use crate::resolve::{self, Failed, Reply, ResolvConf, Resolver};
use crate::verdict;

pub fn run(probe: &Dns, resolver: &Resolver, deadline: Deadline) -> Outcome {
    let mut conf = resolver.conf();
    if let Some(server) = &probe.server {
        match server_address(server, resolver, deadline) {
            Ok(server) => conf.servers = vec![server],
            Err(outcome) => return outcome,
        }
    }
    let name = question_name(probe, &mut conf);
    match resolve::ask(&conf, &name, wire_type(probe.record_type), deadline) {
        Ok(reply) => Outcome::Answered(Answer::Dns(answer(&reply))),
        Err(Failed::Negative(unresolved)) => Outcome::Unresolved(unresolved),
        Err(Failed::Unanswered { outcome, .. }) => outcome,
    }
}

/// `10.96.0.10`, `10.96.0.10:5353`, `[fd00::a]:53` or a name.
fn server_address(
    server: &str,
    resolver: &Resolver,
    deadline: Deadline,
) -> Result<SocketAddr, Outcome> {
    if let Ok(address) = server.parse::<SocketAddr>() {
        return Ok(address);
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, port),
            Err(_) => {
                return Err(verdict::error(format!(
                    "`{port}` in server `{server}` is not a port"
                )));
            }
        },
        _ => (server, 53),
    };
    let addresses = resolver.addresses(host, None, deadline)?;
    addresses
        .first()
        .map(|&ip| SocketAddr::new(ip, port))
        .ok_or_else(|| verdict::error(format!("server `{server}` has no address")))
}

/// An address asked for with `PTR` becomes its name in the reverse tree, which no search domain
/// applies to.
fn question_name(probe: &Dns, conf: &mut ResolvConf) -> String {
    match (probe.record_type, probe.name.parse::<IpAddr>()) {
        (RecordType::Ptr, Ok(ip)) => {
            conf.search.clear();
            reverse(ip)
        }
        _ => probe.name.clone(),
    }
}

fn reverse(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles: Vec<String> = ip
                .octets()
                .iter()
                .rev()
                .map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4))
                .collect();
            nibbles.concat() + "ip6.arpa"
        }
    }
}

fn wire_type(record_type: RecordType) -> TYPE {
    match record_type {
        RecordType::A => TYPE::A,
        RecordType::Aaaa => TYPE::AAAA,
        RecordType::Cname => TYPE::CNAME,
        RecordType::Mx => TYPE::MX,
        RecordType::Ns => TYPE::NS,
        RecordType::Ptr => TYPE::PTR,
        RecordType::Soa => TYPE::SOA,
        RecordType::Srv => TYPE::SRV,
        RecordType::Txt => TYPE::TXT,
    }
}

fn answer(reply: &Reply) -> DnsAnswer {
    DnsAnswer {
        server: reply.server,
        name: reply.name.clone(),
        authoritative: reply.authoritative,
        records: reply.with_records(|records| records.iter().map(record).collect()),
    }
}

fn record(record: &ResourceRecord<'_>) -> Record {
    let data = match &record.rdata {
        RData::A(a) => IpAddr::V4(a.address.into()).to_string(),
        RData::AAAA(a) => IpAddr::V6(a.address.into()).to_string(),
        RData::CNAME(name) => name.0.to_string(),
        RData::NS(name) => name.0.to_string(),
        RData::PTR(name) => name.0.to_string(),
        RData::MX(mx) => format!("{} {}", mx.preference, mx.exchange),
        RData::SRV(srv) => format!(
            "{} {} {} {}",
            srv.priority, srv.weight, srv.port, srv.target
        ),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            soa.mname, soa.rname, soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        RData::TXT(txt) => strings(txt),
        other => format!("{other:?}"),
    };
    Record {
        name: record.name.to_string(),
        record_type: format!("{:?}", record.rdata.type_code()),
        ttl: record.ttl,
        data,
    }
}

fn strings(record: &simple_dns::rdata::TXT<'_>) -> String {
    let strings: Vec<String> = record
        .iter_raw()
        .map(|(key, value)| {
            let mut text = String::from_utf8_lossy(key).into_owned();
            if let Some(value) = value {
                text.push('=');
                text.push_str(&String::from_utf8_lossy(value));
            }
            format!("{text:?}")
        })
        .collect();
    strings.join(" ")
}

#[cfg(test)]
mod tests {
    use super::reverse;

    #[test]
    fn addresses_have_names_in_the_reverse_tree() {
        assert_eq!(
            reverse("10.96.0.1".parse().unwrap()),
            "1.0.96.10.in-addr.arpa"
        );
        assert_eq!(
            reverse("2001:db8::1".parse().unwrap()),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
