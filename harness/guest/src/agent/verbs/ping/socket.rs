//! A socket that sends echo requests and hears the replies to them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::{self, Reported};

const HEADER: usize = 8;

pub struct EchoSocket {
    socket: Socket,
    address: IpAddr,
    /// Raw sockets: our identifier, which the kernel chooses for datagram ones.
    raw: Option<u16>,
}

pub struct Echo {
    pub sequence: u16,
    pub ttl: Option<u8>,
}

impl EchoSocket {
    pub fn open(address: IpAddr, dont_fragment: bool) -> Result<Self, String> {
        let (domain, protocol) = match address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let (socket, raw) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
            Ok(socket) => (socket, None),
            Err(unprivileged) => match Socket::new(domain, Type::RAW, Some(protocol)) {
                Ok(socket) => {
                    let identifier = identifier(&socket);
                    (socket, Some(identifier))
                }
                Err(privileged) => {
                    return Err(format!(
                        "no way to send ICMP from here: datagram socket: {unprivileged} (is the group outside net.ipv4.ping_group_range?), raw socket: {privileged}"
                    ));
                }
            },
        };
        let opened = Self {
            socket,
            address,
            raw,
        };
        opened
            .prepare(dont_fragment)
            .map_err(|error| format!("cannot prepare the ICMP socket: {error}"))?;
        Ok(opened)
    }

    fn prepare(&self, dont_fragment: bool) -> io::Result<()> {
        sys::report_errors(self.socket.as_fd(), self.address.is_ipv6())?;
        if dont_fragment {
            sys::forbid_fragments(self.socket.as_fd(), self.address.is_ipv6())?;
        }
        Ok(())
    }

    pub fn send(&self, sequence: u16, size: u16) -> io::Result<()> {
        let mut packet = vec![0; HEADER + usize::from(size)];
        packet[0] = if self.address.is_ipv4() { 8 } else { 128 };
        packet[4..6].copy_from_slice(&self.raw.unwrap_or_default().to_be_bytes());
        packet[6..8].copy_from_slice(&sequence.to_be_bytes());
        for (byte, value) in packet[HEADER..].iter_mut().zip((0..=u8::MAX).cycle()) {
            *byte = value;
        }
        if self.address.is_ipv4() {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        let to = SocketAddr::new(self.address, 0);
        self.socket.send_to(&packet, &to.into()).map(drop)
    }

    /// The next reply to one of ours; `None` when the time is up or the packet was another's.
    pub fn receive(&self, wait: Duration) -> io::Result<Option<Echo>> {
        // Zero would mean «no limit».
        let wait = wait.max(Duration::from_micros(1));
        self.socket.set_read_timeout(Some(wait))?;
        let mut buffer = vec![0; 65_536];
        let received = match sys::receive(self.socket.as_fd(), &mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        if received.from.map(|from| from.ip()) != Some(self.address) {
            return Ok(None);
        }
        let reply_type = if self.address.is_ipv4() { 0 } else { 129 };
        let message = self.without_ip_header(&buffer[..received.len]);
        Ok(self.sequence_in(message, reply_type).map(|sequence| Echo {
            sequence,
            ttl: received.ttl,
        }))
    }

    /// Everything in the error queue: which request it is about, and what happened to it.
    pub fn errors(&self) -> Vec<(Option<u16>, Reported)> {
        let mut buffer = vec![0; 65_536];
        let mut errors = Vec::new();
        while let Some(received) = sys::next_error(self.socket.as_fd(), &mut buffer) {
            let request_type = if self.address.is_ipv4() { 8 } else { 128 };
            // The queue returns our packet from the ICMP header on, for both kinds of socket.
            let sequence = self.sequence_in(&buffer[..received.len], request_type);
            if let Some(error) = received.error {
                errors.push((sequence, error));
            }
        }
        errors
    }

    fn without_ip_header<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        match (self.raw, self.address, packet.first()) {
            (Some(_), IpAddr::V4(_), Some(first)) => packet
                .get(usize::from(first & 15) * 4..)
                .unwrap_or_default(),
            _ => packet,
        }
    }

    fn sequence_in(&self, message: &[u8], expected_type: u8) -> Option<u16> {
        let header = message.get(..HEADER)?;
        let identifier = u16::from_be_bytes([header[4], header[5]]);
        let ours = self.raw.is_none_or(|raw| raw == identifier);
        (header[0] == expected_type && ours).then(|| u16::from_be_bytes([header[6], header[7]]))
    }
}

/// Unlike that of any other raw socket of this process, and most likely of the container.
fn identifier(socket: &Socket) -> u16 {
    use std::os::fd::AsRawFd;
    let pid = std::process::id().wrapping_mul(251);
    (pid.wrapping_add(socket.as_raw_fd().unsigned_abs()) & 0xffff) as u16
}

/// RFC 1071.
fn checksum(data: &[u8]) -> u16 {
    let mut sum: u32 = data
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !((sum & 0xffff) as u16)
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn a_packet_with_its_checksum_sums_to_zero() {
        let mut packet = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1, b'a', b'b', b'c'];
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&packet), 0);
    }
}
