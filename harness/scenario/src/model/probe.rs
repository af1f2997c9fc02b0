//! Probes: what is tried from inside a workload.

use std::fmt;
use std::time::Duration;

use super::expect::Expect;
use super::reference::Source;
use super::scenario::{ExpectedFailure, Retry};
use super::template::{JsonTemplate, Late, Template};
use crate::span::{Located, Span};

/// One attempt from one place, and what must come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub at: Span,
    /// Only within `together`; a step has its own.
    pub title: Option<Located<String>>,
    pub from: Late<Source>,
    pub call: Call,
    pub expect: Expect,
    /// Only within `together`.
    pub known: Option<ExpectedFailure>,
    /// Only within `together`.
    pub retry: Option<Retry>,
    /// How long the attempt may take; overrides the tables.
    pub timeout: Option<Located<Duration>>,
}

/// What is tried.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    Curl(Curl),
    Ping(Ping),
    Tcp(Tcp),
    Udp(Udp),
    Dns(Dns),
    Exec(Exec),
}

impl Call {
    /// The verb as written in the file.
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
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct Curl {
    /// With a scheme; `http://` when the file leaves it out.
    pub url: Template,
    /// Upper case.
    pub method: String,
    pub headers: Vec<(Located<String>, Template)>,
    pub body: Option<Body>,
}

/// What a request carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Text(Template),
    /// Sent compactly, with `content-type: application/json` unless the headers say otherwise.
    Json(JsonTemplate),
}

/// ICMP echo requests.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    pub host: Template,
    pub count: u32,
    /// Between two requests.
    pub every: Duration,
    /// Bytes of payload.
    pub size: u16,
}

impl Ping {
    pub const DEFAULT_COUNT: u32 = 3;
    pub const DEFAULT_EVERY: Duration = Duration::from_millis(200);
    pub const DEFAULT_SIZE: u16 = 56;
}

/// A TCP connection, and perhaps a few bytes each way.
#[derive(Debug, Clone, PartialEq)]
pub struct Tcp {
    pub host: Template,
    /// Text, because it may come from a capture.
    pub port: Template,
    /// Sent once connected.
    pub send: Option<Template>,
}

/// A UDP datagram, and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Udp {
    pub host: Template,
    /// Text, because it may come from a capture.
    pub port: Template,
    /// What it holds; nothing when `None`.
    pub send: Option<Template>,
}

/// A question to a name server.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    pub name: Template,
    pub record: RecordType,
    /// The workload's own name server when `None`.
    pub server: Option<Template>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordType {
    A,
    Aaaa,
    Cname,
    Mx,
    Ptr,
    Srv,
    Txt,
}

impl RecordType {
    pub const ALL: &[RecordType] = &[
        Self::A,
        Self::Aaaa,
        Self::Cname,
        Self::Mx,
        Self::Ptr,
        Self::Srv,
        Self::Txt,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A program run inside the workload. There is no shell: the words are the arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Exec {
    pub argv: Vec<Template>,
    pub stdin: Option<Template>,
}
