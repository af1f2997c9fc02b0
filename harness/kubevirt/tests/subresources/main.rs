//! The subresource API over the socket of a real API server; the machines behind it are stand-ins.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod acts;
mod console;
mod discovery;
mod lifecycle;
mod reports;
mod site;
mod socket;
mod streams;
mod virtctl;
