//! Commands that may mount, own files of any user and cannot outlive us.
//!
//! Root file systems and image layers contain files of many users, and building them needs mounts.
//! Root does that in a mount namespace of its own; an ordinary user gets a user namespace first,
//! with the identities that the host has lent. Either way the command is the first process of a
//! process namespace that ends when we do, however we end, so no mount and no process stays.

mod idmap;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;

pub use self::idmap::{IdMap, IdMapError, IdRange};

/// Who commands run as.
#[derive(Clone, Debug)]
pub enum Identity {
    /// We are root already.
    Root,
    /// Root of a user namespace with this map.
    Mapped(IdMap),
}

#[derive(Debug, Error)]
pub enum ContainError {
    #[error(transparent)]
    IdMap(#[from] IdMapError),
    #[error("cannot start `{program}`: {source}; it comes with the package {package}")]
    Start {
        program: &'static str,
        package: &'static str,
        source: io::Error,
    },
    #[error(
        "no user namespace can be made here{detail}; `trunkline doctor` names the cause and the remedy"
    )]
    NoNamespace { detail: String },
    #[error("`{program}` refused the identity map: {message}")]
    MapRefused {
        program: &'static str,
        message: String,
    },
    #[error("cannot talk to `{program}`: {source}")]
    Io { program: String, source: io::Error },
}

impl Identity {
    pub fn current() -> Result<Self, IdMapError> {
        if nix::unistd::geteuid().is_root() {
            Ok(Self::Root)
        } else {
            IdMap::of_current_user().map(Self::Mapped)
        }
    }
}

/// Stops whatever is registered with it, now and later. Dropping the last [`StopOnDrop`] is how a
/// cancelled future reaches the thread that works for it.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<StopState>>);

#[derive(Debug, Default)]
struct StopState {
    stopped: bool,
    group: Option<Pid>,
}

impl Stop {
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        if let Some(group) = state.group.take() {
            // Already gone is as good.
            let _gone = killpg(group, Signal::SIGKILL);
        }
    }

    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    fn watch(&self, group: Option<Pid>) {
        let mut state = self.lock();
        state.group = group;
        if let (true, Some(group)) = (state.stopped, group) {
            let _gone = killpg(group, Signal::SIGKILL);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StopState> {
        // The state is two plain fields; a panic elsewhere leaves them usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A command under way. It must be started and awaited by the same thread: the kernel ends it with
/// the thread that started it.
#[derive(Debug)]
pub struct Contained {
    child: Child,
    stop: Stop,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
}

impl Contained {
    /// Starts `argv` with all three standard streams as pipes.
    pub fn start(
        identity: &Identity,
        argv: &[OsString],
        environment: &[(&str, &OsStr)],
        stop: &Stop,
    ) -> Result<Self, ContainError> {
        let mut command = match identity {
            Identity::Root => Command::new("setpriv"),
            Identity::Mapped(_) => {
                let mut command = Command::new("unshare");
                // The first byte out says that the namespace is there; the line in, that its map
                // is. Only then is the shell root, and what it becomes has all capabilities.
                command.args(["--user", "--", "sh", "-c"]);
                command.args(["echo; read -r go && exec \"$@\"", "sh", "setpriv"]);
                command
            }
        };
        command
            .args(["--pdeathsig", "KILL", "--"])
            .args(["unshare", "--mount", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "--"])
            .args(argv)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command.spawn().map_err(|source| ContainError::Start {
            program: "unshare",
            package: "util-linux",
            source,
        })?;
        stop.watch(i32::try_from(child.id()).ok().map(Pid::from_raw));
        let mut contained = Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            child,
            stop: stop.clone(),
        };
        if let Identity::Mapped(map) = identity {
            contained.map(map)?;
        }
        Ok(contained)
    }

    fn map(&mut self, map: &IdMap) -> Result<(), ContainError> {
        let io = |source| ContainError::Io {
            program: "unshare".to_owned(),
            source,
        };
        let mut ready = [0];
        let read = match &mut self.stdout {
            Some(stdout) => stdout.read(&mut ready).map_err(io)?,
            None => 0,
        };
        if read == 0 {
            let mut detail = String::new();
            if let Some(stderr) = &mut self.stderr {
                stderr.read_to_string(&mut detail).map_err(io)?;
            }
            let detail = detail.trim();
            return Err(ContainError::NoNamespace {
                detail: if detail.is_empty() {
                    String::new()
                } else {
                    format!(" ({detail})")
                },
            });
        }
        map.apply(self.child.id())?;
        match &mut self.stdin {
            Some(stdin) => stdin.write_all(b"go\n").map_err(io),
            None => Ok(()),
        }
    }

    pub fn wait(mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let status = self.child.wait();
        self.stop.watch(None);
        status
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // After `wait` both do nothing. Before it this is an early return on an error.
        let _gone = self.child.kill();
        let _status = self.child.wait();
        self.stop.watch(None);
    }
}

/// Runs a command to its end; its output, both streams together in the order of arrival of each.
pub fn run(
    identity: &Identity,
    argv: &[OsString],
    stop: &Stop,
) -> Result<(ExitStatus, String), ContainError> {
    // One pipe for both keeps their order and needs one reader.
    let merged: Vec<OsString> = ["sh", "-c", "exec \"$@\" 2>&1", "sh"]
        .into_iter()
        .map(OsString::from)
        .chain(argv.iter().cloned())
        .collect();
    let mut contained = Contained::start(identity, &merged, &[], stop)?;
    let name = argv
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default();
    let io = |source| ContainError::Io {
        program: name.clone(),
        source,
    };
    drop(contained.stdin.take());
    let mut output = Vec::new();
    if let Some(mut stdout) = contained.stdout.take() {
        stdout.read_to_end(&mut output).map_err(io)?;
    }
    let status = contained.wait().map_err(io)?;
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}
