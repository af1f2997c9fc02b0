//! The three streams of a container's process.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

use super::RuntimeError;

/// The container's ends.
#[derive(Debug)]
pub(crate) struct Stdio {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Our end of a container's standard input.
pub(crate) type ContainerInput = pipe::Sender;

impl Stdio {
    /// All three lead nowhere.
    pub(crate) fn null() -> Result<Self, RuntimeError> {
        Ok(Self {
            stdin: null()?,
            stdout: null()?,
            stderr: null()?,
        })
    }
}

pub(crate) fn null() -> Result<OwnedFd, RuntimeError> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(RuntimeError::io("open /dev/null"))?;
    Ok(file.into())
}

/// A pipe that the container writes.
pub(crate) fn output() -> Result<(OwnedFd, pipe::Receiver), RuntimeError> {
    let (read, write) = pair()?;
    let read = pipe::Receiver::from_owned_fd(read).map_err(RuntimeError::io("watch a pipe"))?;
    Ok((write, read))
}

/// A pipe that the container reads.
pub(crate) fn input() -> Result<(OwnedFd, ContainerInput), RuntimeError> {
    let (read, write) = pair()?;
    let write = pipe::Sender::from_owned_fd(write).map_err(RuntimeError::io("watch a pipe"))?;
    Ok((read, write))
}

fn pair() -> Result<(OwnedFd, OwnedFd), RuntimeError> {
    pipe_with(PipeFlags::CLOEXEC).map_err(RuntimeError::errno("make a pipe"))
}
