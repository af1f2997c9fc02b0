//! What runs inside a workload: the probe agent, a virtual machine's init, and the protocols spoken
//! with them.
//!
//! The library holds only the protocols, so that the engine can speak them without pulling in the
//! programs. `trunkline-init` is process 1 of a guest ([`init`]); the agent is `trunkline-agent`: one static binary that reads one [`Request`] per line
//! from standard input, runs all of them at once, and writes one [`Response`] per line to standard
//! output, in the order in which they finish.

pub mod octets;
pub mod protocol;

pub use octets::Octets;
pub use protocol::init;
pub use protocol::{Outcome, Probe, Request, Response};
