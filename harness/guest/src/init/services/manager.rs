//! Services that run, and what becomes of them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::process;
use super::ssh;
use super::unit::{Exec, Kind, Unit};
use super::units;
use crate::{clock, log};

/// So many starts in such a time are too many.
const STARTS: usize = 5;
const WITHIN: Duration = Duration::from_secs(10);

/// What a client is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub exit: u8,
    pub out: String,
    pub err: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Inactive,
    Failed(String),
    Starting,
    Running,
    /// A oneshot that is over and remains.
    Exited,
    Stopping,
    /// Will start again.
    Waiting,
}

impl Phase {
    fn is_settled(&self) -> bool {
        !matches!(self, Self::Starting | Self::Stopping)
    }
}

#[derive(Debug)]
struct Service {
    unit: Unit,
    path: PathBuf,
    phase: Phase,
    since: i64,
    /// Commands still to run, the first of them running as `control`.
    queue: VecDeque<Exec>,
    control: Option<i32>,
    main: Option<i32>,
    /// The process group of what started it, for what has no main process.
    group: Option<i32>,
    deadline: Option<Instant>,
    start_again: bool,
    starts: Vec<Instant>,
}

#[derive(Debug, Default)]
pub struct Manager {
    services: BTreeMap<String, Service>,
}

impl Manager {
    /// Starts what starts at boot.
    pub fn boot(&mut self, now: Instant) {
        for name in units::wanted() {
            self.start(&name, now);
        }
    }

    fn load(&mut self, name: &str) -> Option<String> {
        let (name, mut unit, path) = units::load(&units::full_name(name))?;
        if name == ssh::NAME {
            ssh::adapt(&mut unit);
        }
        match self.services.get_mut(&name) {
            Some(service) => service.unit = unit,
            None => {
                self.services.insert(
                    name.clone(),
                    Service {
                        unit,
                        path,
                        phase: Phase::Inactive,
                        since: clock::since_epoch_ms(),
                        queue: VecDeque::new(),
                        control: None,
                        main: None,
                        group: None,
                        deadline: None,
                        start_again: false,
                        starts: Vec::new(),
                    },
                );
            }
        }
        Some(name)
    }

    /// Starts a service; `None` when there is no such unit. It is settled when
    /// [`Self::is_settled`] says so.
    pub fn start(&mut self, name: &str, now: Instant) -> Option<String> {
        let name = self.load(name)?;
        if let Some(service) = self.services.get_mut(&name) {
            match service.phase {
                Phase::Running | Phase::Exited | Phase::Starting => {}
                Phase::Stopping => service.start_again = true,
                _ => service.begin(&name, now),
            }
        }
        Some(name)
    }

    pub fn stop(&mut self, name: &str, now: Instant) -> Option<String> {
        let name = self.load(name)?;
        if let Some(service) = self.services.get_mut(&name) {
            service.start_again = false;
            service.stop(&name, now);
        }
        Some(name)
    }

    pub fn restart(&mut self, name: &str, now: Instant) -> Option<String> {
        let name = self.load(name)?;
        if let Some(service) = self.services.get_mut(&name) {
            service.stop(&name, now);
            if service.phase == Phase::Stopping {
                service.start_again = true;
            } else {
                service.begin(&name, now);
            }
        }
        Some(name)
    }

    pub fn reload(&mut self, name: &str) -> Option<Reply> {
        let name = self.load(name)?;
        let service = self.services.get_mut(&name)?;
        let mut reply = Reply::default();
        if service.phase != Phase::Running {
            reply.exit = 1;
            reply.err = format!("{name} is not active, cannot reload.\n");
        } else if service.unit.reload.is_empty() {
            reply.exit = 1;
            reply.err = format!(
                "Failed to reload {name}: Job type reload is not applicable for unit {name}.\n"
            );
        }
        for exec in &service.unit.reload {
            if reply.exit != 0 {
                break;
            }
            if let Err(error) = process::start(&name, &service.unit, exec, service.main) {
                reply.exit = 1;
                reply.err = format!("Failed to reload {name}: {error}\n");
            }
        }
        Some(reply)
    }

    /// Whether nothing more is to be expected for now.
    pub fn is_settled(&self, name: &str) -> bool {
        self.services
            .get(name)
            .is_none_or(|service| service.phase.is_settled())
    }

    /// Whether a start came to what it should.
    pub fn is_up(&self, name: &str) -> bool {
        self.services.get(name).is_some_and(|service| {
            matches!(service.phase, Phase::Running | Phase::Exited)
                || (service.phase == Phase::Inactive && service.unit.kind == Kind::Oneshot)
                || (service.phase == Phase::Inactive && process::unmet(&service.unit).is_some())
        })
    }

    /// A process ended; whether it was one of a service's.
    pub fn ended(&mut self, pid: i32, exit: i32, now: Instant) -> bool {
        for (name, service) in &mut self.services {
            if service.control == Some(pid) {
                service.control = None;
                service.control_ended(name, exit, pid, now);
                return true;
            }
            if service.main == Some(pid) {
                service.main = None;
                service.main_ended(name, exit, now);
                return true;
            }
        }
        false
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.services
            .values()
            .filter_map(|service| service.deadline)
            .min()
    }

    pub fn tick(&mut self, now: Instant) {
        for (name, service) in &mut self.services {
            if service.deadline.is_some_and(|deadline| deadline <= now) {
                service.deadline = None;
                match service.phase {
                    Phase::Waiting => service.begin(name, now),
                    Phase::Stopping => {
                        log::error(&format!("{name} did not stop in time and is killed"));
                        service.signal(Signal::SIGKILL);
                        if service.main.is_none() && service.control.is_none() {
                            service.stopped(name, now);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    pub fn is_active(&mut self, name: &str) -> (&'static str, bool) {
        let state = self
            .load(name)
            .and_then(|name| self.services.get(&name))
            .map_or("inactive", |service| match service.phase {
                Phase::Running | Phase::Exited => "active",
                Phase::Starting | Phase::Waiting => "activating",
                Phase::Stopping => "deactivating",
                Phase::Failed(_) => "failed",
                Phase::Inactive => "inactive",
            });
        (state, state == "active")
    }

    pub fn status(&mut self, name: &str) -> Option<Reply> {
        let name = self.load(name)?;
        let service = self.services.get(&name)?;
        let (word, detail, dot, exit) = match &service.phase {
            Phase::Running => ("active", "running", '●', 0),
            Phase::Exited => ("active", "exited", '●', 0),
            Phase::Starting => ("activating", "start", '●', 3),
            Phase::Waiting => ("activating", "auto-restart", '●', 3),
            Phase::Stopping => ("deactivating", "stop-sigterm", '●', 3),
            Phase::Failed(_) => ("failed", "Result: exit-code", '×', 3),
            Phase::Inactive => ("inactive", "dead", '○', 3),
        };
        let enabled = units::enabled_state(&name, &service.unit);
        let mut out = format!("{dot} {name} - {}\n", service.unit.description);
        let _infallible = writeln!(
            out,
            "     Loaded: loaded ({}; {enabled})",
            service.path.display()
        );
        let _infallible = write!(out, "     Active: {word} ({detail})");
        if service.phase != Phase::Inactive {
            let seconds = (clock::since_epoch_ms() - service.since) / 1_000;
            let _infallible = write!(
                out,
                " since {} UTC; {seconds}s ago",
                clock::Utc::at(service.since).ctime()
            );
        }
        out.push('\n');
        if let Phase::Failed(why) = &service.phase {
            let _infallible = writeln!(out, "      Cause: {why}");
        }
        if let Some(main) = service.main {
            let comm = fs::read_to_string(format!("/proc/{main}/comm")).unwrap_or_default();
            let _infallible = writeln!(out, "   Main PID: {main} ({})", comm.trim());
        }
        let said = fs::read(process::log_path(&name)).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        for line in &lines[lines.len().saturating_sub(10)..] {
            let _infallible = write!(out, "\n{line}");
        }
        if !lines.is_empty() {
            out.push('\n');
        }
        let err = String::new();
        Some(Reply { exit, out, err })
    }

    pub fn list(&self) -> String {
        let mut out = "UNIT LOAD ACTIVE DESCRIPTION\n".to_owned();
        for (name, service) in &self.services {
            let state = match service.phase {
                Phase::Running | Phase::Exited => "active",
                Phase::Failed(_) => "failed",
                _ => continue,
            };
            let _infallible = writeln!(out, "{name} loaded {state} {}", service.unit.description);
        }
        out
    }
}

impl Service {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = clock::since_epoch_ms();
    }

    fn fail(&mut self, name: &str, why: String) {
        log::info(&format!("{name}: {why}"));
        self.queue.clear();
        self.enter(Phase::Failed(why));
    }

    fn begin(&mut self, name: &str, now: Instant) {
        self.start_again = false;
        self.deadline = None;
        if let Some(condition) = process::unmet(&self.unit) {
            log::info(&format!(
                "{name} is skipped because of an unmet condition: {condition}"
            ));
            self.enter(Phase::Inactive);
            return;
        }
        self.starts
            .retain(|start| now.saturating_duration_since(*start) < WITHIN);
        if self.starts.len() >= STARTS {
            self.fail(name, "Start request repeated too quickly.".to_owned());
            return;
        }
        self.starts.push(now);
        if let Err(error) = process::prepare(&self.unit) {
            self.fail(name, format!("cannot make its directories: {error}"));
            return;
        }
        self.enter(Phase::Starting);
        let unit = &self.unit;
        self.queue = unit.start_pre.iter().chain(&unit.start).cloned().collect();
        self.next(name, now);
    }

    /// The commands before the last of [`Unit::start`] must end; what comes then depends.
    fn next(&mut self, name: &str, now: Instant) {
        let Some(exec) = self.queue.pop_front() else {
            self.started(name, now);
            return;
        };
        match process::start(name, &self.unit, &exec, self.main) {
            Ok(pid) if self.queue.is_empty() && self.unit.kind == Kind::Simple => {
                self.main = Some(pid);
                self.group = Some(pid);
                self.enter(Phase::Running);
                self.run_post(name);
            }
            Ok(pid) => {
                self.control = Some(pid);
                self.group = Some(pid);
                // So that the end of this one is judged by its own rule.
                self.queue.push_front(exec);
            }
            Err(_) if exec.may_fail && !self.queue.is_empty() => self.next(name, now),
            Err(error) => {
                let program = exec.words.first().cloned().unwrap_or_default();
                self.fail(name, format!("cannot start {program}: {error}"));
            }
        }
    }

    fn control_ended(&mut self, name: &str, exit: i32, pid: i32, now: Instant) {
        let exec = self.queue.pop_front();
        match self.phase {
            Phase::Starting => {
                let may_fail = exec.as_ref().is_some_and(|exec| exec.may_fail);
                if exit != 0 && !may_fail {
                    let words = exec.map(|exec| exec.words.join(" ")).unwrap_or_default();
                    self.fail(name, format!("{words}: process {pid} ended with {exit}"));
                } else {
                    self.next(name, now);
                }
            }
            Phase::Stopping => self.next_stop(name, now),
            _ => {}
        }
    }

    fn started(&mut self, name: &str, now: Instant) {
        match self.unit.kind {
            Kind::Oneshot if self.unit.remain => self.enter(Phase::Exited),
            Kind::Oneshot => self.enter(Phase::Inactive),
            _ => {
                self.main = self.pid_from_file();
                self.enter(Phase::Running);
                // It may be gone already.
                if let Some(main) = self.main
                    && kill(Pid::from_raw(main), None).is_err()
                {
                    self.main = None;
                    self.main_ended(name, 1, now);
                }
            }
        }
        self.run_post(name);
    }

    fn run_post(&mut self, name: &str) {
        for exec in &self.unit.start_post {
            if let Err(error) = process::start(name, &self.unit, exec, self.main) {
                log::error(&format!("{name}: {error}"));
            }
        }
    }

    fn pid_from_file(&self) -> Option<i32> {
        let text = fs::read_to_string(self.unit.pid_file.as_ref()?).ok()?;
        text.trim().parse().ok().filter(|pid| *pid > 1)
    }

    fn main_ended(&mut self, name: &str, exit: i32, now: Instant) {
        match self.phase {
            Phase::Stopping if self.control.is_none() => self.stopped(name, now),
            Phase::Running => {
                let success = exit == 0;
                if self.unit.restart.after(success) {
                    self.enter(Phase::Waiting);
                    self.deadline = Some(now + self.unit.restart_after);
                } else if success {
                    self.enter(Phase::Inactive);
                } else {
                    self.fail(name, format!("the main process ended with {exit}"));
                }
            }
            _ => {}
        }
    }

    fn stop(&mut self, name: &str, now: Instant) {
        match self.phase {
            Phase::Inactive | Phase::Failed(_) => self.enter(Phase::Inactive),
            Phase::Waiting | Phase::Exited => {
                self.deadline = None;
                self.enter(Phase::Inactive);
            }
            Phase::Stopping => {}
            Phase::Starting | Phase::Running => {
                self.enter(Phase::Stopping);
                self.deadline = Some(now + self.unit.stop_within);
                self.queue = self.unit.stop.iter().cloned().collect();
                if self.control.is_some() {
                    self.queue.clear();
                    self.signal(Signal::SIGTERM);
                } else {
                    self.next_stop(name, now);
                }
            }
        }
    }

    fn next_stop(&mut self, name: &str, now: Instant) {
        if let Some(exec) = self.queue.pop_front() {
            match process::start(name, &self.unit, &exec, self.main) {
                Ok(pid) => {
                    self.control = Some(pid);
                    self.queue.push_front(exec);
                }
                Err(error) => {
                    log::info(&format!("{name}: {error}"));
                    self.next_stop(name, now);
                }
            }
        } else if self.main.is_some() {
            self.signal(Signal::SIGTERM);
        } else {
            if self.unit.stop.is_empty() {
                self.signal(Signal::SIGTERM);
            }
            self.stopped(name, now);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _nobody = killpg(Pid::from_raw(group), signal);
        }
        for pid in [self.main, self.control].into_iter().flatten() {
            let _nobody = kill(Pid::from_raw(pid), signal);
        }
    }

    fn stopped(&mut self, name: &str, now: Instant) {
        self.deadline = None;
        self.group = None;
        self.enter(Phase::Inactive);
        if self.start_again {
            self.begin(name, now);
        }
    }
}
