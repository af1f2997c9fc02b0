//! Network namespaces held by a file descriptor.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use tokio::sync::{OnceCell, oneshot};

use crate::link::Links;
use crate::{Error, Result};

/// A network namespace. It lives as long as a clone of this value or a process in it does.
#[derive(Debug, Clone)]
pub struct NetNs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    links: OnceCell<Links>,
}

/// The one the calling thread is in; `/proc/self` would be the main thread's.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// Settings of every namespace of the lab. A kernel without IPv6 lacks some of them.
const SETTINGS: [(&str, &str); 6] = [
    // Addresses are assigned by one authority; waiting for duplicates costs a second per interface.
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    // Nobody sends router advertisements that anybody should follow.
    ("ipv6/conf/default/accept_ra", "0"),
    // Copied from the host otherwise, whose distribution decides.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    // Applies to all ports, as container engines set it.
    ("ipv4/ip_unprivileged_port_start", "0"),
];

/// Unprivileged ping for everybody; the largest id a user namespace has may be 65535.
const PING_GROUPS: [&str; 2] = ["0 2147483647", "0 65535"];

impl NetNs {
    /// A new one with nothing but a loopback interface, which is up.
    pub async fn create() -> Result<Self> {
        let fd = on_new_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            configure()?;
            File::open(CURRENT)
        })
        .await
        .map_err(Error::io("make a network namespace"))?;
        let netns = Self::of(fd.into());
        netns.links().await?.up("lo").await?;
        Ok(netns)
    }

    /// The calling process's own, with its loopback interface up.
    pub async fn current() -> Result<Self> {
        let fd =
            File::open("/proc/self/ns/net").map_err(Error::io("open the network namespace"))?;
        let netns = Self::of(fd.into());
        netns.links().await?.up("lo").await?;
        Ok(netns)
    }

    fn of(fd: OwnedFd) -> Self {
        Self(Arc::new(Inner {
            fd,
            links: OnceCell::new(),
        }))
    }

    /// Runs `f` on a thread of its own that has entered the namespace. Sockets opened there stay in it.
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let netns = self.clone();
        on_new_thread(move || {
            setns(netns.fd(), CloneFlags::CLONE_NEWNET)?;
            Ok(f())
        })
        .await
        .map_err(Error::io("enter a network namespace"))
    }

    /// A path that other processes of the lab can open for as long as this value lives.
    pub fn path(&self) -> PathBuf {
        let (process, fd) = (std::process::id(), self.0.fd.as_raw_fd());
        PathBuf::from(format!("/proc/{process}/fd/{fd}"))
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// Interfaces, addresses and routes of the namespace.
    pub async fn links(&self) -> Result<&Links> {
        let links = &self.0.links;
        links.get_or_try_init(|| Links::open(self)).await
    }

    /// Writes settings below /proc/sys/net, such as `ipv4/ip_forward`.
    pub async fn set<Name>(
        &self,
        settings: impl IntoIterator<Item = &(Name, &'static str)>,
    ) -> Result<()>
    where
        Name: Clone + AsRef<str> + Send + 'static,
    {
        let settings: Vec<_> = settings.into_iter().cloned().collect();
        self.run(move || {
            settings
                .iter()
                .try_for_each(|(name, value)| write_setting(name.as_ref(), value))
        })
        .await?
        .map_err(Error::io("change network settings"))
    }
}

/// A thread, as threads of a pool must not be left in another namespace.
async fn on_new_thread<T: Send + 'static>(
    f: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("netns".into()).spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(f());
    })?;
    receiver
        .await
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

/// Runs inside the new namespace.
fn configure() -> io::Result<()> {
    for (name, value) in SETTINGS {
        write_setting(name, value)?;
    }
    let groups = |range: &&str| write_setting("ipv4/ping_group_range", range).is_ok();
    if PING_GROUPS.iter().any(groups) {
        Ok(())
    } else {
        Err(io::Error::other("the kernel accepts no ping_group_range"))
    }
}

fn write_setting(name: &str, value: &str) -> io::Result<()> {
    match fs::write(format!("/proc/sys/net/{name}"), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.starts_with("ipv6/") => {
            Ok(())
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        Ok(()) => Ok(()),
    }
}
