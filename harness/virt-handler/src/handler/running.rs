//! A machine that runs: what happens to it, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use trunkline_kubelet::Severity;
use trunkline_kubevirt::types::{VirtualMachineInstance, VmiPhase};
use trunkline_launcher::{Exit, Report};
use trunkline_qemu::{Event, Events};

use super::ending::{Due, Ending, Seen, grace, verdict};
use super::life::{Life, Started, starts_paused};
use super::status;
use crate::domain::{Domain, Guest, Launcher};

/// How much of the serial line is told when a guest panics.
const LAST_LINES: usize = 8;

/// A guest that has only just shown up may still be asking for its addresses.
const CONFIGURING: Duration = Duration::from_secs(20);

/// What the loop keeps between its turns.
struct Course {
    launcher: Launcher,
    domain: Arc<Domain>,
    guest: watch::Receiver<Guest>,
    ending: Ending,
    seen: Seen,
    paused: bool,
    /// The guest agent was there when it was looked at last.
    connected: bool,
    /// QEMU stands still for a moment on its own account.
    rebooting: bool,
    /// Until then a guest without addresses is about to get some.
    configuring: Option<Instant>,
}

impl Life {
    /// Until QEMU has ended and its end is written down.
    pub(super) async fn run(mut self, started: Started) {
        let Started {
            launcher,
            domain,
            mut events,
            published,
        } = started;
        let mut course = Course {
            guest: domain.guest(),
            launcher,
            domain,
            ending: Ending::default(),
            seen: Seen::default(),
            paused: starts_paused(&self.latest()),
            connected: false,
            rebooting: false,
            configuring: None,
        };
        self.write_sizes(&course).await;
        let exit = self.follow(&mut course, &mut events).await;
        while let Some(event) = next_at_once(&mut events).await {
            note(&mut course.seen, &event);
        }
        drop(published);
        let phase = verdict(&self.latest(), course.seen, exit.as_ref());
        self.tell_panic(&course);
        let guest = course.guest.borrow().clone();
        let Course {
            launcher, domain, ..
        } = course;
        self.end(phase, Some((&domain, &guest))).await;
        // Now that it is written down, the pod may end.
        drop(launcher);
    }

    async fn write_sizes(&self, course: &Course) {
        let facts = &course.domain.facts;
        self.writer
            .change(self.latest(), |_, status| {
                status::sizes(&mut status.volume_status, facts);
            })
            .await;
    }

    /// Returns how QEMU ended; nothing if the launcher went with it.
    async fn follow(&mut self, course: &mut Course, events: &mut Events) -> Option<Exit> {
        let mut quiet = false;
        loop {
            // Whoever wants it gone may have said so before.
            if !course.ending.has_begun() && self.latest().metadata.deletion_timestamp.is_some() {
                self.begin_ending(course).await;
            }
            tokio::select! {
                report = course.launcher.next() => match report {
                    Some(Report::Ended(exit)) => return Some(exit),
                    Some(Report::Terminating) => self.begin_ending(course).await,
                    Some(_) => {}
                    None => return None,
                },
                event = events.next(), if !quiet => match event {
                    Some(event) => self.happened(course, &event).await,
                    None => quiet = true,
                },
                changed = self.vmi.changed() => if changed.is_err() {
                    // The instance is gone without having waited for its end.
                    self.kill(course).await;
                    return None;
                },
                changed = course.guest.changed(), if course.guest.has_changed().is_ok() => if changed.is_ok() {
                    self.write_guest(course).await;
                },
                () = sleep_until(course.configuring.unwrap_or_else(Instant::now)), if course.configuring.is_some() => {
                    course.configuring = None;
                    self.write_guest(course).await;
                }
                due = course.ending.due() => match due {
                    Due::AskAgain => self.press(course).await,
                    Due::Kill => self.kill(course).await,
                },
            }
        }
    }

    async fn happened(&self, course: &mut Course, event: &Event) {
        match course.domain.follow(event).await {
            Ok(true) => {
                course.rebooting = true;
                return;
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "QEMU was spoken to"),
        }
        note(&mut course.seen, event);
        match event.name.as_str() {
            "STOP" if course.rebooting || course.seen.panicked || course.seen.shutdown => {}
            "STOP" => {
                course.paused = true;
                self.event(Severity::Normal, "Paused", "VirtualMachineInstance paused");
                self.write_paused(Some(status::Paused::ByUser)).await;
            }
            "BLOCK_IO_ERROR" if event.data["action"] == "stop" => {
                self.write_paused(Some(status::Paused::IoError)).await;
            }
            "RESUME" if course.rebooting => course.rebooting = false,
            "RESUME" if course.paused => {
                course.paused = false;
                self.event(
                    Severity::Normal,
                    "Unpaused",
                    "VirtualMachineInstance unpaused",
                );
                self.write_paused(None).await;
            }
            _ => {}
        }
    }

    async fn write_paused(&self, paused: Option<status::Paused>) {
        self.writer
            .change(self.latest(), |_, status| {
                status::paused(&mut status.conditions, paused);
            })
            .await;
    }

    async fn write_guest(&self, course: &mut Course) {
        let before = course.connected;
        let guest = course.guest.borrow_and_update().clone();
        course.connected = guest.connected;
        if guest.connected && !before {
            course.configuring = Some(Instant::now() + CONFIGURING);
        }
        let pod = match course.configuring {
            Some(_) => status::Pod::Begins,
            None => status::Pod::Lives,
        };
        let facts = &course.domain.facts;
        self.writer
            .change(self.latest(), |vmi, status| {
                if status.phase != Some(VmiPhase::Running) {
                    return;
                }
                status::agent(&mut status.conditions, guest.connected);
                if let Some(interfaces) = &guest.interfaces {
                    status.interfaces = status::interfaces(
                        vmi,
                        &status.interfaces,
                        &facts.nics,
                        Some(interfaces),
                        pod,
                    );
                }
                if let Some(os) = &guest.os {
                    status.guest_os_info = status::os_info(os);
                }
                status.fs_freeze_status = guest.frozen.then(|| "frozen".to_owned());
            })
            .await;
    }

    /// Asks the guest to power off, or kills it where it is given no time.
    async fn begin_ending(&self, course: &mut Course) {
        if course.ending.has_begun() {
            return;
        }
        let grace = grace(&self.latest());
        if grace.is_zero() {
            self.kill(course).await;
            return;
        }
        course.ending = Ending::asked(grace);
        self.press(course).await;
        self.event(
            Severity::Normal,
            "ShuttingDown",
            "Signaled Graceful Shutdown",
        );
    }

    async fn press(&self, course: &Course) {
        if let Err(error) = course.domain.power_button().await {
            // It is about to be told that it ended.
            tracing::debug!(%error, "the power button was pressed");
        }
    }

    async fn kill(&self, course: &mut Course) {
        course.ending = Ending::Killed;
        course.seen.killed = true;
        self.event(
            Severity::Normal,
            "Deleted",
            "VirtualMachineInstance stopping",
        );
        if let Err(error) = course.launcher.kill().await {
            tracing::debug!(%error, "QEMU was to be killed");
        }
    }

    fn tell_panic(&self, course: &Course) {
        if !course.seen.panicked {
            return;
        }
        let mut lines = vec!["GuestPanicked".to_owned()];
        lines.extend(course.domain.last_lines(LAST_LINES));
        self.event(Severity::Warning, "GuestPanicked", lines.join("\n"));
    }

    /// Writes down how it ended.
    pub(super) async fn end(&self, phase: VmiPhase, last: Option<(&Domain, &Guest)>) {
        self.event(Severity::Normal, "Deleted", "Signaled Deletion");
        let written = self
            .writer
            .change(self.latest(), |vmi, status| {
                if status.phase.is_some_and(VmiPhase::is_final) {
                    return;
                }
                status::agent(&mut status.conditions, false);
                if let Some((domain, guest)) = last
                    && let Some(interfaces) = guest.interfaces.as_deref()
                {
                    let (nics, pod) = (&domain.facts.nics, status::Pod::Ended);
                    status.interfaces =
                        status::interfaces(vmi, &status.interfaces, nics, Some(interfaces), pod);
                }
                status::phase(status, phase);
            })
            .await;
        if written {
            match phase {
                VmiPhase::Succeeded => {
                    self.event(
                        Severity::Normal,
                        "Stopped",
                        "The VirtualMachineInstance was shut down.",
                    );
                }
                _ => self.event(
                    Severity::Warning,
                    "Stopped",
                    "The VirtualMachineInstance crashed.",
                ),
            }
        }
    }
}

fn note(seen: &mut Seen, event: &Event) {
    match event.name.as_str() {
        "SHUTDOWN" => seen.shutdown = true,
        "GUEST_PANICKED" => seen.panicked = true,
        _ => {}
    }
}

/// QEMU said it before it ended, but the launcher's word came first.
async fn next_at_once(events: &mut Events) -> Option<Event> {
    let patience = Duration::from_secs(1);
    // The connection is closed already, so this ends by itself.
    tokio::time::timeout(patience, events.next())
        .await
        .ok()
        .flatten()
}

/// The machine's instance, as the API's clients see it.
pub(super) fn first_address(vmi: &VirtualMachineInstance) -> Option<std::net::IpAddr> {
    let status = vmi.status.as_ref()?;
    status
        .interfaces
        .first()?
        .ip_address
        .as_deref()?
        .parse()
        .ok()
}
