//! What runs inside a workload: the probe agent, and the protocol spoken with it.
//!
//! The library holds only the protocol, so that the engine can speak it without pulling in the
//! probes. The program is `trunkline-agent`: one static binary that reads one [`Request`] per line
//! from standard input, runs all of them at once, and writes one [`Response`] per line to standard
//! output, in the order in which they finish.

pub mod octets;
pub mod protocol;

pub use octets::Octets;
pub use protocol::{Outcome, Probe, Request, Response};
