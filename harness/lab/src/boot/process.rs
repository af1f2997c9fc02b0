//! Forking, and descriptors that arrive as numbers. The only unsafe code of the lab.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};

/// Which side of a fork this is.
pub(super) enum Side {
    Parent(Pid),
    Child,
}

/// Forks the calling process, which must have one thread.
///
/// # Errors
/// `EBUSY` when it has more, otherwise what the kernel says.
pub(super) fn fork() -> Result<Side, Errno> {
    if !is_single_threaded() {
        return Err(Errno::EBUSY);
    }
    // SAFETY: a forked child may only call async-signal-safe functions when other threads of the parent could have
    // held locks (of the allocator, say) at that moment. There are none, as was just checked.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child)),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// True when the process certainly has one thread.
pub(super) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// Takes over a descriptor that the kernel has just handed to this process.
pub(super) fn own_fd(received: RawFd) -> OwnedFd {
    // SAFETY: descriptors received as SCM_RIGHTS are new in this process; nobody else knows their numbers.
    unsafe { OwnedFd::from_raw_fd(received) }
}
