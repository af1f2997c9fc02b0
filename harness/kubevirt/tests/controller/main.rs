//! virt-controller against a real API server. The scheduler, the kubelet and virt-handler are stand-ins that write what
//! the real ones were recorded to write; what the controllers write is held against the record.

#![allow(clippy::unwrap_used)] // a test fails by panicking
#![allow(clippy::large_futures, clippy::too_many_lines)] // so does a machine's life
#![allow(clippy::needless_pass_by_value)] // literals read best by value

mod cluster;
mod data_volumes;
mod failures;
mod flat;
mod installation;
mod launcher;
mod lifecycle;
mod record;
mod replay;
mod site;
