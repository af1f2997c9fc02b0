//! What the other programs ask process 1, over a socket.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use serde::{Deserialize, Serialize};

use crate::power::How;
use crate::services::Reply;

const PATH: &str = "/run/trunkline/control";
/// A request is one short line that its sender writes at once.
const PATIENCE: Duration = Duration::from_secs(1);
const LONGEST: u64 = 65_536;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Service { verb: Verb, unit: String },
    ListUnits,
    CloudStatus { wait: bool, json: bool, long: bool },
    Down { how: How, after_s: u64 },
    CancelDown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Status,
    IsActive,
}

impl Request {
    /// What everybody may ask.
    pub fn is_harmless(&self) -> bool {
        match self {
            Self::Service { verb, .. } => matches!(verb, Verb::Status | Verb::IsActive),
            Self::ListUnits | Self::CloudStatus { .. } => true,
            Self::Down { .. } | Self::CancelDown => false,
        }
    }
}

#[derive(Debug)]
pub struct Listener(UnixListener);

/// Somebody who waits for an answer.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    pub is_root: bool,
}

impl Listener {
    pub fn open() -> io::Result<Self> {
        let _absent = fs::remove_file(PATH);
        let listener = UnixListener::bind(PATH)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(PATH, Permissions::from_mode(0o666))?;
        Ok(Self(listener))
    }

    /// The next client and its request.
    pub fn accept(&self) -> Option<(Client, Request)> {
        let (stream, _) = self.0.accept().ok()?;
        stream.set_nonblocking(false).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.set_write_timeout(Some(PATIENCE)).ok()?;
        let is_root = getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0);
        let mut line = String::new();
        BufReader::new((&stream).take(LONGEST))
            .read_line(&mut line)
            .ok()?;
        let client = Client { stream, is_root };
        match serde_json::from_str(&line) {
            Ok(request) => Some((client, request)),
            Err(error) => {
                client.answer(&Reply {
                    exit: 1,
                    out: String::new(),
                    err: format!("the request is not understood: {error}\n"),
                });
                None
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Client {
    pub fn answer(mut self, reply: &Reply) {
        let line = serde_json::to_string(reply).unwrap_or_default();
        // Whoever does not wait for the answer does not get it.
        let _gone = writeln!(self.stream, "{line}");
    }
}

/// Asks process 1.
pub fn ask(request: &Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(PATH)?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}
