//! The end of the machine.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot, set_cad_enabled};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sync};
use serde::{Deserialize, Serialize};

use crate::log;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Poweroff,
    Reboot,
    Halt,
}

/// Whoever has not ended by then is ended.
const GRACE: Duration = Duration::from_secs(3);

/// The kernel tells process 1 instead of restarting at once.
pub fn take_over_keys() {
    // In namespaces it is not ours to say.
    let _best_effort = set_cad_enabled(false);
}

/// Ends everybody, then the machine. `shell` is who sits at the serial line.
pub fn down(how: How, shell: Option<i32>, signals: &SignalFd) -> Result<(), String> {
    log::info(match how {
        How::Poweroff => "powering off",
        How::Reboot => "rebooting",
        How::Halt => "halting",
    });
    let everybody = Pid::from_raw(-1);
    for signal in [Signal::SIGTERM, Signal::SIGCONT] {
        let _nobody = kill(everybody, signal);
    }
    // Shells do not listen to the first; others take this for a wish to read their files again.
    if let Some(shell) = shell {
        let _nobody = kill(Pid::from_raw(shell), Signal::SIGHUP);
    }
    if !all_gone(signals, Instant::now() + GRACE) {
        let _nobody = kill(everybody, Signal::SIGKILL);
        all_gone(signals, Instant::now() + GRACE);
    }
    unmount_disks();
    sync();
    let mode = match how {
        How::Poweroff => RebootMode::RB_POWER_OFF,
        How::Reboot => RebootMode::RB_AUTOBOOT,
        How::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    match reboot(mode) {
        Ok(never) => match never {},
        Err(error) => Err(format!("the machine cannot be stopped: {error}")),
    }
}

/// Waits until there is no process but this one.
fn all_gone(signals: &SignalFd, deadline: Instant) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) => {}
            _ => continue,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _woken = poll(&mut fds, timeout);
        while let Ok(Some(_)) = signals.read_signal() {}
    }
}

/// What lies on disks must be whole there.
fn unmount_disks() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines().rev() {
        let mut fields = line.split(' ');
        if let (Some(device), Some(target)) = (fields.next(), fields.next())
            && device.starts_with("/dev/")
        {
            let target = target.replace("\\040", " ");
            let _best_effort = umount2(target.as_str(), MntFlags::empty());
        }
    }
}

/// The machine's power button.
#[derive(Debug)]
pub struct Button(File);

impl Button {
    /// All that there are; devices without such a key never say anything that counts.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/dev/input").into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("event"))
            .filter_map(|entry| {
                File::options()
                    .read(true)
                    .custom_flags(nix::libc::O_NONBLOCK)
                    .open(entry.path())
                    .ok()
            })
            .map(Self)
            .collect()
    }

    /// Whether it has been pressed since the last time.
    pub fn pressed(&mut self) -> bool {
        let mut pressed = false;
        let mut events = [0; 24 * 16];
        while let Ok(length @ 1..) = self.0.read(&mut events) {
            pressed |= events[..length].chunks_exact(24).any(is_power_key);
        }
        pressed
    }
}

/// One `struct input_event`: two times, type, code, value.
fn is_power_key(event: &[u8]) -> bool {
    const EV_KEY: u16 = 1;
    const KEY_POWER: u16 = 116;
    let half = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
    half(16) == EV_KEY && half(18) == KEY_POWER && event[20] == 1
}

impl AsFd for Button {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_power_key_and_no_other() {
        let event = |kind: u16, code: u16, value: u32| {
            let mut event = vec![0; 16];
            event.extend_from_slice(&kind.to_ne_bytes());
            event.extend_from_slice(&code.to_ne_bytes());
            event.extend_from_slice(&value.to_ne_bytes());
            event
        };
        assert!(is_power_key(&event(1, 116, 1)));
        assert!(!is_power_key(&event(1, 116, 0)));
        assert!(!is_power_key(&event(1, 30, 1)));
        assert!(!is_power_key(&event(0, 116, 1)));
    }
}
