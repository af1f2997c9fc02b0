//! The few system calls that no safe interface offers: ancillary data of `recvmsg`, where the
//! kernel says which ICMP message about our packet came from whom and what a reply's time to live
//! was.
#![allow(unsafe_code)]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;

use socket2::SockAddr;
use trunkline_guest::protocol::Icmp;

use crate::deadline::Deadline;

/// A packet as `recvmsg` delivers it.
pub struct Received {
    pub len: usize,
    pub from: Option<SocketAddr>,
    pub ttl: Option<u8>,
    /// From the error queue.
    pub error: Option<Reported>,
}

/// An entry of a socket's error queue.
#[derive(Clone, Copy, Debug)]
pub struct Reported {
    pub errno: i32,
    pub icmp: Option<Icmp>,
}

/// Asks for ICMP errors about this socket's packets, and for the time to live of what arrives.
pub fn report_errors(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    let options = if ipv6 {
        [
            (libc::SOL_IPV6, libc::IPV6_RECVERR),
            (libc::SOL_IPV6, libc::IPV6_RECVHOPLIMIT),
        ]
    } else {
        [
            (libc::SOL_IP, libc::IP_RECVERR),
            (libc::SOL_IP, libc::IP_RECVTTL),
        ]
    };
    for (level, name) in options {
        set_option(socket, level, name, 1)?;
    }
    Ok(())
}

/// Forbids fragmentation on the way and here.
pub fn forbid_fragments(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        set_option(
            socket,
            libc::SOL_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
        )
    } else {
        set_option(
            socket,
            libc::SOL_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
        )
    }
}

fn set_option(socket: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: `value` is a live int and the length says so.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            int_len(),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn int_len() -> libc::socklen_t {
    mem::size_of::<i32>() as libc::socklen_t
}

/// The next packet, within the socket's receive timeout.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    recvmsg(socket, buffer, 0)
}

/// The next entry of the error queue, or `None` when it is empty.
pub fn next_error(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<Received> {
    recvmsg(socket, buffer, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT).ok()
}

fn recvmsg(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: i32) -> io::Result<Received> {
    // Aligned for the control message headers; room for an error with its sender and a hop limit.
    let mut control = [0u64; 64];
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = storage_len();
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: every pointer in `message` is to live memory of the stated length.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;

    let mut received = Received {
        len,
        from: address(name.as_ptr().cast(), message.msg_namelen),
        ttl: None,
        error: None,
    };
    // SAFETY: the CMSG functions walk the control data that the kernel just wrote, whose length is
    // in `message`; each header's data is as long as its level and type define.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            let data = libc::CMSG_DATA(header);
            match ((*header).cmsg_level, (*header).cmsg_type) {
                (libc::SOL_IP, libc::IP_TTL) | (libc::SOL_IPV6, libc::IPV6_HOPLIMIT) => {
                    received.ttl = u8::try_from(data.cast::<i32>().read_unaligned()).ok();
                }
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {
                    let error = data.cast::<libc::sock_extended_err>().read_unaligned();
                    let sender = data.add(mem::size_of::<libc::sock_extended_err>());
                    received.error = Some(reported(&error, address(sender.cast(), storage_len())));
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    Ok(received)
}

fn reported(error: &libc::sock_extended_err, sender: Option<SocketAddr>) -> Reported {
    let from_icmp = matches!(
        error.ee_origin,
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6
    );
    Reported {
        errno: i32::try_from(error.ee_errno).unwrap_or(libc::EIO),
        icmp: sender.filter(|_| from_icmp).map(|sender| Icmp {
            from: sender.ip(),
            kind: error.ee_type,
            code: error.ee_code,
        }),
    }
}

#[allow(clippy::cast_possible_truncation)]
const fn storage_len() -> libc::socklen_t {
    mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t
}

/// Reads an IPv4 or IPv6 socket address; anything else, also an empty one, is `None`.
fn address(pointer: *const libc::sockaddr, len: libc::socklen_t) -> Option<SocketAddr> {
    if len == 0 {
        return None;
    }
    // SAFETY: the kernel wrote at least the family, and for the two families read on, all of it.
    let size = unsafe {
        match i32::from((&raw const (*pointer).sa_family).read_unaligned()) {
            libc::AF_INET => mem::size_of::<libc::sockaddr_in>(),
            libc::AF_INET6 => mem::size_of::<libc::sockaddr_in6>(),
            _ => return None,
        }
    };
    // SAFETY: `size` bytes are there, and `sockaddr_storage` is larger than both.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            pointer
                .cast::<u8>()
                .copy_to_nonoverlapping(storage.cast::<u8>(), size);
            *length = libc::socklen_t::try_from(size).unwrap_or(0);
            Ok(())
        })
        .ok()?
    };
    address.as_socket()
}

/// The address that a datagram to `to` would leave from; `None` when there is no route.
pub fn source_for(to: IpAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(match to {
        IpAddr::V4(_) => "0.0.0.0:0",
        IpAddr::V6(_) => "[::]:0",
    })
    .ok()?;
    socket.connect((to, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Ends the process as soon as the other end of standard output is closed.
pub fn exit_when_nobody_reads() {
    thread::spawn(|| {
        let mut poll = libc::pollfd {
            fd: libc::STDOUT_FILENO,
            events: 0,
            revents: 0,
        };
        // SAFETY: one live pollfd. Without events asked for, only errors and hang-ups wake it.
        let woken = unsafe { libc::poll(&raw mut poll, 1, -1) };
        if woken == 1 && poll.revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            std::process::exit(1);
        }
    });
}

/// Waits until a child of ours has ended, without reaping it, or the deadline has come. Says
/// whether it has ended.
pub fn wait_for_exit(pid: u32, deadline: Deadline) -> io::Result<bool> {
    // SAFETY: plain system call; the descriptor it returns is owned from here on.
    let pidfd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => OwnedFd::from_raw_fd(fd),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    loop {
        let Ok(left) = deadline.left() else {
            return Ok(false);
        };
        let mut poll = libc::pollfd {
            fd: pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // One more millisecond, so that the last round does not end just before the deadline.
        let wait = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        // SAFETY: one live pollfd.
        match unsafe { libc::poll(&raw mut poll, 1, wait) } {
            1 => return Ok(true),
            0 => {}
            _ => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Kills the process group that an unreaped child of ours leads.
pub fn kill_group(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // SAFETY: plain system call. The child is not reaped, so its number is not another's.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}
