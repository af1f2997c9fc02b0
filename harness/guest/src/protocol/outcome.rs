//! What can come back.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::is_false;
use crate::octets::Octets;

/// What came of it. Exactly one of the four ways of not getting through, never a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Answered(Answer),
    /// Silence until the deadline.
    Blocked(Blocked),
    /// Somebody said no: a TCP reset to the first packet, or ICMP port unreachable.
    Refused(Refused),
    /// There is no way there, says this machine or a router.
    Unreachable(Unreachable),
    /// The name has no address.
    Unresolved(Unresolved),
    /// The probe could not be carried out or broke off; says nothing about the four above.
    Error(Failure),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Curl(CurlAnswer),
    Ping(PingAnswer),
    Tcp(TcpAnswer),
    Udp(UdpAnswer),
    Dns(DnsAnswer),
    Exec(ExecAnswer),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurlAnswer {
    pub status: u16,
    /// `HTTP/1.1`
    pub version: String,
    /// In the order received, names as sent by the server.
    pub headers: Vec<(String, String)>,
    pub body: Octets,
    /// Length of the whole body, also where `body` was cut.
    pub bytes: u64,
    /// The body was longer than the agent keeps.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    /// The URL that answered, when redirects were followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirected_to: Option<String>,
}

impl CurlAnswer {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PingAnswer {
    pub remote: IpAddr,
    pub sent: u32,
    pub received: u32,
    /// Percent of the requests sent, 0 to 100.
    pub loss: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt: Option<RoundTrip>,
    /// Time to live (hop limit) of the last reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
    #[serde(default, skip_serializing_if = "u32_is_zero")]
    pub duplicates: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packets: Vec<Packet>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoundTrip {
    pub min: f64,
    pub avg: f64,
    pub max: f64,
}

/// One echo request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packet {
    pub seq: u16,
    /// Since the probe began.
    pub sent_ms: f64,
    /// Absent when no reply came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TcpAnswer {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub connect_ms: f64,
    /// Everything read; empty when neither `send` nor `expect` was given.
    #[serde(default)]
    pub received: Octets,
    /// Whether `expect` was seen, when it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UdpAnswer {
    pub remote: SocketAddr,
    pub local: SocketAddr,
    pub rtt_ms: f64,
    pub received: Octets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsAnswer {
    pub server: SocketAddr,
    /// The question as it was finally asked, with its search domain.
    pub name: String,
    pub authoritative: bool,
    /// Aliases first, as they came.
    pub records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    #[serde(rename = "type")]
    pub record_type: String,
    pub ttl: u32,
    /// As `dig +short` shows it, names without the final dot.
    pub data: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecAnswer {
    pub exit: Exit,
    pub stdout: Octets,
    pub stderr: Octets,
    /// More came than the agent keeps of each stream.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// Still running at the deadline, then killed.
    TimedOut,
}

/// How far a probe had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Resolve,
    Connect,
    Tls,
    /// Connected, request sent, nothing (more) came back.
    Response,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    pub after_ms: f64,
    pub stage: Stage,
    /// The address tried, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Requests sent, for `ping`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    pub how: Refusal,
    pub address: IpAddr,
    /// Who sent the ICMP message, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    #[serde(rename = "connection refused")]
    Connection,
    #[serde(rename = "port unreachable")]
    Port,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unreachable {
    pub reason: Reason,
    pub address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<Icmp>,
}

/// Why there is no way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// `ENETUNREACH`: no route.
    #[serde(rename = "network is unreachable")]
    Network,
    /// `EHOSTUNREACH`: nobody answers for the address on the last link.
    #[serde(rename = "no route to host")]
    Host,
    /// ICMP codes for a filter that says so, or a `prohibit` route.
    #[serde(rename = "administratively prohibited")]
    Prohibited,
    #[serde(rename = "protocol unreachable")]
    Protocol,
    #[serde(rename = "time to live exceeded")]
    TimeToLive,
    /// `EMSGSIZE`: larger than the path carries and not to be fragmented.
    #[serde(rename = "packet too big")]
    TooBig,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Network => "network is unreachable",
            Self::Host => "no route to host",
            Self::Prohibited => "administratively prohibited",
            Self::Protocol => "protocol unreachable",
            Self::TimeToLive => "time to live exceeded",
            Self::TooBig => "packet too big",
        })
    }
}

/// An ICMP or ICMPv6 error about one of our packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Icmp {
    /// The sender. This machine's own address when its own neighbour lookup failed.
    pub from: IpAddr,
    #[serde(rename = "type")]
    pub kind: u8,
    pub code: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unresolved {
    pub name: String,
    pub why: Lookup,
    /// The server that said so, or the last one asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lookup {
    #[serde(rename = "no such name")]
    NoSuchName,
    #[serde(rename = "no record of that type")]
    NoRecord,
    #[serde(rename = "server failure")]
    ServerFailure,
    #[serde(rename = "server refuses the question")]
    Refused,
    /// Only where resolving was a means to an end: for the `dns` verb silence is `blocked`, a
    /// closed port `refused` and a missing route `unreachable`.
    #[serde(rename = "server does not answer")]
    NoAnswer,
    #[serde(rename = "no server configured")]
    NoServer,
    #[serde(rename = "not a valid name")]
    InvalidName,
}

impl std::fmt::Display for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoSuchName => "no such name",
            Self::NoRecord => "no record of that type",
            Self::ServerFailure => "server failure",
            Self::Refused => "server refuses the question",
            Self::NoAnswer => "server does not answer",
            Self::NoServer => "no server configured",
            Self::InvalidName => "not a valid name",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// A lower-case fragment that names the thing.
    pub message: String,
}

// serde hands it a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn u32_is_zero(value: &u32) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_as_a_sentence() {
        let outcome = Outcome::Unreachable(Unreachable {
            reason: Reason::Host,
            address: "192.0.2.7".parse().unwrap(),
            icmp: None,
        });
        assert_eq!(
            serde_json::to_string(&outcome).unwrap(),
            r#"{"unreachable":{"reason":"no route to host","address":"192.0.2.7"}}"#
        );
    }
}
