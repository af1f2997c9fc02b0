//! Questions to name servers. The question is put together here and only carried by the guest, so that the answer is
//! the server's own, whatever programs the guest has.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{RData, TXT},
};
use tokio::time::Instant;
use trunkline_guest::protocol::{
    Answer, Dns, DnsAnswer, Lookup, Outcome, Record, RecordType, Unresolved,
};

use super::{error, socket};
use crate::console::{Terminal, Trouble, job::Command};

/// What the guest's `resolv.conf` says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Conf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

pub(super) async fn ask(
    terminal: &Terminal<'_>,
    probe: &Dns,
) -> Result<(Outcome, Duration), Trouble> {
    let conf = terminal
        .run(Command {
            script: "cat /etc/resolv.conf".into(),
            stdin: None,
            timeout: Duration::from_millis(probe.timeout_ms),
        })
        .await?;
    let mut conf = Conf::read(&String::from_utf8_lossy(&conf.stdout));
    if let Some(server) = &probe.server {
        let Some(address) = server_address(server) else {
            let message = format!(
                "the name server `{server}` is not an address; from a guest it must be one"
            );
            return Ok((error(message), Duration::ZERO));
        };
        conf.servers = vec![address];
    }
    let Some(&server) = conf.servers.first() else {
        return Ok((
            unresolved(&probe.name, Lookup::NoServer, None),
            Duration::ZERO,
        ));
    };
    let started = Instant::now();
    let deadline = started + Duration::from_millis(probe.timeout_ms);
    let mut outcome = unresolved(&probe.name, Lookup::InvalidName, None);
    for (index, name) in names(probe, &conf).into_iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        // The first question has all the time there is; it is what the deadline is about.
        if index > 0 && left.is_zero() {
            break;
        }
        let id = 0x5452;
        let Some(question) = question(&name, wire_type(probe.record_type), id) else {
            continue;
        };
        let command = socket::udp(&socket::Datagram {
            host: &server.ip().to_string(),
            port: server.port(),
            bytes: &question,
            timeout: left,
        });
        let finished = terminal.run(command).await?;
        let host = server.ip().to_string();
        outcome = match socket::datagram(&host, probe.timeout_ms, &finished) {
            Ok(reply) => judge(&reply, &name, server, probe.record_type),
            Err(outcome) => return Ok((outcome, started.elapsed())),
        };
        // Only a name that does not exist is looked for elsewhere.
        let elsewhere = matches!(
            &outcome,
            Outcome::Unresolved(unresolved)
                if matches!(unresolved.why, Lookup::NoSuchName | Lookup::NoRecord)
        );
        if !elsewhere {
            break;
        }
    }
    Ok((outcome, started.elapsed()))
}

impl Conf {
    fn read(text: &str) -> Self {
        let mut conf = Self {
            ndots: 1,
            ..Self::default()
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let ip = words.next().and_then(|ip| ip.parse().ok());
                    conf.servers
                        .extend(ip.map(|ip: IpAddr| SocketAddr::new(ip, 53)));
                }
                Some("search" | "domain") => {
                    conf.search = words
                        .map(|domain| domain.trim_end_matches('.').to_owned())
                        .filter(|domain| !domain.is_empty())
                        .collect();
                }
                Some("options") => {
                    let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    conf.ndots = ndots.unwrap_or(conf.ndots);
                }
                _ => {}
            }
        }
        conf
    }
}

/// The names to ask for, in the order of resolv.conf(5).
fn names(probe: &Dns, conf: &Conf) -> Vec<String> {
    if let (RecordType::Ptr, Ok(ip)) = (probe.record_type, probe.name.parse()) {
        return vec![reverse(ip)];
    }
    if let Some(absolute) = probe.name.strip_suffix('.') {
        return vec![absolute.to_owned()];
    }
    let as_is = std::iter::once(probe.name.clone());
    let searched = conf
        .search
        .iter()
        .map(|domain| format!("{}.{domain}", probe.name));
    if probe.name.matches('.').count() >= conf.ndots {
        as_is.chain(searched).collect()
    } else {
        searched.chain(as_is).collect()
    }
}

fn reverse(ip: IpAddr) -> String {
    let (labels, zone): (Vec<String>, _) = match ip {
        IpAddr::V4(ip) => (
            ip.octets().iter().rev().map(u8::to_string).collect(),
            "in-addr.arpa",
        ),
        IpAddr::V6(ip) => {
            let digits = format!("{:032x}", u128::from(ip));
            (digits.chars().rev().map(String::from).collect(), "ip6.arpa")
        }
    };
    format!("{}.{zone}", labels.join("."))
}

/// `10.96.0.10` or `10.96.0.10:5353`.
fn server_address(text: &str) -> Option<SocketAddr> {
    let alone = text.parse().ok().map(|ip| SocketAddr::new(ip, 53));
    alone.or_else(|| text.parse().ok())
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

/// `None` for what is not a name. The codec lets empty labels pass.
fn question(name: &str, record_type: TYPE, id: u16) -> Option<Vec<u8>> {
    if !name.is_empty() && name.split('.').any(str::is_empty) {
        return None;
    }
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).ok()?,
        QTYPE::TYPE(record_type),
        QCLASS::CLASS(CLASS::IN),
        false,
    ));
    packet.build_bytes_vec().ok()
}

fn judge(reply: &[u8], name: &str, server: SocketAddr, wanted: RecordType) -> Outcome {
    let Ok(packet) = Packet::parse(reply) else {
        return error(format!(
            "the name server {server} sends what is not an answer"
        ));
    };
    let no = |why| unresolved(name, why, Some(server));
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return no(Lookup::NoSuchName),
        RCODE::Refused => return no(Lookup::Refused),
        _ => return no(Lookup::ServerFailure),
    }
    let of_type = |record: &ResourceRecord<'_>| record.rdata.type_code() == wire_type(wanted);
    if !packet.answers.iter().any(of_type) {
        return no(Lookup::NoRecord);
    }
    Outcome::Answered(Answer::Dns(DnsAnswer {
        server,
        name: name.to_owned(),
        authoritative: packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER),
        records: packet.answers.iter().map(record).collect(),
    }))
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
        RData::TXT(txt) => quoted(txt),
        other => format!("{other:?}"),
    };
    Record {
        name: record.name.to_string(),
        record_type: format!("{:?}", record.rdata.type_code()),
        ttl: record.ttl,
        data,
    }
}

/// As dig shows it.
fn quoted(record: &TXT<'_>) -> String {
    let strings = record.iter_raw().map(|(key, value)| {
        let mut text = String::from_utf8_lossy(key).into_owned();
        if let Some(value) = value {
            text.push('=');
            text.push_str(&String::from_utf8_lossy(value));
        }
        format!("{text:?}")
    });
    strings.collect::<Vec<_>>().join(" ")
}

fn unresolved(name: &str, why: Lookup, server: Option<SocketAddr>) -> Outcome {
    Outcome::Unresolved(Unresolved {
        name: name.to_owned(),
        why,
        server,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_domains_apply_as_resolv_conf_says() {
        let conf =
            Conf::read("nameserver 10.96.0.10 # x\nsearch a.svc b.\noptions ndots:2 timeout:1\n");
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap()]);
        let asked = |name: &str| {
            let probe = Dns {
                name: name.into(),
                record_type: RecordType::A,
                server: None,
                timeout_ms: 1,
            };
            names(&probe, &conf)
        };
        assert_eq!(asked("db"), ["db.a.svc", "db.b", "db"]);
        assert_eq!(asked("a.b.c"), ["a.b.c", "a.b.c.a.svc", "a.b.c.b"]);
        assert_eq!(asked("db."), ["db"]);
    }

    #[test]
    fn addresses_have_names_in_the_reverse_tree() {
        assert_eq!(
            reverse("10.96.0.1".parse().unwrap()),
            "1.0.96.10.in-addr.arpa"
        );
        assert!(reverse("2001:db8::1".parse().unwrap()).starts_with("1.0.0.0."));
    }

    #[test]
    fn a_name_without_records_is_none() {
        let server = "10.96.0.10:53".parse().unwrap();
        let asked = question("db", TYPE::A, 1).unwrap();
        let mut reply = Packet::parse(&asked).unwrap().into_reply();
        let said = |reply: &Packet<'_>| {
            crate::verdict::came(&judge(
                &reply.build_bytes_vec().unwrap(),
                "db",
                server,
                RecordType::A,
            ))
        };
        assert_eq!(
            said(&reply),
            "unresolved: db, no record of that type says 10.96.0.10:53"
        );
        *reply.rcode_mut() = RCODE::NameError;
        assert_eq!(
            said(&reply),
            "unresolved: db, no such name says 10.96.0.10:53"
        );
        assert_eq!(question("a..b", TYPE::A, 1), None);
    }
}
