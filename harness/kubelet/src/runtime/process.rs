//! Processes that runc left to us.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use jiff::Timestamp;
pub(crate) use rustix::process::Signal;
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, set_child_subreaper,
    waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::RuntimeError;
use super::watched::watch;

/// Makes this process the parent of what its children leave behind: only a parent learns exit codes.
///
/// Orphans that are not containers' (daemons that detached) come here too. They are long-lived and few; should
/// one end, it stays a zombie until this process does.
pub(crate) fn adopt_orphans() -> Result<(), RuntimeError> {
    set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(RuntimeError::errno("become a child subreaper"))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// 128 and the signal's number for a process that was killed, as container runtimes count.
    pub code: i32,
    pub at: Timestamp,
}

/// A process that runs outside of our call tree. Dropping it does not end it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: Arc<OwnedFd>,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Takes over an orphan. Works for one that has already ended, too, as nobody else reaps it.
    pub(crate) fn adopt(pid: i32) -> Result<Self, RuntimeError> {
        let pid = Pid::from_raw(pid)
            .ok_or_else(|| RuntimeError::Runc(format!("process id {pid} is no process")))?;
        let action = || format!("watch process {}", pid.as_raw_nonzero());
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(RuntimeError::errno(action()))?;
        let watched = pidfd.try_clone().map_err(RuntimeError::io(action()))?;
        let watched = watch(watched, Interest::READABLE).map_err(RuntimeError::io(action()))?;
        let (report, exit) = watch::channel(None);
        tokio::spawn(async move {
            let code = match reap(&watched).await {
                Ok(code) => code,
                Err(error) => {
                    tracing::warn!(%error, pid = pid.as_raw_nonzero(), "exit code lost");
                    255
                }
            };
            report.send_replace(Some(Exit {
                code,
                at: Timestamp::now(),
            }));
        });
        Ok(Self {
            pid,
            pidfd: Arc::new(pidfd),
            exit,
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Not an error when the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn ended(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let known = exit.wait_for(Option::is_some).await.ok().and_then(|e| *e);
        // without a value only when the runtime is shutting down
        known.unwrap_or_else(|| Exit {
            code: 255,
            at: Timestamp::now(),
        })
    }
}

async fn reap(pidfd: &AsyncFd<OwnedFd>) -> io::Result<i32> {
    loop {
        let mut ready = pidfd.readable().await?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        if let Some(status) = waitid(WaitId::PidFd(pidfd.as_fd()), options)? {
            return Ok(status
                .exit_status()
                .or_else(|| status.terminating_signal().map(|s| 128 + s))
                .unwrap_or(255));
        }
        ready.clear_ready();
    }
}

/// `TERM`, `SIGTERM` or `15`.
pub(crate) fn signal_by_name(name: &str) -> Option<Signal> {
    let number = match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "ABRT" => 6,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        "TERM" => 15,
        "CONT" => 18,
        "STOP" => 19,
        "WINCH" => 28,
        "PWR" => 30,
        other => other.parse().ok()?,
    };
    Signal::from_named_raw(number)
}
