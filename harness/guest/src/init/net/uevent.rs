//! What the kernel says about devices that come and go.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

#[derive(Debug)]
pub struct Uevents(OwnedFd);

/// One message: `add@/devices/…`, and its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    pub action: String,
    pub subsystem: String,
}

impl Uevents {
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
        Ok(Self(socket))
    }

    /// Waits for the next message and drops it.
    pub fn wait(&self, timeout_ms: u16) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let woken = poll(&mut fds, PollTimeout::from(timeout_ms)).unwrap_or(0) > 0;
        let _drained = self.drain();
        woken
    }

    /// All messages that have come.
    pub fn drain(&self) -> Vec<Uevent> {
        let mut events = Vec::new();
        let mut buffer = [0; 8_192];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => events.extend(parse(&buffer[..length])),
                // Messages were lost, and more may follow.
                Err(Errno::ENOBUFS | Errno::EINTR) => {}
                Err(_) => return events,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn parse(message: &[u8]) -> Option<Uevent> {
    let text = String::from_utf8_lossy(message);
    let mut parts = text.split('\0');
    let (action, _path) = parts.next()?.split_once('@')?;
    let subsystem = parts.find_map(|part| part.strip_prefix("SUBSYSTEM="))?;
    Some(Uevent {
        action: action.to_owned(),
        subsystem: subsystem.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_messages() {
        let message = b"add@/devices/virtio3/net/eth0\0ACTION=add\0DEVPATH=/x\0SUBSYSTEM=net\0INTERFACE=eth0\0";
        assert_eq!(
            parse(message),
            Some(Uevent {
                action: "add".to_owned(),
                subsystem: "net".to_owned()
            })
        );
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe"), None);
        assert_eq!(parse(b"add@/x\0ACTION=add\0"), None);
        assert_eq!(parse(b""), None);
    }
}
