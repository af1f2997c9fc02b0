//! The lab's network machinery: a network namespace per node with its own Open vSwitch and its own OVN zone
//! (interconnect), wires of a physical network between them, and the ports that pods and gateways plug into.
//!
//! Datapath traffic is always real. Nothing here knows Kubernetes; what to program into a zone's Northbound
//! database is decided above, this crate runs the daemons and says when they have caught up.

mod addr;
mod barrier;
mod daemon;
mod dbfile;
mod error;
mod fabric;
mod flows;
mod gateway;
mod ingress;
mod link;
mod netns;
mod node;
mod physical;
mod plug;
mod port;
mod southbound;
mod spec;
mod start;
mod tap;
mod unixctl;
mod vswitch;

pub use addr::{MacAddr, ParseMacError};
pub use error::{DaemonDied, Error, Result};
pub use fabric::{Convergence, Fabric, ZoneConvergence};
pub use gateway::NodeGateway;
pub use ingress::{Ingress, Transport};
pub use link::{Device, End, Hop, Link, Links, Reach};
pub use netns::NetNs;
pub use node::{ChassisId, Node, NodeName, Zone};
pub use port::{Plugged, Port, Route};
pub use spec::{FabricSpec, NodeSpec, PhysicalSpec};
