//! What goes over the control socket: one JSON document per line, and before the first line the file descriptors.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;

/// Supervisor to lab.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToLab<T> {
    Boot(Box<BootConfig>),
    /// Answers [`FromLab::NeedIdMaps`].
    IdsMapped,
    Shutdown,
    Message(T),
}

/// Lab to supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromLab<T> {
    /// The process wants its ids mapped; only a process outside its user namespace can do that.
    NeedIdMaps {
        pid: u32,
    },
    Failed(Failure),
    /// The server runs.
    Started,
    /// The server's entry point returned an error.
    Ended {
        error: String,
    },
    Message(T),
}

/// What the lab's processes need to know to boot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BootConfig {
    pub(super) rootfs: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) user_namespace: bool,
    /// For the server.
    pub(super) config: serde_json::Value,
}

/// The phase before the server has no messages of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum NoMessage {}

/// The file descriptors of a lab, in this order.
#[derive(Debug)]
pub(super) struct Inherited {
    pub(super) listener: OwnedFd,
    pub(super) lifeline: OwnedFd,
}

/// One byte carries the descriptors, so that reading lines begins after it.
const FD_MARK: u8 = b'\n';

pub(super) fn send_fds(socket: impl AsFd, fds: [BorrowedFd<'_>; 2]) -> io::Result<()> {
    let raw = fds.map(|fd| fd.as_raw_fd());
    sendmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &[IoSlice::new(&[FD_MARK])],
        &[ControlMessage::ScmRights(&raw)],
        MsgFlags::empty(),
        None,
    )?;
    Ok(())
}

pub(super) fn receive_fds(socket: impl AsFd) -> io::Result<Inherited> {
    let mut byte = [0];
    let mut buffer = nix::cmsg_space!([std::os::fd::RawFd; 2]);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut parts,
        Some(&mut buffer),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            fds.extend(received.into_iter().map(super::process::own_fd));
        }
    }
    match <[OwnedFd; 2]>::try_from(fds) {
        Ok([listener, lifeline]) => Ok(Inherited { listener, lifeline }),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the supervisor sent no file descriptors",
        )),
    }
}

/// One frame as a line.
pub(super) fn line(frame: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(frame)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The blocking side, used until the server has a runtime. The protocol is strictly question and answer until
/// then, so nothing of the server's messages can end up in this buffer.
#[derive(Debug)]
pub(super) struct Blocking {
    reader: io::BufReader<UnixStream>,
}

impl Blocking {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            reader: io::BufReader::new(socket),
        }
    }

    pub(super) fn send(&mut self, frame: &FromLab<NoMessage>) -> io::Result<()> {
        self.reader.get_mut().write_all(&line(frame)?)
    }

    pub(super) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&text)?)
    }

    pub(super) fn into_inner(self) -> UnixStream {
        self.reader.into_inner()
    }
}
