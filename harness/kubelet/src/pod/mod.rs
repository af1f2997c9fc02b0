//! One pod: a worker that makes what is there equal to what is wanted, whenever something changes.

mod config;
mod container;
mod context;
mod exit;
mod hooks;
mod image;
mod image_volume;
mod policy;
mod prepare;
mod qos;
mod start;
mod status;
mod stop;
mod termination;
mod text;
mod worker;
mod writer;

pub(crate) use context::{NodeContext, Shared};
pub(crate) use worker::{Desired, Worker};
