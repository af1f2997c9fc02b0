//! What must come of a probe.

use std::fmt;
use std::time::Duration;

use super::matcher::{Bound, JsonSubset, StatusMatch, TextMatch};
use super::reference::ObjectRef;
use super::template::Late;
use crate::span::{Located, Span};

/// The expectation of one probe. Where the file says nothing, `outcome` is an answer with the defaults of
/// its verb: any 2xx status, no ping lost, connected, at least one record, exit code 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Expect {
    /// Where it was written; the probe when it was not.
    pub at: Span,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one per probe of a file: few, and never moved in bulk"
)]
pub enum Outcome {
    /// It gets through, and the answer is as described.
    Answered(Answer),
    /// It does not get through, in one of these ways. Never empty.
    Unanswered(Vec<Unanswered>),
}

/// One way of not getting through.
#[derive(Debug, Clone, PartialEq)]
pub struct Unanswered {
    pub way: Way,
    /// The object that must be responsible (a policy), where the site can prove it.
    pub by: Option<Late<ObjectRef>>,
}

/// The four ways of not getting through, never mixed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Silently dropped: nothing comes back until the deadline.
    Blocked,
    /// The other side answers and says no: TCP reset, ICMP port unreachable.
    Refused,
    /// There is no way there: no route, ICMP host or net unreachable.
    Unreachable,
    /// The name has no address.
    Unresolved,
}

impl Way {
    pub const ALL: &[Way] = &[
        Self::Blocked,
        Self::Refused,
        Self::Unreachable,
        Self::Unresolved,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Unresolved => "unresolved",
        }
    }

    /// What the word means, for schema and reference.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Blocked => "silently dropped: nothing comes back until the deadline",
            Self::Refused => "the other side says no: TCP reset or ICMP port unreachable",
            Self::Unreachable => {
                "there is no way there: no route, ICMP host or network unreachable"
            }
            Self::Unresolved => "the name has no address",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the answer must be, per verb.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Http(HttpAnswer),
    Ping(PingAnswer),
    Tcp(TcpAnswer),
    /// `took` is until the answer.
    Udp(TcpAnswer),
    Dns(DnsAnswer),
    Exec(ExecAnswer),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpAnswer {
    /// Any 2xx when `None`.
    pub status: Option<Located<StatusMatch>>,
    /// Names are compared without case.
    pub headers: Vec<(Located<String>, TextMatch)>,
    pub body: Option<TextMatch>,
    pub json: Option<JsonSubset>,
    /// Length of the body in bytes.
    pub bytes: Option<Located<Bound<u64>>>,
    /// From the request to the last byte.
    pub took: Option<Located<Bound<Duration>>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct PingAnswer {
    /// Percent; exactly 0 when this and `received` are `None`.
    pub loss: Option<Located<Bound<f64>>>,
    pub received: Option<Located<Bound<u64>>>,
    /// The average round trip.
    pub rtt: Option<Located<Bound<Duration>>>,
    pub ttl: Option<Located<Bound<u64>>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct TcpAnswer {
    /// What the other side says.
    pub received: Option<TextMatch>,
    /// Until connected.
    pub took: Option<Located<Bound<Duration>>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DnsAnswer {
    /// Each must be among the records, in any order; at least one record when empty.
    pub records: Vec<TextMatch>,
    pub took: Option<Located<Bound<Duration>>>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExecAnswer {
    /// Exactly 0 when `None`.
    pub exit: Option<Located<Bound<u64>>>,
    pub stdout: Option<TextMatch>,
    pub stderr: Option<TextMatch>,
    /// Standard output read as JSON.
    pub json: Option<JsonSubset>,
    pub took: Option<Located<Bound<Duration>>>,
}
