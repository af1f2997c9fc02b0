//! One module per verb; each turns a probe into an outcome and never panics.

mod curl;
mod dns;
mod exec;
mod ping;
mod tcp;
mod udp;

use trunkline_guest::protocol::{Outcome, Probe};

use crate::deadline::Deadline;
use crate::resolve::Resolver;

pub fn run(probe: &Probe, resolver: &Resolver, deadline: Deadline) -> Outcome {
    match probe {
        Probe::Curl(probe) => curl::run(probe, resolver, deadline),
        Probe::Ping(probe) => ping::run(probe, resolver, deadline),
        Probe::Tcp(probe) => tcp::run(probe, resolver, deadline),
        Probe::Udp(probe) => udp::run(probe, resolver, deadline),
        Probe::Dns(probe) => dns::run(probe, resolver, deadline),
        Probe::Exec(probe) => exec::run(probe, deadline),
    }
}

/// Whether `expected` occurs in `received`. Nothing expected is always there.
fn contains(received: &[u8], expected: &[u8]) -> bool {
    expected.is_empty()
        || received
            .windows(expected.len())
            .any(|window| window == expected)
}
