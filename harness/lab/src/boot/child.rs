//! The re-executed program: makes the lab's namespaces and waits for its init.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stdin};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{Failure, Step};
use super::process::{Side, fork, is_single_threaded};
use super::wire::{Blocking, BootConfig, FromLab, Inherited, NoMessage, ToLab, receive_fds};
use super::{REEXEC, ServerContext, init, server};

/// Becomes a lab when the program was re-executed as one, and does not return then; returns at once otherwise.
///
/// Call it first in `main`, before a runtime or any other thread exists. `entry` is the server: it runs on a
/// runtime of its own as soon as the lab's namespaces and mounts stand, and the lab ends when it does. It must not
/// execute the program's own binary again, which is linked against the host's libraries and not the lab's.
pub fn main_if_reexec<FromHost, ToHost, Entry, Running, E>(entry: Entry)
where
    FromHost: DeserializeOwned + Send + 'static,
    ToHost: Serialize + Send + 'static,
    Entry: FnOnce(ServerContext<FromHost, ToHost>) -> Running,
    Running: Future<Output = Result<(), E>>,
    E: Display,
{
    if std::env::args_os().nth(1).is_none_or(|arg| arg != REEXEC) {
        return;
    }
    process::exit(run(entry));
}

/// Exit code of a lab that could not be booted.
const BOOT_FAILED: i32 = 70;

fn run<FromHost, ToHost, Entry, Running, E>(entry: Entry) -> i32
where
    FromHost: DeserializeOwned + Send + 'static,
    ToHost: Serialize + Send + 'static,
    Entry: FnOnce(ServerContext<FromHost, ToHost>) -> Running,
    Running: Future<Output = Result<(), E>>,
    E: Display,
{
    let (mut control, inherited, config) = match handshake() {
        Ok(parts) => parts,
        Err(error) => {
            // Somebody typed it, or the supervisor died meanwhile: there is nobody to tell but standard error.
            eprintln!("{REEXEC} is for the program's own use ({error})");
            return BOOT_FAILED;
        }
    };
    let forked = enter_namespaces(&mut control, &config).and_then(|()| {
        fork().map_err(|errno| Failure::new(Step::Fork, errno, "the lab's first process"))
    });
    match forked {
        Ok(Side::Child) => init::run(control, inherited, config, |start| {
            server::run(start, entry)
        }),
        Ok(Side::Parent(init)) => {
            // The supervisor must see these close when the lab ends, not when this process does.
            drop((control, inherited));
            wait(init)
        }
        Err(failure) => {
            report(&mut control, failure);
            BOOT_FAILED
        }
    }
}

/// Tells the supervisor. Should it be gone, nobody wants to know.
pub(super) fn report(control: &mut Blocking, failure: Failure) {
    let _ = control.send(&FromLab::Failed(failure));
}

/// Takes the control socket from standard input, then the descriptors and the configuration from the socket.
fn handshake() -> io::Result<(Blocking, Inherited, BootConfig)> {
    let socket: UnixStream = io::stdin().as_fd().try_clone_to_owned()?.into();
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    dup2_stdin(&null)?;
    let inherited = receive_fds(&socket)?;
    let mut control = Blocking::new(socket);
    match control.receive::<ToLab<NoMessage>>()? {
        ToLab::Boot(config) => Ok((control, inherited, *config)),
        other => Err(io::Error::other(format!("unexpected {other:?}"))),
    }
}

fn enter_namespaces(control: &mut Blocking, config: &BootConfig) -> Result<(), Failure> {
    if !is_single_threaded() {
        return Err(Failure::new(
            Step::SingleThread,
            Errno::EBUSY,
            "main_if_reexec must be called first in main",
        ));
    }
    umask(Mode::from_bits_truncate(0o022));
    if config.user_namespace {
        unshare(CloneFlags::CLONE_NEWUSER)
            .map_err(|errno| Failure::new(Step::UserNamespace, errno, ""))?;
        map_ids(control).map_err(|e| Failure::io(Step::Handshake, &e, "mapping ids"))?;
    }
    // No cgroup namespace: the lab has no cgroups, and its view of the host's must not differ from its parent's.
    unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )
    .map_err(|errno| Failure::new(Step::Namespaces, errno, ""))
}

/// The process's own id becomes 0 in the lab. Supplementary groups are kept on purpose: they may be what makes
/// /dev/kvm usable.
fn map_ids(control: &mut Blocking) -> io::Result<()> {
    control.send(&FromLab::NeedIdMaps { pid: process::id() })?;
    match control.receive::<ToLab<NoMessage>>()? {
        ToLab::IdsMapped => Ok(()),
        other => Err(io::Error::other(format!("unexpected {other:?}"))),
    }
}

/// Waits for the lab's init; the kernel lets it be reaped only when every process of its namespace is gone.
fn wait(init: Pid) -> i32 {
    loop {
        match waitpid(init, None) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as i32,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return BOOT_FAILED,
        }
    }
}
