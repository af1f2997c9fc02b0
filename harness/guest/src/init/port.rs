//! The port over which the host says which machine this is, and links to all such ports.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, symlink};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use serde::Serialize;
use trunkline_guest::init::{self, ToGuest};

use crate::log;

const DIRECTORY: &str = "/dev/virtio-ports";

/// Makes the links by name that programs look for.
pub fn link_all() {
    let Ok(entries) = fs::read_dir("/sys/class/virtio-ports") else {
        return;
    };
    let _exists = fs::create_dir_all(DIRECTORY);
    for entry in entries.flatten() {
        let Ok(name) = fs::read_to_string(entry.path().join("name")) else {
            continue;
        };
        let name = name.trim();
        if !name.is_empty() && !name.contains('/') {
            let target = format!("../{}", entry.file_name().to_string_lossy());
            let _exists = symlink(target, format!("{DIRECTORY}/{name}"));
        }
    }
}

/// The port, open. While nobody is at the other end it would be ready all the time with nothing
/// to read, so only changes count.
#[derive(Debug)]
pub struct Port {
    file: File,
    changes: Epoll,
    unsent: Vec<u8>,
    received: Vec<u8>,
}

impl Port {
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(format!("{DIRECTORY}/{}", init::PORT))?;
        let changes = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        changes.add(&file, EpollEvent::new(interest, 0))?;
        Ok(Self {
            file,
            changes,
            unsent: Vec::new(),
            received: Vec::new(),
        })
    }

    pub fn say<T: Serialize>(&mut self, message: &T) {
        self.unsent.extend(init::to_line(message).into_bytes());
        self.send();
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.file.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                // There will be a change when somebody is there to read.
                Err(_) => return,
            }
        }
    }

    /// Something changed: says what is still to be said and reads what has come.
    pub fn on_change(&mut self) -> Option<ToGuest> {
        let mut events = [EpollEvent::empty()];
        let _drained = self.changes.wait(&mut events, 0u8);
        self.send();
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = self.file.read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..length]);
        }
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(message) => return Some(message),
                Err(error) => log::error(&format!(
                    "a line on the port {} is not understood: {error}",
                    init::PORT
                )),
            }
        }
        None
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.0.as_fd()
    }
}
