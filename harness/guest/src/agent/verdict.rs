//! From what the kernel says to one of the four ways of not getting through.

use std::io;
use std::net::IpAddr;

use trunkline_guest::protocol::{
    Blocked, Failure, Icmp, Outcome, Reason, Refusal, Refused, Stage, Unreachable,
};

use crate::deadline::Deadline;
use crate::sys::Reported;

pub fn error(message: impl Into<String>) -> Outcome {
    Outcome::Error(Failure {
        message: message.into(),
    })
}

pub fn blocked(deadline: Deadline, stage: Stage, address: Option<IpAddr>) -> Outcome {
    Outcome::Blocked(Blocked {
        after_ms: deadline.elapsed_ms(),
        stage,
        address,
        sent: None,
    })
}

/// Silence, as the standard library reports it: a socket timeout is `WouldBlock`, the end of
/// a connection attempt `TimedOut`.
pub fn is_silence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// What a failed attempt to reach `address` means. `report` is the socket's error queue entry.
pub fn of(
    failure: &io::Error,
    report: Option<Reported>,
    deadline: Deadline,
    stage: Stage,
    address: IpAddr,
) -> Outcome {
    // The kernel may only note an ICMP error that came while it was still sending, and go on
    // waiting: the queue knows better than the timeout.
    if report.is_none() && is_silence(failure) {
        return blocked(deadline, stage, Some(address));
    }
    let errno = report
        .map(|report| report.errno)
        .or_else(|| failure.raw_os_error());
    let icmp = report.and_then(|report| report.icmp);
    match errno.and_then(|errno| meaning(errno, icmp)) {
        Some(Meaning::Refused(how)) => Outcome::Refused(Refused { how, address, icmp }),
        Some(Meaning::Unreachable(reason)) => Outcome::Unreachable(Unreachable {
            reason,
            address,
            icmp,
        }),
        None => error(match stage {
            Stage::Resolve | Stage::Connect => format!("cannot connect to {address}: {failure}"),
            Stage::Tls => format!("the TLS handshake with {address} broke off: {failure}"),
            Stage::Response => format!("the connection to {address} broke off: {failure}"),
        }),
    }
}

enum Meaning {
    Refused(Refusal),
    Unreachable(Reason),
}

fn meaning(errno: i32, icmp: Option<Icmp>) -> Option<Meaning> {
    if let Some(reason) = icmp.and_then(by_icmp) {
        return Some(Meaning::Unreachable(reason));
    }
    Some(match errno {
        libc::ECONNREFUSED if icmp.is_some() => Meaning::Refused(Refusal::Port),
        libc::ECONNREFUSED => Meaning::Refused(Refusal::Connection),
        libc::ENETUNREACH => Meaning::Unreachable(Reason::Network),
        libc::EHOSTUNREACH => Meaning::Unreachable(Reason::Host),
        libc::EACCES => Meaning::Unreachable(Reason::Prohibited),
        libc::ENOPROTOOPT => Meaning::Unreachable(Reason::Protocol),
        libc::EMSGSIZE => Meaning::Unreachable(Reason::TooBig),
        _ => return None,
    })
}

/// ICMP says more than the errno that the kernel makes of it (RFC 792, RFC 1812 §5.2.7, RFC 4443).
fn by_icmp(icmp: Icmp) -> Option<Reason> {
    match (icmp.from, icmp.kind, icmp.code) {
        (IpAddr::V4(_), 3, 9 | 10 | 13) | (IpAddr::V6(_), 1, 1 | 5 | 6) => Some(Reason::Prohibited),
        (IpAddr::V4(_), 3, 2) | (IpAddr::V6(_), 4, 1) => Some(Reason::Protocol),
        (IpAddr::V4(_), 3, 4) | (IpAddr::V6(_), 2, _) => Some(Reason::TooBig),
        (IpAddr::V4(_), 11, _) | (IpAddr::V6(_), 3, _) => Some(Reason::TimeToLive),
        (IpAddr::V4(_), 3, 0) | (IpAddr::V6(_), 1, 0) => Some(Reason::Network),
        (IpAddr::V4(_), 3, 1) | (IpAddr::V6(_), 1, 3) => Some(Reason::Host),
        _ => None,
    }
}
