//! QEMU.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use trunkline_launcher::{Exit, FILES};

use crate::system::place_files;

/// How much of its standard error is kept.
const KEPT: usize = 4096;

#[derive(Debug)]
pub struct Process {
    child: Child,
    stderr: Option<ChildStderr>,
    last: Vec<u8>,
}

impl Process {
    pub fn start(line: &[String], numbers: &[i32], files: Vec<OwnedFd>) -> Result<Self, String> {
        let (program, arguments) = line.split_first().ok_or("the command line is empty")?;
        if let Some(number) = numbers.iter().find(|number| !FILES.contains(number)) {
            return Err(format!("{number} cannot be the number of a file"));
        }
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        place_files(
            &mut command,
            files.into_iter().zip(numbers.iter().copied()).collect(),
        );
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {program}: {error}"))?;
        let stderr = child.stderr.take();
        Ok(Self {
            child,
            stderr,
            last: Vec::new(),
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Readable when it has written something to its standard error.
    pub fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// Passes on what it wrote, and keeps the end of it.
    pub fn copy_stderr(&mut self) {
        let Some(pipe) = &mut self.stderr else { return };
        let mut bytes = [0; KEPT];
        match pipe.read(&mut bytes) {
            Ok(0) | Err(_) => self.stderr = None,
            Ok(count) => {
                // The container's log may be gone already.
                let _ = std::io::stderr().write_all(&bytes[..count]);
                self.last.extend_from_slice(&bytes[..count]);
                let excess = self.last.len().saturating_sub(KEPT);
                self.last.drain(..excess);
            }
        }
    }

    pub fn kill(&self) {
        if let Some(pid) = self.raw_pid() {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    fn raw_pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Collects everything that has ended; QEMU's end if it is among it.
    pub fn reap(&mut self) -> Option<Exit> {
        let mut ended = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if Some(pid) == self.raw_pid() {
                ended = Some(status);
            }
        }
        ended.map(|status| self.exit(status))
    }

    fn exit(&mut self, status: WaitStatus) -> Exit {
        // Nobody writes any more, so this ends.
        while self.stderr.is_some() {
            self.copy_stderr();
        }
        Exit {
            code: status.exit_status(),
            signal: status.terminating_signal(),
            stderr: String::from_utf8_lossy(&self.last).trim_end().to_owned(),
        }
    }
}

/// Collects what has been left to this process as the first of its namespace.
pub fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}
