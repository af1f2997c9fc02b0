//! A small, generic Kubernetes API server as a library.
//!
//! [`ApiServer`] answers HTTP requests like a kube-apiserver 1.34: it is a [`tower::Service`], so a socket and an
//! in-process [`kube::Client`] take the same path. Objects live in memory; there is no etcd, no kubelet and no
//! scheduler. What happens in pods (exec, logs, port-forward) is asked of a [`PodConnector`], resources that are
//! computed instead of stored are answered by a [`VirtualHandler`].

mod admission;
pub mod aggregated;
mod auth;
pub mod body;
mod connect;
mod controllers;
mod convert;
mod decode;
mod discovery;
mod go_json;
pub mod gvk;
mod kinds;
mod object;
pub mod openapi;
pub mod patch;
pub mod pods;
mod protobuf;
mod read;
mod registry;
mod request;
pub mod schema;
pub mod selector;
pub mod server;
pub mod status;
mod storage;
mod table;
pub mod transport;
pub mod user;
mod validation;
pub mod virtual_resource;
mod warnings;
mod write;

pub use admission::hook::{Admission, AdmissionRequest, AdmissionTarget, Operation};
pub use aggregated::{
    AggregatedApi, AggregatedHandler, AggregatedRequest, AggregatedVersion, ServiceReference,
    Upgrade,
};
pub use body::{Body, BoxError};
pub use gvk::Gvr;
pub use pods::{
    AsyncReadWrite, ExecExit, ExecOptions, LogOptions, NoPods, PodConnector, Streams, TerminalSize,
};
pub use schema::{FieldError, Gvk};
pub use server::{ApiServer, ApiService, Builder, Error};
pub use status::{Cause, Reason, Status};
pub use transport::pki::{Pki, PkiError};
pub use user::User;
pub use virtual_resource::{VirtualHandler, VirtualResource};
