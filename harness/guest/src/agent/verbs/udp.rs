//! A datagram and its reply.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use trunkline_guest::Octets;
use trunkline_guest::protocol::{Answer, Outcome, Stage, Udp, UdpAnswer};

use super::contains;
use crate::deadline::{Deadline, milliseconds};
use crate::resolve::Resolver;
use crate::{sys, verdict};

pub fn run(probe: &Udp, resolver: &Resolver, deadline: Deadline) -> Outcome {
    let addresses = match resolver.addresses(&probe.host, probe.family, deadline) {
        Ok(addresses) => addresses,
        Err(outcome) => return outcome,
    };
    // The best one only: silence of the first would use up the time of the second.
    let Some(&address) = addresses.first() else {
        return verdict::error("no address to send to");
    };
    let remote = SocketAddr::new(address, probe.port);
    let socket = match Socket::new(Domain::for_address(remote), Type::DGRAM, None) {
        Ok(socket) => socket,
        Err(error) => return verdict::error(format!("cannot open a UDP socket: {error}")),
    };
    match exchange(&socket, remote, probe, deadline) {
        Ok(answer) => Outcome::Answered(Answer::Udp(answer)),
        Err(error) => {
            let report =
                sys::next_error(socket.as_fd(), &mut [0; 2048]).and_then(|received| received.error);
            verdict::of(&error, report, deadline, Stage::Response, address)
        }
    }
}

fn exchange(
    socket: &Socket,
    remote: SocketAddr,
    probe: &Udp,
    deadline: Deadline,
) -> io::Result<UdpAnswer> {
    sys::report_errors(socket.as_fd(), remote.is_ipv6())?;
    socket.connect(&remote.into())?;
    let sent = Instant::now();
    match socket.send(probe.send.as_ref()) {
        // A packet filter of this machine dropped it. Nothing will come back, as with a filter
        // further away.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        other => {
            other?;
        }
    }
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(deadline.left()?))?;
    let received = sys::receive(socket.as_fd(), &mut buffer)?;
    let rtt_ms = milliseconds(sent.elapsed());
    buffer.truncate(received.len);
    let matched = probe
        .expect
        .as_ref()
        .map(|expect| contains(&buffer, expect.as_ref()));
    Ok(UdpAnswer {
        remote,
        local: socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no address"))?,
        rtt_ms,
        received: Octets(buffer),
        matched,
    })
}
