//! The daemons of a node: started in the foreground as children, watched until the end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::Signal;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::DaemonDied;
use crate::{Error, NetNs, NodeName, Result};

/// How much of a log is shown when its daemon died.
const LAST_LINES: usize = 12;

/// How often a daemon may fall over its own errors before it counts as dead.
const FALLS: u32 = 5;

/// All daemons of a fabric. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemons {
    /// Each task owns a child that dies with it.
    watchers: Mutex<JoinSet<()>>,
    died: watch::Sender<Option<DaemonDied>>,
}

/// A daemon to start.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) node: NodeName,
    /// The program, without its directory.
    pub(crate) program: &'static str,
    pub(crate) args: Vec<String>,
    /// For sockets, databases and logs.
    pub(crate) dir: PathBuf,
    pub(crate) netns: NetNs,
    /// Started again when it falls over an error of its own, as on a cluster. What it does survives that.
    pub(crate) may_fall: bool,
}

impl Daemons {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            watchers: Mutex::default(),
            died: watch::Sender::new(None),
        })
    }

    /// Starts a daemon; a death from now on is told by [`death`](Self::death).
    pub(crate) async fn launch(&self, launch: Launch) -> Result<()> {
        let mut child = launch.spawn().await?;
        let died = self.died.clone();
        let watcher = async move {
            let mut falls = 0;
            let death = loop {
                let (fell, death) = launch.wait(child).await;
                if !(fell && launch.may_fall && falls < FALLS) {
                    break death;
                }
                falls += 1;
                tracing::warn!("{death}\nit is started again");
                child = match launch.spawn().await {
                    Ok(again) => again,
                    Err(error) => {
                        tracing::error!("{error}");
                        break death;
                    }
                };
            };
            tracing::error!("{death}");
            // The first death is the cause, later ones may be consequences.
            died.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(death);
                is_first
            });
        };
        self.watchers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(watcher);
        Ok(())
    }

    /// Waits for the first death.
    pub(crate) async fn death(&self) -> DaemonDied {
        let mut deaths = self.died.subscribe();
        loop {
            if let Some(death) = deaths.borrow_and_update().clone() {
                return death;
            }
            if deaths.changed().await.is_err() {
                // The sender is in `self`, which somebody waits with.
                return std::future::pending().await;
            }
        }
    }

    /// Does something that cannot succeed once a daemon has died.
    pub(crate) async fn guard<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            // Work that is done is done, whoever died meanwhile.
            biased;
            result = work => result,
            death = self.death() => Err(death.into()),
        }
    }
}

impl Launch {
    fn log(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.program))
    }

    async fn spawn(&self) -> Result<Child> {
        let action = || Error::io(format!("start {} of {}", self.program, self.node));
        let command = self.command().map_err(action())?;
        spawn_in(&self.netns, command).await?.map_err(action())
    }

    fn command(&self) -> io::Result<Command> {
        let log: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(self.program);
        command
            .args(["-vconsole:info", "-vsyslog:off", "-vfile:off"])
            .args(&self.args)
            .current_dir(&self.dir)
            .envs(
                [
                    "OVS_RUNDIR",
                    "OVN_RUNDIR",
                    "OVS_LOGDIR",
                    "OVN_LOGDIR",
                    "OVS_DBDIR",
                ]
                .map(|variable| (variable, &self.dir)),
            )
            // These programs allocate in one thread; more arenas only cost memory.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        Ok(command)
    }

    /// Its end, and whether it fell over an error of its own.
    async fn wait(&self, mut child: Child) -> (bool, DaemonDied) {
        let (fell, status) = match child.wait().await {
            Ok(status) => (is_fall(status), status.to_string()),
            Err(error) => (false, error.to_string()),
        };
        let death = DaemonDied {
            node: self.node.clone(),
            daemon: self.program,
            status,
            log: last_lines(&self.log()),
        };
        (fell, death)
    }
}

/// The signals after which the monitor of OVS's and OVN's daemons starts them again.
fn is_fall(status: ExitStatus) -> bool {
    let signal = status.signal().map(Signal::try_from);
    matches!(
        signal,
        Some(Ok(Signal::SIGABRT
            | Signal::SIGBUS
            | Signal::SIGFPE
            | Signal::SIGILL
            | Signal::SIGSEGV))
    )
}

/// A child is born into the namespace of the thread that forks it.
pub(crate) async fn spawn_in(netns: &NetNs, mut command: Command) -> Result<io::Result<Child>> {
    let runtime = tokio::runtime::Handle::current();
    netns
        .run(move || {
            let _entered = runtime.enter();
            command.spawn()
        })
        .await
}

fn last_lines(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    match lines.get(from..) {
        Some(last) if !last.is_empty() => last.join("\n"),
        _ => "(nothing)".to_owned(),
    }
}
