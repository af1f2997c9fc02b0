//! Speaking with the kernel's routing part.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    socket,
};

use super::netlink::{Link, Message, list_links, parse};

const LINKS: u32 = 1;

#[derive(Debug)]
pub struct Kernel {
    requests: OwnedFd,
    news: OwnedFd,
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | flags,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(socket)
}

impl Kernel {
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            news: open(LINKS, SockFlag::SOCK_NONBLOCK)?,
            requests: open(0, SockFlag::empty())?,
        })
    }

    /// Asks for something and waits for the answer, which the kernel has at once.
    pub fn request(&self, message: &[u8]) -> io::Result<()> {
        send(self.requests.as_raw_fd(), message, MsgFlags::empty())?;
        loop {
            for answer in self.read()? {
                match answer {
                    Message::Ack(0) => return Ok(()),
                    Message::Ack(error) => return Err(io::Error::from_raw_os_error(error)),
                    _ => {}
                }
            }
        }
    }

    pub fn links(&self) -> io::Result<Vec<Link>> {
        send(self.requests.as_raw_fd(), &list_links(), MsgFlags::empty())?;
        let mut links = Vec::new();
        loop {
            for answer in self.read()? {
                match answer {
                    Message::Link(link) => links.push(link),
                    Message::Done => return Ok(links),
                    Message::Ack(error) => return Err(io::Error::from_raw_os_error(error)),
                    _ => {}
                }
            }
        }
    }

    fn read(&self) -> io::Result<Vec<Message>> {
        let mut buffer = vec![0; 65_536];
        let length = recv(self.requests.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        Ok(parse(&buffer[..length]))
    }

    /// What has changed about links.
    pub fn news(&self) -> Vec<Message> {
        let mut news = Vec::new();
        let mut buffer = vec![0; 65_536];
        loop {
            match recv(self.news.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => news.extend(parse(&buffer[..length])),
                Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(_) => return news,
            }
        }
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.news.as_fd()
    }
}
