//! What can go wrong at the monitor.

use std::io;

use serde::Deserialize;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum QmpError {
    #[error("QEMU's monitor is gone: QEMU has ended")]
    Gone,
    #[error("QEMU's monitor cannot be reached: {0}")]
    Io(#[from] io::Error),
    #[error("QEMU's monitor said `{0}`, which is no greeting of QMP")]
    Greeting(String),
    #[error("QEMU refused `{command}`: {failure}")]
    Refused { command: String, failure: Failure },
    #[error("QEMU answered `{command}` with something else than expected: {source}")]
    Answer {
        command: String,
        source: serde_json::Error,
    },
    #[error("the machine's state could not be {what}: {detail}")]
    Migration { what: &'static str, detail: String },
}

/// An error as QMP and the guest agent give it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Error)]
#[error("{desc}")]
pub struct Failure {
    pub class: String,
    pub desc: String,
}
