//! UTS and IPC namespaces without a process in them: file descriptors keep them.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct PodNamespaces {
    uts: OwnedFd,
    ipc: OwnedFd,
}

impl PodNamespaces {
    pub(super) fn create(hostname: &str, host_ipc: bool) -> Result<Self> {
        let hostname = hostname.to_owned();
        // a thread of its own, because the namespaces of the calling one must stay as they are
        let made = std::thread::spawn(move || -> std::io::Result<Self> {
            let mut flags = CloneFlags::CLONE_NEWUTS;
            flags.set(CloneFlags::CLONE_NEWIPC, !host_ipc);
            unshare(flags)?;
            nix::unistd::sethostname(hostname)?;
            Ok(Self {
                uts: File::open("/proc/thread-self/ns/uts")?.into(),
                ipc: File::open("/proc/thread-self/ns/ipc")?.into(),
            })
        });
        match made.join() {
            Ok(namespaces) => {
                namespaces.map_err(Error::io("make a pod's host name and IPC namespaces"))
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub(super) fn uts(&self) -> PathBuf {
        path(&self.uts)
    }

    pub(super) fn ipc(&self) -> PathBuf {
        path(&self.ipc)
    }
}

/// A path to a descriptor of this process that other processes can open.
fn path(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        fd.as_raw_fd()
    ))
}
