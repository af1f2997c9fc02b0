//! One thread that waits for everything at once.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use trunkline_launcher::{Order, Report};

use crate::connection::{Connection, Received};
use crate::process::{Process, reap_orphans};
use crate::system::Signals;

pub struct Supervisor {
    signals: Signals,
    listener: UnixListener,
    handler: Option<Connection>,
    machine: Machine,
}

enum Machine {
    /// Not started yet.
    None,
    Running(Process),
    Ended,
}

/// What can be waited for.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    Handler,
    Stderr,
}

impl Supervisor {
    pub fn listen(socket: &Path) -> Result<Self, String> {
        let signals = Signals::take().map_err(|error| format!("cannot take signals: {error}"))?;
        let listener = UnixListener::bind(socket)
            .map_err(|error| format!("cannot listen on {}: {error}", socket.display()))?;
        Ok(Self {
            signals,
            listener,
            handler: None,
            machine: Machine::None,
        })
    }

    /// Until the machine has ended and the handler knows it, or the pod is to end and there is no machine.
    pub fn run(mut self) -> Result<(), String> {
        let failed = |error: io::Error| format!("cannot wait: {error}");
        loop {
            for source in self.wait().map_err(failed)? {
                match source {
                    Source::Signals => {
                        for signal in self.signals.read().map_err(failed)? {
                            self.signal(signal);
                        }
                    }
                    Source::Listener => self.accept(),
                    Source::Handler => self.receive(),
                    Source::Stderr => {
                        if let Machine::Running(process) = &mut self.machine {
                            process.copy_stderr();
                        }
                    }
                }
            }
            if matches!(self.machine, Machine::Ended) && self.handler.is_none() {
                return Ok(());
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Source>> {
        let mut waiting = vec![
            (Source::Signals, self.signals.as_fd()),
            (Source::Listener, self.listener.as_fd()),
        ];
        if let Some(handler) = &self.handler {
            waiting.push((Source::Handler, handler.as_fd()));
        }
        if let Machine::Running(process) = &self.machine
            && let Some(stderr) = process.stderr()
        {
            waiting.push((Source::Stderr, stderr));
        }
        let mut polled: Vec<_> = waiting
            .iter()
            .map(|(_, fd)| PollFd::new(fd, PollFlags::IN))
            .collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(waiting
            .iter()
            .zip(&polled)
            .filter(|(_, polled)| !polled.revents().is_empty())
            .map(|((source, _), _)| *source)
            .collect())
    }

    fn signal(&mut self, signal: i32) {
        match (signal, &mut self.machine) {
            (libc::SIGCHLD, Machine::Running(process)) => {
                if let Some(exit) = process.reap() {
                    self.machine = Machine::Ended;
                    self.report(&Report::Ended(exit));
                }
            }
            (libc::SIGCHLD, _) => reap_orphans(),
            (_, Machine::Running(process)) => {
                if self.handler.is_some() {
                    self.report(&Report::Terminating);
                } else {
                    process.kill();
                }
            }
            // Nothing to shut down.
            (_, Machine::None | Machine::Ended) => {
                self.machine = Machine::Ended;
                self.handler = None;
            }
        }
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((stream, _))
                if self.handler.is_none() && !matches!(self.machine, Machine::Ended) =>
            {
                self.handler = Some(Connection::new(stream));
            }
            // There is one handler; whoever else comes is hung up on.
            Ok(_) => {}
            Err(error) => eprintln!("virt-launcher: cannot accept a connection: {error}"),
        }
    }

    fn receive(&mut self) {
        let Some(handler) = &mut self.handler else {
            return;
        };
        match handler.receive() {
            Received::Orders(orders) => {
                for (order, files) in orders {
                    self.obey(order, files);
                }
            }
            Received::Gone(why) => {
                self.handler = None;
                if let Machine::Running(process) = &self.machine {
                    eprintln!("virt-launcher: virt-handler is gone ({why}); the machine is killed");
                    process.kill();
                }
            }
        }
    }

    fn obey(&mut self, order: Order, files: Vec<OwnedFd>) {
        match (order, &self.machine) {
            (
                Order::Start {
                    command,
                    files: numbers,
                },
                Machine::None,
            ) => match Process::start(&command, &numbers, files) {
                Ok(process) => {
                    let pid = process.pid();
                    self.machine = Machine::Running(process);
                    self.report(&Report::Started { pid });
                }
                Err(reason) => self.report(&Report::Refused { reason }),
            },
            (Order::Start { .. }, _) => self.report(&Report::Refused {
                reason: "the machine was started before".to_owned(),
            }),
            (Order::Kill, Machine::Running(process)) => process.kill(),
            (Order::Kill, _) => {}
        }
    }

    fn report(&mut self, report: &Report) {
        if let Some(handler) = &mut self.handler
            && let Err(error) = handler.send(report)
        {
            eprintln!("virt-launcher: cannot report {report:?}: {error}");
        }
    }
}
