//! What neither the standard library nor rustix has: signals as a file, and files of a child at chosen numbers.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// SIGTERM, SIGINT and SIGCHLD of this process, instead of what they would do. Readable when one has come.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    pub fn take() -> io::Result<Self> {
        // SAFETY: the set is initialised by sigemptyset before it is used; sigprocmask and signalfd only read it, and the
        // descriptor that signalfd returns belongs to nobody else. There is one thread.
        unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
                libc::sigaddset(&raw mut set, signal);
            }
            check(libc::sigprocmask(
                libc::SIG_BLOCK,
                &raw const set,
                std::ptr::null_mut(),
            ))?;
            let fd = check(libc::signalfd(
                -1,
                &raw const set,
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            ))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The signals that have come since the last call.
    pub fn read(&self) -> io::Result<Vec<i32>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        let mut signals = Vec::new();
        let mut buffer = [0; SIZE];
        loop {
            match rustix::io::read(&self.0, &mut buffer) {
                Ok(SIZE) => {
                    // The number is the first field, an u32.
                    let number = [buffer[0], buffer[1], buffer[2], buffer[3]];
                    signals.push(i32::from_ne_bytes(number));
                }
                Ok(_) => return Err(io::Error::other("half a signal")),
                Err(rustix::io::Errno::AGAIN) => return Ok(signals),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl std::os::fd::AsFd for Signals {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Gives the child each file at the number beside it. No number may be one that this process uses itself.
pub fn place_files(command: &mut Command, files: Vec<(OwnedFd, RawFd)>) {
    let place = move || {
        for (file, number) in &files {
            // SAFETY: dup2 is allowed between fork and exec, and touches no memory.
            check(unsafe { libc::dup2(file.as_raw_fd(), *number) })?;
        }
        Ok(())
    };
    // SAFETY: the closure calls nothing but dup2 and allocates nothing: an error holds only its number.
    unsafe {
        command.pre_exec(place);
    }
}
