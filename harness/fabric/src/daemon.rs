//! The daemons of a node: started in the foreground as children, watched until the end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::error::DaemonDied;
use crate::{Error, NetNs, NodeName, Result};

/// How much of a log is shown when its daemon died.
const LAST_LINES: usize = 12;

/// All daemons of a fabric. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemons {
    /// Each task owns a child that dies with it.
    watchers: Mutex<JoinSet<()>>,
    died: watch::Sender<Option<DaemonDied>>,
}

/// A daemon to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) node: &'a NodeName,
    /// The program, without its directory.
    pub(crate) program: &'static str,
    pub(crate) args: Vec<String>,
    /// For sockets, databases and logs.
    pub(crate) dir: &'a Path,
    pub(crate) netns: &'a NetNs,
}

impl Daemons {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            watchers: Mutex::default(),
            died: watch::Sender::new(None),
        })
    }

    /// Starts a daemon; a death from now on is told by [`death`](Self::death).
    pub(crate) async fn launch(&self, launch: Launch<'_>) -> Result<()> {
        let log = launch.dir.join(format!("{}.log", launch.program));
        let action = format!("start {} of {}", launch.program, launch.node);
        let command = command(&launch, &log).map_err(Error::io(action.clone()))?;
        let child = spawn_in(launch.netns, command)
            .await?
            .map_err(Error::io(action))?;
        let (node, daemon) = (launch.node.clone(), launch.program);
        let died = self.died.clone();
        let watcher = async move {
            let death = wait(child, node, daemon, log).await;
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

fn command(launch: &Launch<'_>, log: &Path) -> io::Result<Command> {
    let log: File = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = Command::new(launch.program);
    command
        .args(["-vconsole:info", "-vsyslog:off", "-vfile:off"])
        .args(&launch.args)
        .current_dir(launch.dir)
        .envs(
            [
                "OVS_RUNDIR",
                "OVN_RUNDIR",
                "OVS_LOGDIR",
                "OVN_LOGDIR",
                "OVS_DBDIR",
            ]
            .map(|variable| (variable, launch.dir)),
        )
        // These programs allocate in one thread; more arenas only cost memory.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
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

async fn wait(mut child: Child, node: NodeName, daemon: &'static str, log: PathBuf) -> DaemonDied {
    let status = match child.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    DaemonDied {
        node,
        daemon,
        status,
        log: last_lines(&log),
    }
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
