//! The first process of the pod, which runs QEMU for us.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use trunkline_launcher::{Exit, Lines, Order, Report, SOCKET, encode};

use super::files::Files;
use super::unix;

/// From a container that runs to its program that listens; it does nothing before.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's limit of files in one message.
const FILES_AT_ONCE: usize = 253;

/// Dropping it kills QEMU.
#[derive(Debug)]
pub struct Launcher {
    stream: UnixStream,
    lines: Lines,
}

#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    #[error("virt-launcher does not listen in {directory}: {source}")]
    Connect {
        directory: String,
        source: io::Error,
    },
    #[error("virt-launcher is gone: {0}")]
    Gone(#[from] io::Error),
    #[error("a machine cannot have more than {FILES_AT_ONCE} open files")]
    TooManyFiles,
    #[error("virt-launcher refused: {0}")]
    Refused(String),
    #[error("{}", process_exited(.0))]
    Exited(Exit),
    #[error("virt-launcher said something else than expected: {0}")]
    Unexpected(String),
}

/// As libvirt reports it, through virt-launcher.
fn process_exited(exit: &Exit) -> String {
    let detail = match (exit.stderr.as_str(), exit.signal, exit.code) {
        ("", Some(signal), _) => format!("signal {signal}"),
        ("", None, code) => format!("exit code {}", code.unwrap_or_default()),
        (stderr, _, _) => stderr.to_owned(),
    };
    format!(
        "server error. command SyncVMI failed: \"LibvirtError(Code=1, Domain=10, Message='internal error: process exited while connecting to monitor: {detail}')\""
    )
}

impl Launcher {
    /// `sockets` is the pod's volume of that name.
    pub async fn connect(sockets: &Path) -> Result<Self, LauncherError> {
        let name = SOCKET.rsplit('/').next().unwrap_or(SOCKET);
        let failed = |source| LauncherError::Connect {
            directory: sockets.display().to_string(),
            source,
        };
        let stream = tokio::time::timeout(PATIENCE, unix::await_listener(sockets, name))
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(failed)?;
        Ok(Self {
            stream,
            lines: Lines::default(),
        })
    }

    pub async fn start(&mut self, command: Vec<String>, files: Files) -> Result<(), LauncherError> {
        let (numbers, open) = files.into_numbered();
        if open.len() > FILES_AT_ONCE {
            return Err(LauncherError::TooManyFiles);
        }
        let order = line(&Order::Start {
            command,
            files: numbers,
        })?;
        let borrowed: Vec<_> = open.iter().map(AsFd::as_fd).collect();
        let sent = self
            .stream
            .async_io(Interest::WRITABLE, || send(&self.stream, &order, &borrowed))
            .await?;
        self.stream.write_all(&order[sent..]).await?;
        match self.next().await {
            Some(Report::Started { .. }) => Ok(()),
            Some(Report::Refused { reason }) => Err(LauncherError::Refused(reason)),
            Some(Report::Ended(exit)) => Err(LauncherError::Exited(exit)),
            other => Err(LauncherError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Why QEMU ended that has just turned out to be gone.
    pub async fn exit(&mut self) -> LauncherError {
        loop {
            match self.next().await {
                Some(Report::Ended(exit)) => return LauncherError::Exited(exit),
                Some(_) => {}
                None => return LauncherError::Gone(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    pub async fn kill(&mut self) -> Result<(), LauncherError> {
        let order = line(&Order::Kill)?;
        Ok(self.stream.write_all(&order).await?)
    }

    /// What it reports next; nothing when it is gone. Loses nothing when it is dropped midway.
    pub async fn next(&mut self) -> Option<Report> {
        loop {
            match self.lines.take() {
                Some(Ok(report)) => return Some(report),
                Some(Err(error)) => {
                    tracing::warn!(%error, "virt-launcher said something else");
                    return None;
                }
                None => {}
            }
            self.stream.readable().await.ok()?;
            let mut bytes = [0; 4096];
            match self.stream.try_read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.lines.push(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

fn line(order: &impl Serialize) -> io::Result<Vec<u8>> {
    encode(order).map_err(io::Error::from)
}

/// The files go with the first byte.
fn send(stream: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_AT_ONCE))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    Ok(sendmsg(
        stream.as_fd(),
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

#[cfg(test)]
mod tests {
    use trunkline_launcher::Exit;

    use super::LauncherError;

    #[test]
    fn what_qemu_said_last_is_the_reason() {
        let error = LauncherError::Exited(Exit {
            code: Some(1),
            signal: None,
            stderr: "qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory".to_owned(),
        });
        assert_eq!(
            error.to_string(),
            "server error. command SyncVMI failed: \"LibvirtError(Code=1, Domain=10, Message='internal error: process \
             exited while connecting to monitor: qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory')\""
        );
        let killed = LauncherError::Exited(Exit {
            code: None,
            signal: Some(9),
            stderr: String::new(),
        });
        assert!(killed.to_string().contains("signal 9"));
    }
}
