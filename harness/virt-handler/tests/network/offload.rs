//! What QEMU tells a tap about its machine.

#![allow(unsafe_code)] // an ioctl, and a promise about a descriptor

use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

/// Checksums may be left to the other side, and TCP's data may come uncut (`TUN_F_CSUM`, `TUN_F_TSO4`, `TUN_F_TSO6`).
const FEATURES: nix::libc::c_ulong = 1 | 2 | 4;

nix::ioctl_write_int_bad!(
    tun_set_offload,
    nix::request_code_write!(b'T', 208, size_of::<nix::libc::c_uint>())
);

pub(crate) fn allow_everything(tap: &OwnedFd) {
    let features = nix::libc::c_int::try_from(FEATURES).unwrap();
    // SAFETY: the argument is a number.
    unsafe { tun_set_offload(tap.as_raw_fd(), features) }.unwrap();
}

pub(crate) fn watch(tap: OwnedFd) -> AsyncFd<OwnedFd> {
    // SAFETY: an OwnedFd stays open and the same for as long as it lives, and it is not taken out again.
    unsafe { AsyncFd::register(tap) }.unwrap()
}
