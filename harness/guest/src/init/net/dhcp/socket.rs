//! How the messages travel.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::sockopt::{BindToDevice, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recv, sendto, setsockopt, socket,
};

use crate::sys;

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// One interface's way to servers: below IP, because there is no address to speak from yet.
#[derive(Debug)]
pub struct Sockets {
    index: u32,
    name: String,
    packets: OwnedFd,
    /// Held so that nobody tells a server that there is nothing on the port its answer goes to.
    ordinary: Option<OwnedFd>,
}

impl Sockets {
    pub fn open(index: u32, name: &str) -> io::Result<Self> {
        Ok(Self {
            index,
            name: name.to_owned(),
            packets: sys::dhcp_socket(index)?,
            ordinary: None,
        })
    }

    pub fn broadcast(&self, from: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        let packet = datagram(from, Ipv4Addr::BROADCAST, message);
        sys::broadcast(self.packets.as_fd(), self.index, &packet)
    }

    /// The ordinary way, with the lease's address.
    pub fn unicast(&mut self, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        self.ordinary = None;
        let socket = socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        setsockopt(&socket, ReuseAddr, &true)?;
        setsockopt(&socket, BindToDevice, &OsString::from(&self.name))?;
        let own = SockaddrIn::from(SocketAddrV4::new(from, CLIENT_PORT));
        bind(socket.as_raw_fd(), &own)?;
        let server = SockaddrIn::from(SocketAddrV4::new(to, SERVER_PORT));
        sendto(socket.as_raw_fd(), message, &server, MsgFlags::empty())?;
        self.ordinary = Some(socket);
        Ok(())
    }

    /// The next message, whoever it is for.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut packet = [0; 2_048];
        loop {
            let length = recv(
                self.packets.as_raw_fd(),
                &mut packet,
                MsgFlags::MSG_DONTWAIT,
            )
            .ok()?;
            if let Some(message) = payload(&packet[..length]) {
                return Some(message.to_vec());
            }
        }
    }
}

impl AsFd for Sockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.packets.as_fd()
    }
}

fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// A message in UDP in IPv4.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(message.len() + 8).unwrap_or_default();
    let mut udp = [
        CLIENT_PORT.to_be_bytes(),
        SERVER_PORT.to_be_bytes(),
        udp_length.to_be_bytes(),
        [0, 0],
    ]
    .concat();
    udp.extend_from_slice(message);
    let pseudo = [&from.octets()[..], &to.octets(), &[0, 17]].concat();
    let pseudo_sum = u32::from(!checksum(&pseudo, u32::from(udp_length)));
    let sum = match checksum(&udp, pseudo_sum) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());

    let mut ip = vec![0x45, 0xc0];
    ip.extend_from_slice(&(udp_length + 20).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend_from_slice(&from.octets());
    ip.extend_from_slice(&to.octets());
    let sum = checksum(&ip, 0);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend_from_slice(&udp);
    ip
}

/// The message in a packet. Checksums are not looked at: what comes from the same machine has
/// none yet.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let udp = packet.get(header..)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(8..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_add_up() {
        let packet = datagram(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"hello");
        assert_eq!(checksum(&packet[..20], 0), 0);
        let pseudo = [&packet[12..20], &[0, 17, 0, 13]].concat();
        let whole = [&pseudo[..], &packet[20..]].concat();
        assert_eq!(checksum(&whole, 0), 0);
        assert_eq!(payload(&packet), Some(&b"hello"[..]));
    }

    #[test]
    fn packets_cut_short() {
        let packet = datagram(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, b"hello");
        for length in 0..packet.len() {
            assert_eq!(payload(&packet[..length]), None, "{length}");
        }
        assert_eq!(payload(&[0x4f; 64]), None);
    }
}
