//! The one handler that has connected: its orders with their open files, and reports to it.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use trunkline_launcher::{FILES, Lines, Order, Report, encode};

/// The kernel's limit of files in one message.
const FILES_AT_ONCE: usize = 253;

#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    lines: Lines,
    files: VecDeque<OwnedFd>,
}

/// What came.
#[derive(Debug)]
pub enum Received {
    Orders(Vec<(Order, Vec<OwnedFd>)>),
    /// The handler has hung up, or cannot be understood.
    Gone(String),
}

impl Connection {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            files: VecDeque::new(),
        }
    }

    /// Called when there is something to read.
    pub fn receive(&mut self) -> Received {
        match self.read().and_then(|()| self.orders()) {
            Ok(orders) => Received::Orders(orders),
            Err(error) => Received::Gone(error.to_string()),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_AT_ONCE))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            &self.stream,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                for file in files {
                    // Out of the way of the numbers that QEMU's files are to have.
                    self.files
                        .push_back(rustix::io::fcntl_dupfd_cloexec(&file, FILES.end)?);
                }
            }
        }
        if received.bytes == 0 {
            return Err(io::Error::other("hung up"));
        }
        self.lines.push(&bytes[..received.bytes]);
        Ok(())
    }

    fn orders(&mut self) -> io::Result<Vec<(Order, Vec<OwnedFd>)>> {
        let mut orders = Vec::new();
        while let Some(order) = self.lines.take::<Order>() {
            let order = order?;
            let wanted = match &order {
                Order::Start { files, .. } => files.len(),
                Order::Kill => 0,
            };
            if self.files.len() < wanted {
                return Err(io::Error::other("an order came without its files"));
            }
            orders.push((order, self.files.drain(..wanted).collect()));
        }
        Ok(orders)
    }

    pub fn send(&mut self, report: &Report) -> io::Result<()> {
        self.stream.write_all(&encode(report)?)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
