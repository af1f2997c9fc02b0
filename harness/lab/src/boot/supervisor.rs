//! The host's side of a lab.

use std::fs::OpenOptions;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::{Uid, pipe2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use trunkline_userland::contain::IdMap;

use super::REEXEC;
use super::control::{Control, ControlSender, write_lines};
use super::error::{BootError, Failure, Step};
use super::wire::{BootConfig, FromLab, NoMessage, ToLab, line, send_fds};
use crate::doctor;

/// From the process's start to the server's first word; takes milliseconds unless the machine is overwhelmed.
const BOOT_LIMIT: Duration = Duration::from_secs(30);

/// What a lab is made of.
#[derive(Debug)]
pub struct BootSpec {
    /// Directory with the lab's root file system.
    pub rootfs: PathBuf,
    /// Shown read-only inside as [`CACHE_INSIDE`](super::CACHE_INSIDE).
    pub cache: PathBuf,
    /// The API's socket.
    pub listener: TcpListener,
    /// For the server.
    pub config: serde_json::Value,
    /// Where standard output and error of the lab's processes go.
    pub log: LogTo,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTo {
    /// The caller's standard error.
    Stderr,
    /// Appended to a file, which is made.
    File(PathBuf),
    Nowhere,
}

impl LogTo {
    fn open(&self) -> Result<[Stdio; 2], BootError> {
        let path = match self {
            Self::Stderr => return Ok([Stdio::from(io::stderr()), Stdio::inherit()]),
            Self::Nowhere => return Ok([Stdio::null(), Stdio::null()]),
            Self::File(path) => path,
        };
        let opened = OpenOptions::new().create(true).append(true).open(path);
        opened
            .and_then(|file| Ok([Stdio::from(file.try_clone()?), Stdio::from(file)]))
            .map_err(|source| BootError::Log {
                path: path.clone(),
                source,
            })
    }
}

/// How a lab ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The server returned.
    Done,
    /// The server returned an error.
    Failed(String),
    /// The server or the lab's init died.
    Died(ExitStatus),
}

/// A running lab. Dropping it ends the lab: the kernel kills what is in it and removes the rest.
#[derive(Debug)]
pub struct Supervisor<ToServer, FromServer> {
    child: Child,
    /// Nothing is ever written; the lab dies when this closes. `None` once that was asked for.
    lifeline: Option<OwnedFd>,
    control: Control<FromServer, ToServer>,
    lines: mpsc::UnboundedSender<Vec<u8>>,
    last_words: Option<oneshot::Receiver<String>>,
    exit: Option<Exit>,
}

impl<ToServer, FromServer> Supervisor<ToServer, FromServer>
where
    ToServer: Serialize + Send + 'static,
    FromServer: DeserializeOwned + Send + 'static,
{
    /// Boots a lab and returns when its server runs.
    pub async fn start(spec: BootSpec) -> Result<Self, BootError> {
        check_rootfs(&spec.rootfs)?;
        check_tun()?;
        let log = spec.log.open()?;
        let supervise = |action| move |source| BootError::Supervise { action, source };
        let (ours, theirs) =
            UnixStream::pair().map_err(supervise("make the lab's control socket"))?;
        let (lifeline_end, lifeline) = pipe2(OFlag::O_CLOEXEC)
            .map_err(|errno| supervise("make the lab's lifeline")(errno.into()))?;
        let control_end = theirs
            .into_std()
            .and_then(|socket| socket.set_nonblocking(false).map(|()| socket))
            .and_then(|socket| {
                send_fds(&ours, [spec.listener.as_fd(), lifeline_end.as_fd()])?;
                Ok(socket)
            })
            .map_err(supervise("make the lab's control socket"))?;
        let child = spawn(control_end.into(), log).map_err(supervise("start the lab's process"))?;

        let config = BootConfig {
            rootfs: spec.rootfs,
            cache: spec.cache,
            user_namespace: !Uid::effective().is_root(),
            config: spec.config,
        };
        let mut booting = Booting::new(child, ours);
        timeout(BOOT_LIMIT, booting.run(config))
            .await
            .map_err(|_| BootError::Slow(BOOT_LIMIT))??;
        Ok(booting.finish(lifeline))
    }

    /// Messages to and from the server.
    pub fn control(&mut self) -> &mut Control<FromServer, ToServer> {
        &mut self.control
    }

    /// Id of the process whose end is the end of everything in the lab.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the lab ends by itself. When this returns, no process of it is left. May be dropped and called
    /// again.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        if let Some(exit) = &self.exit {
            return Ok(exit.clone());
        }
        let status = self.child.wait().await?;
        // No process of the lab is left, so the socket is closed and its reader comes to the end of it.
        let last_words = match &mut self.last_words {
            Some(reader) if !status.success() => reader.await.ok(),
            _ => None,
        };
        self.last_words = None;
        let exit = match last_words {
            Some(error) => Exit::Failed(error),
            None if status.success() => Exit::Done,
            None => Exit::Died(status),
        };
        self.exit = Some(exit.clone());
        Ok(exit)
    }

    /// Asks the server to end, and ends the lab anyway after `grace`. When this returns, no process of the lab is
    /// left.
    pub async fn shutdown(mut self, grace: Duration) -> io::Result<Exit> {
        if let Ok(bytes) = line(&ToLab::<()>::Shutdown) {
            // A closed channel means that the server is ending already.
            let _ = self.lines.send(bytes);
        }
        if let Ok(exit) = timeout(grace, self.wait()).await {
            return exit;
        }
        tracing::warn!("the lab's server did not end within {grace:?}; ending its namespaces");
        self.lifeline = None;
        self.wait().await
    }
}

/// Only the path: what is in it is the business of whoever made it.
fn check_rootfs(path: &Path) -> Result<(), BootError> {
    std::fs::read_dir(path)
        .map(drop)
        .map_err(|source| BootError::RootFs {
            path: path.to_owned(),
            source,
        })
}

/// Asked before anything starts, as Open vSwitch would only say it in its log.
fn check_tun() -> Result<(), BootError> {
    match OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
    {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(Failure::io(Step::Tun, &error, ""))),
    }
}

/// Adds what the doctor knows about a failure.
fn refused(failure: Failure) -> BootError {
    match doctor::explain(failure.step) {
        Some(check) => BootError::Host {
            failure,
            check: Box::new(check),
        },
        None => BootError::Failed(failure),
    }
}

/// What the lab's processes may know of the caller's environment.
const KEPT_ENVIRONMENT: [&str; 3] = ["RUST_LOG", "RUST_BACKTRACE", "TERM"];

fn spawn(control: OwnedFd, [stdout, stderr]: [Stdio; 2]) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(REEXEC)
        .env_clear()
        .envs(
            KEPT_ENVIRONMENT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        // A ^C is the supervisor's to handle.
        .process_group(0)
        .stdin(Stdio::from(control))
        .stdout(stdout)
        .stderr(stderr);
    command.spawn()
}

/// A lab until its server runs.
struct Booting {
    child: Child,
    lines: Lines<BufReader<OwnedReadHalf>>,
    writing: OwnedWriteHalf,
}

impl Booting {
    fn new(child: Child, socket: UnixStream) -> Self {
        let (reading, writing) = socket.into_split();
        Self {
            child,
            lines: BufReader::new(reading).lines(),
            writing,
        }
    }

    async fn run(&mut self, config: BootConfig) -> Result<(), BootError> {
        self.send(&ToLab::Boot(Box::new(config))).await?;
        loop {
            match self.receive().await? {
                FromLab::NeedIdMaps { pid } => {
                    map_ids(pid).await?;
                    self.send(&ToLab::IdsMapped).await?;
                }
                FromLab::Started => return Ok(()),
                FromLab::Failed(failure) => return Err(refused(failure)),
                // Cannot come: the first is empty, the second follows `Started`.
                FromLab::Message(_) | FromLab::Ended { .. } => {}
            }
        }
    }

    async fn send(&mut self, frame: &ToLab<NoMessage>) -> Result<(), BootError> {
        let talk = |source| BootError::Supervise {
            action: "talk to the lab's process",
            source,
        };
        let bytes = line(frame).map_err(talk)?;
        match self.writing.write_all(&bytes).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended().await.unwrap_or(talk(error))),
        }
    }

    async fn receive(&mut self) -> Result<FromLab<NoMessage>, BootError> {
        let talk = |source| BootError::Supervise {
            action: "understand the lab's process",
            source,
        };
        match self.lines.next_line().await {
            Ok(Some(text)) => serde_json::from_str(&text).map_err(|e| talk(e.into())),
            Ok(None) => Err(self
                .ended()
                .await
                .unwrap_or_else(|| talk(io::ErrorKind::UnexpectedEof.into()))),
            Err(error) => Err(talk(error)),
        }
    }

    /// The socket closed, so the process is ending: how?
    async fn ended(&mut self) -> Option<BootError> {
        self.child.wait().await.ok().map(BootError::Ended)
    }

    fn finish<ToServer, FromServer>(self, lifeline: OwnedFd) -> Supervisor<ToServer, FromServer>
    where
        ToServer: Serialize + Send + 'static,
        FromServer: DeserializeOwned + Send + 'static,
    {
        let (queue, queued) = mpsc::unbounded_channel();
        tokio::spawn(write_lines(self.writing, queued));
        let (messages, receiver) = mpsc::unbounded_channel();
        let (last_words, ended) = oneshot::channel();
        tokio::spawn(read(self.lines, messages, last_words));
        let sender = ControlSender::new(queue.clone(), |message: &ToServer| {
            line(&ToLab::Message(message))
        });
        Supervisor {
            child: self.child,
            lifeline: Some(lifeline),
            control: Control::new(sender, receiver),
            lines: queue,
            last_words: Some(ended),
            exit: None,
        }
    }
}

/// The helpers are quick, but they are processes: not on a thread that others wait for.
async fn map_ids(pid: u32) -> Result<(), BootError> {
    let mapped = tokio::task::spawn_blocking(move || {
        let map = IdMap::of_current_user().map_err(io::Error::other)?;
        map.apply(pid).map_err(io::Error::other)
    })
    .await;
    mapped
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(|error| refused(Failure::io(Step::IdMaps, &error, "")))
}

async fn read<FromServer: DeserializeOwned>(
    mut lines: Lines<BufReader<OwnedReadHalf>>,
    messages: mpsc::UnboundedSender<FromServer>,
    last_words: oneshot::Sender<String>,
) {
    let mut last_words = Some(last_words);
    while let Ok(Some(text)) = lines.next_line().await {
        match serde_json::from_str(&text) {
            Ok(FromLab::Message(message)) => {
                // Not everybody listens.
                let _ = messages.send(message);
            }
            Ok(FromLab::Ended { error }) => {
                if let Some(sender) = last_words.take() {
                    let _ = sender.send(error);
                }
            }
            Ok(FromLab::Started | FromLab::Failed(_) | FromLab::NeedIdMaps { .. }) => {}
            Err(error) => tracing::warn!("unreadable message from the lab: {error}"),
        }
    }
}
