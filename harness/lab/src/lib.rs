//! The embedded site: a Kubernetes API of our own in front of real OVN, Open vSwitch and containers, in namespaces of
//! its own on this machine.
//!
//! [`Lab`] is the host side; [`server`] is what runs inside. They talk over [`boot`]'s control channel, and everybody
//! else talks to the API.

mod barrier;
pub mod boot;
mod dns;
pub mod doctor;
mod host;
mod idle;
mod images;
mod kubevirt;
mod message;
mod network;
pub mod server;
mod site;
mod spec;

pub use host::{Lab, LabError, LabOptions};
pub use site::LabSite;
pub use spec::{CatalogueFile, KUBERNETES_VERSION, LabNode, LabSpec, OVN_KUBERNETES_VERSION};
