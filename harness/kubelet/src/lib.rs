//! Pods on runc, for every node of a cluster in one process, and the controllers that make them.
//!
//! A [`Kubelet`] watches pods through a [`kube::Client`] and knows nothing of how the API is served or of how
//! pods get their network: that is asked of a [`Cni`]. What reaches into running pods (exec, attach, logs,
//! port-forward) goes through a [`Connector`], which exists before the kubelet because the API server needs it
//! first. [`controllers`] are the parts of kube-controller-manager and kube-scheduler that workloads rely on.
//!
//! There are no cgroups: resource requests count for scheduling, limits are not enforced.

mod backoff;
mod cni;
mod config;
mod connector;
pub mod controllers;
mod error;
mod events;
mod images;
mod logs;
mod manager;
mod node;
mod oci;
mod pod;
mod probe;
mod quantity;
mod refs;
mod runtime;
mod sandbox;
mod volumes;

pub use cni::{Cni, CniError, CniOutcome, Sandbox};
pub use config::{ClusterDns, Config, NodeConfig, Paths, Role};
pub use connector::{Connector, PodNetwork};
pub use error::{Error, Result};
pub use events::{Recorder, Reporter, Severity};
pub use images::{ImageFailure, ImageSource};
pub use manager::Kubelet;
