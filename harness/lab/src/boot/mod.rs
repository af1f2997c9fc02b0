//! Boot and end of a lab: one process tree in namespaces of its own, of which nothing is left when it ends.
//!
//! ```text
//! supervisor (host)            the caller; holds the lifeline's writing end
//!  └─ __lab                    the same program again, single-threaded: makes the namespaces
//!      └─ init (pid 1)         mounts, reaps, dies when the lifeline closes
//!          └─ server           the embedded site; everything it starts is below it
//! ```
//!
//! Whoever dies first, the kernel takes the rest along: the lifeline's other end closes with the supervisor, init
//! ends then, and with a process namespace's init goes every process in it; mounts, interfaces and sockets go with
//! the namespaces that only those processes held.
//!
//! The binary's `main` calls [`main_if_reexec`] before it starts a thread.
//!
//! # As an ordinary user
//! The same in a user namespace, in which the user is root and has their subordinate ids for everybody else. It takes
//! Linux 5.11 (overlayfs for users), newuidmap and newgidmap, 65534 ids in /etc/subuid and /etc/subgid, a /dev/net/tun
//! that the user may open, no AppArmor restriction, and a root file system that the user owns: files of users that do
//! not exist in the namespace can be read but not changed. Supplementary groups are kept, so that a user of the group
//! kvm has /dev/kvm. The [doctor](crate::doctor) knows the command for each.

mod child;
mod control;
mod error;
mod init;
mod mounts;
#[allow(unsafe_code)]
mod process;
mod server;
mod supervisor;
mod wire;

pub use child::main_if_reexec;
pub use control::{Control, ControlError, ControlSender};
pub use error::{BootError, Failure, Step};
pub use server::ServerContext;
pub use supervisor::{BootSpec, Exit, LogTo, Supervisor};

/// The argument that turns the program into a lab.
pub const REEXEC: &str = "__lab";

/// Where the user's cache directory is inside the lab, read-only.
pub const CACHE_INSIDE: &str = "/cache";
