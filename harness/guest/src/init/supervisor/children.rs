//! Processes that process 1 started, and everybody's orphans.

use std::fs::OpenOptions;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::Supervisor;
use crate::cloud::{OUTPUT, Script};
use crate::environment::CONSOLE;
use crate::{PROGRAM, log, login, sys};

/// A login that ends sooner than this is not started again at once.
const AT_LEAST: Duration = Duration::from_secs(1);

/// A script that runs.
#[derive(Debug)]
pub struct Running {
    pid: i32,
    script: Script,
}

/// The login on the serial line.
#[derive(Debug)]
pub struct Login {
    pid: Option<i32>,
    /// It asks for a name once this is closed.
    gate: Option<PipeWriter>,
    started: Instant,
    again: Option<Instant>,
}

impl Login {
    /// Started, but silent: then it is there the moment it may speak.
    pub fn start_gated() -> Self {
        let mut login = Self {
            pid: None,
            gate: None,
            started: Instant::now(),
            again: None,
        };
        match io::pipe() {
            Ok((reader, writer)) => {
                login.gate = Some(writer);
                login.start(Stdio::from(reader));
            }
            Err(error) => log::error(&format!("there will be no login: {error}")),
        }
        login
    }

    fn start(&mut self, stdin: Stdio) {
        self.started = Instant::now();
        self.again = None;
        let child = sys::command(PROGRAM)
            .arg0("login")
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => self.pid = i32::try_from(child.id()).ok(),
            Err(error) => {
                log::error(&format!("cannot start the login on {CONSOLE}: {error}"));
                self.again = Some(self.started + AT_LEAST);
            }
        }
    }

    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub fn open(&mut self) {
        self.gate = None;
    }

    fn ended(&mut self) {
        self.pid = None;
        login::ended();
        if self.started.elapsed() < AT_LEAST {
            self.again = Some(self.started + AT_LEAST);
        } else {
            self.start(Stdio::null());
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.again
    }

    pub fn tick(&mut self, now: Instant) {
        if self.again.is_some_and(|again| again <= now) {
            self.start(Stdio::null());
        }
    }
}

impl Supervisor {
    /// Takes note of everybody who has ended.
    pub(super) fn reap(&mut self, now: Instant) {
        loop {
            let (pid, exit) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            if self.login.pid == Some(pid) {
                self.login.ended();
            } else if self
                .running
                .as_ref()
                .is_some_and(|running| running.pid == pid)
            {
                if let Some(running) = self.running.take() {
                    self.cloud.script_ended(&running.script, exit);
                }
                self.next_script();
            } else {
                self.services.ended(pid, exit, now);
            }
        }
    }

    /// One after another; one that cannot start has failed.
    pub(super) fn next_script(&mut self) {
        while let Some(script) = self.scripts.pop_front() {
            match run(&script) {
                Ok(pid) => {
                    self.running = Some(Running { pid, script });
                    return;
                }
                Err(error) => {
                    log::error(&format!("cannot run {}: {error}", script.path.display()));
                    self.cloud.script_ended(&script, 127);
                }
            }
        }
    }
}

fn run(script: &Script) -> io::Result<i32> {
    let output = OpenOptions::new().append(true).create(true).open(OUTPUT)?;
    let child = sys::command(&script.path)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
        .env("LANG", "C.UTF-8")
        .env("HOME", "/root")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}
