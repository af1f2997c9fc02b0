//! OVN-Kubernetes 1.2.0 with Multus 4.2.3, as far as a cluster's users can tell: the same rows in
//! each zone's Northbound database, the same annotations, events and error texts.
//!
//! * [`World`] holds the observed objects as plain data.
//! * [`compile()`] turns it into the full set of rows of one zone, a pure function.
//! * [`northbound`] is that set: ordered, comparable, readable; also read from live databases and
//!   from records of real clusters.

mod alloc;
pub mod cni;
mod compile;
mod config;
mod converge;
mod error;
mod events;
mod gateway;
mod go;
mod hash;
mod manager;
mod nad;
mod names;
pub mod northbound;
mod observe;
mod owner;
pub mod selection;
mod start;
mod world;

pub use compile::compile;
pub use config::ClusterConfig;
pub use error::{Error, Result};
pub use hash::hashed_name;
pub use nad::{Nad, NadError, NetConf, Network, Topology, resource as nad_resource};
pub use names::{DEFAULT_CNI_NAME, DEFAULT_NETWORK, Key, default_port, mac_of, nad_port};
pub use northbound::{Northbound, diff, from_replica};
pub use start::{NodeFacts, Ovnk};
pub use world::{
    Attachment, Endpoint, EndpointPort, EndpointSlice, Node, POD_NETWORKS, Pod, PodNetworks,
    PodRoute, Protocol, Role, SELECTION, Service, ServicePort, TrafficPolicy, World,
};

/// The versions whose rows, annotations, events and messages these are.
pub const OVN_KUBERNETES_VERSION: &str = "1.2.0";
pub const MULTUS_VERSION: &str = "4.2.3";

/// Both, for whoever wants to know what a lab is like.
pub fn imitates() -> String {
    format!("OVN-Kubernetes {OVN_KUBERNETES_VERSION}, Multus {MULTUS_VERSION}")
}
