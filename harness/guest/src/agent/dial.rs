//! TCP connections that tell why they failed.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;

use socket2::{Domain, Protocol, Socket, Type};
use trunkline_guest::protocol::{Outcome, Stage};

use crate::deadline::Deadline;
use crate::{sys, verdict};

/// Connects to the first address that lets us. Each gets an equal share of the time left, so that
/// one silent address does not hide the others; the first failure is the one reported.
pub fn connect(addresses: &[IpAddr], port: u16, deadline: Deadline) -> Result<TcpStream, Outcome> {
    let mut first = None;
    for (index, &address) in addresses.iter().enumerate() {
        let shares = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match connect_one(SocketAddr::new(address, port), deadline.share(shares)) {
            Ok(stream) => return Ok(stream),
            Err(outcome) => {
                first.get_or_insert(outcome);
            }
        }
    }
    Err(first.unwrap_or_else(|| verdict::error("no address to connect to")))
}

fn connect_one(address: SocketAddr, deadline: Deadline) -> Result<TcpStream, Outcome> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(|error| verdict::error(format!("cannot open a TCP socket: {error}")))?;
    let attempt = sys::report_errors(socket.as_fd(), address.is_ipv6())
        .and_then(|()| deadline.left())
        .and_then(|left| socket.connect_timeout(&address.into(), left));
    match attempt {
        Ok(()) => Ok(socket.into()),
        Err(error) => {
            let report =
                sys::next_error(socket.as_fd(), &mut [0; 256]).and_then(|received| received.error);
            Err(verdict::of(
                &error,
                report,
                deadline,
                Stage::Connect,
                address.ip(),
            ))
        }
    }
}

/// A connection whose reads and writes all end at the deadline.
#[derive(Debug)]
pub struct Timed {
    stream: TcpStream,
    deadline: Deadline,
}

impl Timed {
    pub fn new(stream: TcpStream, deadline: Deadline) -> Self {
        Self { stream, deadline }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.deadline.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.deadline.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
