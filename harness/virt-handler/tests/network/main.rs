//! Machines' networks with real packets: a pod as the CNI plugin leaves it, a machine that is a namespace behind its tap,
//! and the world on the other side of the pod's interface.
//!
//! Namespaces need root, and translation needs `nft`; without them the tests say so and are skipped.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod bridge;
mod dhcp;
mod guest;
mod lifetime;
mod masquerade;
mod offload;
mod pod;
mod stream;
