//! Real clusters as sites: what provisions a kind cluster, and what runs on any cluster that a kubeconfig leads to.

pub mod agent;
pub mod capabilities;
pub mod component;
pub mod context;
pub mod docker;
pub mod doctor;
mod error;
pub mod evidence;
pub mod gc;
pub mod images;
pub mod journal;
pub mod kind;
pub mod outside;
mod site;

pub use context::{ConnectOptions, ContextError};
pub use error::ClusterError;
pub use site::ClusterSite;
