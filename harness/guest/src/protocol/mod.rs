//! The lines exchanged with the agent.
//!
//! ```text
//! → {"id":"1","probe":{"tcp":{"host":"10.244.1.5","port":9000,"timeout_ms":2000}}}
//! ← {"id":"1","took_ms":0.8,"outcome":{"refused":{"how":"connection refused","address":"10.244.1.5"}}}
//! ```
//!
//! All times are milliseconds. A probe's deadline covers everything it does, name resolution
//! included, and starts when the agent reads the request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::octets::Octets;

pub mod init;
mod outcome;

pub use self::outcome::*;

/// One line to the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Comes back in the answer. The agent does not look at it.
    pub id: String,
    pub probe: Probe,
}

/// One line from the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The request's `id`; empty when the request could not be read far enough to have one.
    pub id: String,
    pub took_ms: f64,
    pub outcome: Outcome,
}

/// What to try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    Curl(Curl),
    Ping(Ping),
    Tcp(Tcp),
    Udp(Udp),
    Dns(Dns),
    Exec(Exec),
}

impl Probe {
    /// The verb as it stands in a scenario.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Curl(_) => "curl",
            Self::Ping(_) => "ping",
            Self::Tcp(_) => "tcp",
            Self::Udp(_) => "udp",
            Self::Dns(_) => "dns",
            Self::Exec(_) => "exec",
        }
    }

    pub fn timeout_ms(&self) -> u64 {
        match self {
            Self::Curl(probe) => probe.timeout_ms,
            Self::Ping(probe) => probe.timeout_ms,
            Self::Tcp(probe) => probe.timeout_ms,
            Self::Udp(probe) => probe.timeout_ms,
            Self::Dns(probe) => probe.timeout_ms,
            Self::Exec(probe) => probe.timeout_ms,
        }
    }
}

/// Restricts the addresses that a name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Ipv4,
    Ipv6,
}

/// An HTTP/1.1 request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curl {
    /// `http://` or `https://`; without a scheme `http://` is meant, as curl does it.
    pub url: String,
    #[serde(default = "get")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Octets>,
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    /// How many redirects to follow; none by default.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_redirects: u8,
    /// Accept any certificate.
    #[serde(default, skip_serializing_if = "is_false")]
    pub insecure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

impl Curl {
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: get(),
            headers: BTreeMap::new(),
            body: None,
            timeout_ms: five_seconds(),
            max_redirects: 0,
            insecure: false,
            family: None,
        }
    }
}

/// ICMP echo requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    pub host: String,
    #[serde(default = "one")]
    pub count: u32,
    #[serde(default = "two_hundred")]
    pub interval_ms: u64,
    /// For the whole probe. A reply to the last request is awaited until then.
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    /// Bytes of payload behind the ICMP header, as `ping -s`.
    #[serde(default = "fifty_six")]
    pub size: u16,
    /// Forbid fragmentation, as `ping -M do`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dont_fragment: bool,
    /// List every packet in the answer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub packets: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

impl Ping {
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            count: one(),
            interval_ms: two_hundred(),
            timeout_ms: five_seconds(),
            size: fifty_six(),
            dont_fragment: false,
            packets: false,
            family: None,
        }
    }
}

/// A TCP connection, and optionally a few bytes over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    pub host: String,
    pub port: u16,
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<Octets>,
    /// Read until these bytes have come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Octets>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// A UDP datagram and its reply. Without a reply nothing is known about UDP, so silence is
/// `blocked` here as everywhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Udp {
    pub host: String,
    pub port: u16,
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
    #[serde(default)]
    pub send: Octets,
    /// The reply must contain these bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Octets>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
}

/// The types of record that can be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    #[default]
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Search domains of `/etc/resolv.conf` apply unless it ends in a dot. For `PTR` an address
    /// may stand here.
    pub name: String,
    #[serde(rename = "type", default)]
    pub record_type: RecordType,
    /// Address, or `address:port`; those of `/etc/resolv.conf` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(default = "five_seconds")]
    pub timeout_ms: u64,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub argv: Vec<String>,
    #[serde(default = "thirty_seconds")]
    pub timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Octets>,
}

fn get() -> String {
    "GET".to_owned()
}

const fn one() -> u32 {
    1
}

const fn fifty_six() -> u16 {
    56
}

const fn two_hundred() -> u64 {
    200
}

const fn five_seconds() -> u64 {
    5_000
}

const fn thirty_seconds() -> u64 {
    30_000
}

// serde hands these a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
const fn is_zero(value: &u8) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_only_what_has_no_default() {
        let line = r#"{"id":"1","probe":{"curl":{"url":"http://192.168.200.4:9000/hostname"}}}"#;
        let request: Request = serde_json::from_str(line).unwrap();
        assert_eq!(
            request.probe,
            Probe::Curl(Curl::get("http://192.168.200.4:9000/hostname"))
        );
        assert_eq!(
            serde_json::to_value(&request).unwrap()["probe"]["curl"]["method"],
            "GET"
        );
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let line = r#"{"id":"1","probe":{"tcp":{"host":"a","port":1,"retries":3}}}"#;
        let error = serde_json::from_str::<Request>(line)
            .unwrap_err()
            .to_string();
        assert!(error.contains("retries"), "{error}");
    }
}
