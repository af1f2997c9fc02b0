//! Process 1's life: one loop that waits for everything at once and never for one thing alone.

mod children;
mod requests;
mod start;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use trunkline_guest::init::{FromGuest, ToGuest, Up};

use self::children::{Login, Running};
use self::requests::Waiters;
use crate::boot::CommandLine;
use crate::cloud::{Cloud, Script};
use crate::control::Listener;
use crate::net::Network;
use crate::net::uevent::Uevents;
use crate::port::{self, Port};
use crate::power::{self, Button, How};
use crate::services::Manager;
use crate::services::ssh::Door;
use crate::{environment, log};

/// What is not there by then is not waited for any more.
const DEVICES: Duration = Duration::from_secs(10);
/// The end of the boot waits this long for leases.
const LEASES: Duration = Duration::from_secs(5);

/// How far the boot is.
#[derive(Debug)]
enum Phase {
    /// A template, waiting to become a machine.
    Template,
    Devices {
        nics: usize,
        disks: usize,
        until: Instant,
    },
    /// Scripts that run before anything is configured.
    Early,
    /// The login is open; leases are still to come.
    Leases {
        until: Instant,
    },
    Final,
    Up,
}

#[derive(Debug)]
struct Supervisor {
    phase: Phase,
    signals: SignalFd,
    uevents: Uevents,
    network: Network,
    port: Option<Port>,
    buttons: Vec<Button>,
    control: Listener,
    waiters: Waiters,
    services: Manager,
    ssh: Option<Door>,
    cloud: Cloud,
    scripts: VecDeque<Script>,
    running: Option<Running>,
    login: Login,
    down: Option<(Instant, How)>,
    /// When this machine began to be one.
    began: Instant,
}

/// What woke the loop.
#[derive(Clone, Copy, Debug)]
enum Source {
    Signals,
    Uevents,
    News,
    Port,
    Button(usize),
    Control,
    Ssh,
    Dhcp(u32),
}

/// Runs until the machine ends. Process 1 must not return: the kernel stops if it does, and says
/// so on the console below what is said here.
pub fn run() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        log::emergency(&format!("process 1 ends: {panic}"));
    }));
    let ended = crate::boot::boot().and_then(|command_line| {
        Supervisor::new(&command_line)
            .map_err(|error| format!("the guest's init cannot work: {error}"))?
            .work()
    });
    if let Err(error) = ended {
        log::emergency(&format!("process 1 ends: {error}"));
    }
    ExitCode::FAILURE
}

impl Supervisor {
    fn new(command_line: &CommandLine) -> std::io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGINT,
            Signal::SIGPWR,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ] {
            mask.add(signal);
        }
        mask.thread_block()?;
        environment::prepare();
        port::link_all();
        power::take_over_keys();
        let now = Instant::now();
        let mut supervisor = Self {
            phase: Phase::Template,
            signals: SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?,
            uevents: Uevents::open()?,
            network: Network::open()?,
            port: None,
            buttons: Button::all(),
            control: Listener::open()?,
            waiters: Waiters::default(),
            services: Manager::default(),
            ssh: None,
            cloud: Cloud::default(),
            scripts: VecDeque::new(),
            running: None,
            login: Login::start_gated(),
            down: None,
            began: now,
        };
        supervisor.start_agent(now);
        if command_line.template {
            supervisor.become_template();
        } else {
            supervisor.begin(0, 0, now);
        }
        Ok(supervisor)
    }

    fn work(&mut self) -> Result<(), String> {
        loop {
            let now = Instant::now();
            if let Some((_, how)) = self.down.filter(|(at, _)| *at <= now) {
                return power::down(how, self.login.pid(), &self.signals);
            }
            for source in self.wait(now)? {
                self.handle(source);
            }
            let now = Instant::now();
            self.network.tick(now);
            self.services.tick(now);
            self.login.tick(now);
            self.proceed(now);
            self.answer_waiters();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Devices { until, .. } | Phase::Leases { until } => Some(until),
            _ => None,
        };
        [
            phase,
            self.network.deadline(),
            self.services.deadline(),
            self.login.deadline(),
            self.down.map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn wait(&self, now: Instant) -> Result<Vec<Source>, String> {
        let mut sources: Vec<(Source, BorrowedFd<'_>)> = vec![
            (Source::Signals, self.signals.as_fd()),
            (Source::Uevents, self.uevents.as_fd()),
            (Source::News, self.network.news_fd()),
            (Source::Control, self.control.as_fd()),
        ];
        sources.extend(self.ssh.iter().map(|door| (Source::Ssh, door.as_fd())));
        sources.extend(self.port.iter().map(|port| (Source::Port, port.as_fd())));
        let buttons = self.buttons.iter().enumerate();
        sources.extend(buttons.map(|(at, button)| (Source::Button(at), button.as_fd())));
        let dhcp = self.network.dhcp_fds();
        sources.extend(dhcp.map(|(index, fd)| (Source::Dhcp(index), fd)));
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN))
            .collect();
        let timeout = self.deadline().map_or(PollTimeout::NONE, |deadline| {
            // Rounded up, so that a deadline has passed when it wakes us.
            let left = deadline.saturating_duration_since(now) + Duration::from_micros(999);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(format!("cannot wait: {error}")),
        }
        Ok(sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| fd.any().unwrap_or(false))
            .map(|((source, _), _)| *source)
            .collect())
    }

    fn handle(&mut self, source: Source) {
        let now = Instant::now();
        match source {
            Source::Signals => self.on_signals(now),
            Source::Uevents => {
                let events = self.uevents.drain();
                if events.iter().any(|event| event.subsystem == "input") {
                    self.buttons = Button::all();
                }
                if events.iter().any(|event| event.subsystem == "virtio-ports") {
                    port::link_all();
                }
            }
            Source::News if matches!(self.phase, Phase::Template | Phase::Devices { .. }) => {
                // Read when the network starts.
                self.network.forget_news();
            }
            Source::News => self.network.on_news(now),
            Source::Port => {
                let message = self.port.as_mut().and_then(Port::on_change);
                if let (Some(ToGuest::Go(go)), Phase::Template) = (message, &self.phase) {
                    self.become_machine(&go, now);
                }
            }
            Source::Button(at) => {
                if self.buttons.get_mut(at).is_some_and(Button::pressed) {
                    log::info("the power button was pressed");
                    self.go_down(How::Poweroff, Duration::ZERO);
                }
            }
            Source::Control => {
                while let Some((client, request)) = self.control.accept() {
                    self.on_request(client, request, now);
                }
            }
            Source::Ssh => {
                if let Some(Err(error)) = self.ssh.as_ref().map(Door::admit) {
                    log::error(&format!("somebody could not log in over SSH: {error}"));
                }
            }
            Source::Dhcp(index) => self.network.on_dhcp(index, now),
        }
    }

    fn on_signals(&mut self, now: Instant) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            match i32::try_from(signal.ssi_signo).map(Signal::try_from) {
                // The three-fingered salute.
                Ok(Ok(Signal::SIGINT)) => self.go_down(How::Reboot, Duration::ZERO),
                Ok(Ok(Signal::SIGPWR)) => self.go_down(How::Poweroff, Duration::ZERO),
                _ => {}
            }
        }
        self.reap(now);
    }

    fn go_down(&mut self, how: How, after: Duration) {
        let at = Instant::now() + after;
        if self.down.is_none_or(|(before, _)| at < before) {
            self.down = Some((at, how));
        }
    }

    /// The next step of the boot, when its time has come.
    fn proceed(&mut self, now: Instant) {
        match self.phase {
            Phase::Devices { nics, disks, until }
                if until <= now || self.has_devices(nics, disks) =>
            {
                self.read_cloud(now);
            }
            Phase::Early if self.running.is_none() => self.configure(now),
            Phase::Leases { until } if self.network.is_settled() || until <= now => {
                self.phase = Phase::Final;
                self.scripts = self.cloud.final_scripts().into();
                self.next_script();
            }
            _ => {}
        }
        if matches!(self.phase, Phase::Final) && self.running.is_none() {
            self.phase = Phase::Up;
            self.finish();
        }
    }

    /// What opens the login.
    fn configure(&mut self, now: Instant) {
        self.cloud.configure();
        self.login.open();
        let after_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        log::info(&format!("the login is open after {after_ms} ms"));
        if let Some(port) = &mut self.port {
            port.say(&FromGuest::Up(Up { after_ms }));
        }
        self.open_ssh();
        self.services.boot(now);
        self.phase = Phase::Leases {
            until: now + LEASES,
        };
        self.proceed(now);
    }
}
