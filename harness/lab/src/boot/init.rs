//! Process 1 of the lab: mounts its world, starts the server, reaps, and dies with the supervisor.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname, setsid};

use super::child::report;
use super::error::{Failure, Step};
use super::mounts;
use super::process::{Side, fork};
use super::wire::{Blocking, BootConfig, Inherited};

/// Exit code of a lab whose supervisor went away; nobody reads it.
const ORPHANED: i32 = 0;
const FAILED: i32 = 70;
const HOSTNAME: &str = "trunkline-lab";

/// What the server gets from init.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) control: Blocking,
    pub(super) inherited: Inherited,
    pub(super) config: BootConfig,
}

/// Runs until the lab ends; returns its exit code.
pub(super) fn run(
    mut control: Blocking,
    inherited: Inherited,
    config: BootConfig,
    serve: impl FnOnce(Start) -> i32,
) -> i32 {
    match prepare(&config).and_then(|children| {
        let side = fork().map_err(|errno| Failure::new(Step::Fork, errno, "the lab's server"))?;
        Ok((side, children))
    }) {
        Ok((Side::Child, children)) => {
            drop(children);
            if let Err(errno) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None) {
                report(
                    &mut control,
                    Failure::new(Step::Runtime, errno, "signal mask"),
                );
                return FAILED;
            }
            serve(Start {
                control,
                inherited,
                config,
            })
        }
        Ok((Side::Parent(server), children)) => {
            let Inherited { lifeline, listener } = inherited;
            drop((control, config, listener));
            watch(server, &children, &lifeline)
        }
        Err(failure) => {
            report(&mut control, failure);
            FAILED
        }
    }
}

fn prepare(config: &BootConfig) -> Result<SignalFd, Failure> {
    // Should the waiting parent be killed alone, this must not survive it unseen.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|errno| Failure::new(Step::Fork, errno, "parent death signal"))?;
    setsid().map_err(|errno| Failure::new(Step::Fork, errno, "session"))?;
    // Blocked before the first child exists, so that none can end unnoticed.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&signals), None)
        .map_err(|errno| Failure::new(Step::Fork, errno, "signal mask"))?;
    let children = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|errno| Failure::new(Step::Fork, errno, "signalfd"))?;
    sethostname(HOSTNAME).map_err(|errno| Failure::new(Step::Tree, errno, "host name"))?;
    mounts::build(&config.rootfs, &config.cache, config.user_namespace)?;
    Ok(children)
}

/// Reaps orphans until the server ends or nobody holds the other end of the lifeline any more.
fn watch(server: Pid, children: &SignalFd, lifeline: &impl AsFd) -> i32 {
    loop {
        let mut fds = [
            PollFd::new(lifeline.as_fd(), PollFlags::POLLIN),
            PollFd::new(children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return FAILED,
        }
        // Nothing is ever written to the lifeline: whatever happens on it is its end.
        if fds[0].revents().is_some_and(|events| !events.is_empty()) {
            return ORPHANED;
        }
        while let Ok(Some(_)) = children.read_signal() {}
        if let Some(code) = reap(server) {
            return code;
        }
    }
}

/// Reaps what has ended; the server's exit code if it was among them.
fn reap(server: Pid) -> Option<i32> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == server => return Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == server => {
                return Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) => return None,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return Some(FAILED),
        }
    }
}
