//! Taps: interfaces whose other end is a file descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use crate::{Error, NetNs, Result};

/// Where taps come from.
const DEVICE: &str = "/dev/net/tun";

impl NetNs {
    /// A tap, down. Frames have the header in front that lets TCP's data pass uncut and checksums uncomputed. The
    /// interface lives as long as the descriptor or a copy of it does.
    pub async fn tap(&self, name: &str) -> Result<OwnedFd> {
        let action = format!("make the tap {name}");
        let name = name.to_owned();
        self.run(move || open(&name))
            .await?
            .map_err(Error::io(action))
    }
}

fn open(name: &str) -> io::Result<OwnedFd> {
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let request = libc::ifreq {
        ifr_name: interface_name(name)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: flags
                .try_into()
                .map_err(|_| io::Error::from(Errno::EINVAL))?,
        },
    };
    let device = File::options().read(true).write(true).open(DEVICE)?;
    ioctl::set_interface(device.as_raw_fd(), &request)?;
    Ok(device.into())
}

/// With at least one zero at its end.
fn interface_name(name: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let bytes = name.as_bytes();
    if bytes.len() >= libc::IFNAMSIZ || bytes.contains(&0) {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let mut array = [0; libc::IFNAMSIZ];
    for (place, byte) in array.iter_mut().zip(bytes) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(array)
}

/// The one system call that no library of ours has.
#[allow(unsafe_code)]
mod ioctl {
    use super::{RawFd, libc};

    nix::ioctl_write_ptr_bad!(
        tun_set_iff,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );

    pub(super) fn set_interface(device: RawFd, request: &libc::ifreq) -> nix::Result<()> {
        // SAFETY: the kernel reads and writes one `ifreq`, which the reference points to; it writes into the copy.
        let mut request = *request;
        unsafe { tun_set_iff(device, &raw mut request) }.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tap_lives_as_long_as_its_descriptor() {
        let netns = match NetNs::create().await {
            Ok(netns) => netns,
            Err(error) => {
                eprintln!("skipped: {error}");
                return;
            }
        };
        let links = netns.links().await.unwrap();
        let tap = netns.tap("t0").await.unwrap();
        assert!(links.index("t0").await.is_ok());
        let error = netns.tap("t0").await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot make the tap t0: Device or resource busy"),
            "{error}"
        );
        let copy = tap.try_clone().unwrap();
        drop(tap);
        assert!(links.index("t0").await.is_ok());
        drop(copy);
        assert!(links.index("t0").await.is_err());
        let long = netns.tap("sixteen-letters!").await.unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
    }
}
