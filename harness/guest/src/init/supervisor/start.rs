//! From a kernel that runs to a machine of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use trunkline_guest::init::{FromGuest, Go, Ready, VERSION};

use super::{DEVICES, Phase, Supervisor};
use crate::cloud::Cloud;
use crate::port::Port;
use crate::power::How;
use crate::services::ssh::Door;
use crate::{environment, log, net, sys};

const AGENT_PORT: &str = "/dev/virtio-ports/org.qemu.guest_agent.0";

/// What a login and the first commands read. In a template it is read beforehand, so that every
/// machine has it in memory that all of them share.
const WARM: &str = "bash -lc 'id; hostname; ip -br address; ls / >/dev/null; cat /etc/os-release; command -v ping curl sudo systemctl cloud-init' </dev/null >/dev/null 2>&1; cat /usr/bin/ping /usr/bin/curl /usr/bin/sudo >/dev/null 2>&1; curl --version >/dev/null 2>&1; sudo -V >/dev/null 2>&1";

impl Supervisor {
    /// On real systems a rule about the device starts the agent.
    pub(super) fn start_agent(&mut self, now: Instant) {
        if fs::exists(AGENT_PORT).unwrap_or(false)
            && self.services.start("qemu-guest-agent", now).is_none()
        {
            log::error(
                "there is a port for the guest agent, but the image has no qemu-guest-agent",
            );
        }
    }

    pub(super) fn become_template(&mut self) {
        let warm = sys::command("/bin/bash")
            .args(["-c", WARM])
            .stdin(Stdio::null())
            .status();
        if let Err(error) = warm {
            log::error(&format!("cannot start a shell: {error}"));
        }
        match Port::open() {
            Ok(mut port) => {
                port.say(&FromGuest::Ready(Ready { version: VERSION }));
                self.port = Some(port);
            }
            Err(error) => {
                log::error(&format!(
                    "cannot open the port that says which machine this is: {error}; going on without"
                ));
                self.begin(0, 0, Instant::now());
            }
        }
    }

    /// The host has said which machine this is.
    pub(super) fn become_machine(&mut self, go: &Go, now: Instant) {
        let seconds = i64::try_from(go.epoch_ns / 1_000_000_000).unwrap_or_default();
        let nanos = i64::try_from(go.epoch_ns % 1_000_000_000).unwrap_or_default();
        if let Err(error) = clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, nanos)) {
            log::error(&format!("the clock cannot be set: {error}"));
        }
        if let Err(error) = feed(&go.seed) {
            log::error(&format!("the random seed was not used: {error}"));
        }
        let count = |number: u32| usize::try_from(number).unwrap_or_default();
        self.begin(count(go.nics), count(go.disks), now);
    }

    pub(super) fn begin(&mut self, nics: usize, disks: usize, now: Instant) {
        if let Err(error) = environment::machine_id() {
            log::error(&format!("the machine has no id: {error}"));
        }
        self.began = now;
        let until = now + DEVICES;
        self.phase = Phase::Devices { nics, disks, until };
        self.proceed(now);
    }

    pub(super) fn has_devices(&self, nics: usize, disks: usize) -> bool {
        self.network.count() >= nics && disk_count() >= disks
    }

    /// The port is there from the beginning, the server when it is needed.
    pub(super) fn open_ssh(&mut self) {
        match Door::open() {
            Ok(door) => self.ssh = door,
            Err(error) => log::error(&format!("nobody can log in over SSH: {error}")),
        }
    }

    /// What the NoCloud disk says; the network starts with it.
    pub(super) fn read_cloud(&mut self, now: Instant) {
        self.cloud = Cloud::start();
        let config = self.cloud.network_config(net::parse);
        let nameless = self.cloud.host_name().is_none();
        self.network
            .start(config.unwrap_or_default(), nameless, now);
        self.scripts = self.cloud.early_scripts().into();
        self.phase = Phase::Early;
        self.next_script();
        self.proceed(now);
    }

    /// The last of cloud-init.
    pub(super) fn finish(&mut self) {
        if let Some(state) = self.cloud.finish() {
            let how = match state.mode.as_str() {
                "reboot" => How::Reboot,
                "halt" => How::Halt,
                _ => How::Poweroff,
            };
            let minutes = state.delay.trim_start_matches('+').parse().unwrap_or(0);
            self.go_down(how, Duration::from_secs(60 * minutes));
        }
    }
}

fn feed(seed: &str) -> io::Result<()> {
    let bytes =
        decode_hex(seed).ok_or_else(|| io::Error::other("it is not 64 bytes in hexadecimal"))?;
    let random = OpenOptions::new().write(true).open("/dev/urandom")?;
    sys::add_entropy(random.as_fd(), &bytes)?;
    // The seed is known to the host; the kernel mixes it with what it has.
    let mut first = [0; 1];
    File::open("/dev/urandom")?.read_exact(&mut first)
}

fn decode_hex(text: &str) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    if text.len() != 128 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Virtio disks besides the one with the root.
fn disk_count() -> usize {
    let entries = fs::read_dir("/sys/class/block")
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            let rest = name.strip_prefix("vd");
            rest.is_some_and(|rest| {
                rest != "a" && rest.bytes().all(|byte| byte.is_ascii_alphabetic())
            })
        })
        .filter(|name| fs::exists(format!("/dev/{name}")).unwrap_or(false))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds() {
        assert_eq!(decode_hex(&"0f".repeat(64)), Some([0x0f; 64]));
        for bad in ["", "0f", &"0g".repeat(64), &"é".repeat(64)] {
            assert_eq!(decode_hex(bad), None, "{bad}");
        }
    }
}
