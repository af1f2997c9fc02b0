//! Containers through runc, without a process of ours per container: runc detaches, this process adopts what it
//! leaves behind and learns of exits through pidfds.

mod bundle;
pub(crate) mod cgroup;
mod console;
mod error;
mod exec;
mod process;
mod runc;
mod stdio;
mod watched;

pub(crate) use bundle::Bundle;
pub(crate) use console::Terminal;
pub use error::RuntimeError;
pub(crate) use exec::{capture, interactive};
pub(crate) use process::{Exit, Process, Signal, adopt_orphans, signal_by_name};
pub(crate) use runc::{Attachment, Runc, Started};
pub(crate) use stdio::{ContainerInput, Stdio, input, output};
