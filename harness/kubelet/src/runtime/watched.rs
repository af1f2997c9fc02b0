//! File descriptors in tokio's reactor.
#![allow(unsafe_code)] // tokio wants a promise about the descriptor that an `OwnedFd` keeps

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor that nobody else closes.
pub(super) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and the same number for as long as it lives, it is moved into the AsyncFd, and no
    // code of this crate takes it out again.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(|error| error.into_parts().1)
}
