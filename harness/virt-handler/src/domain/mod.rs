//! A running machine, and what it takes to have one.

mod agent;
mod channels;
mod cloud_init;
mod console;
mod disks;
mod early;
mod facts;
mod files;
mod init_port;
mod iso;
mod launch;
mod launcher;
mod machine;
mod place;
mod qcow2;
mod shape;
mod unix;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use trunkline_qemu::{AgentError, Event, GuestAgent, Qmp, QmpError, Shutdown};

pub use agent::Guest;
pub use console::Line;
pub use early::Early;
pub use facts::{Facts, Nic, VolumeFacts};
pub use launch::{LaunchError, Launched, launch};
pub use launcher::Launcher;

use crate::network::Attached;
use channels::Channels;
use console::Console;

/// A machine, as long as its QEMU runs. Cheap to ask; what it does by itself comes as events.
#[derive(Debug)]
pub struct Domain {
    pub qmp: Qmp,
    pub agent: Arc<GuestAgent>,
    pub facts: Facts,
    guest: watch::Receiver<Guest>,
    console: Console,
    look: Arc<Notify>,
    channels: Channels,
    /// The next time the guest powers off, it is to be started again.
    rebooting: AtomicBool,
    private: PathBuf,
    _attached: Attached,
    _tasks: JoinSet<()>,
}

/// What a guest could not do when it was asked to reboot.
#[derive(Debug, thiserror::Error)]
pub enum RebootError {
    #[error(
        "command SoftReboot failed: \"LibvirtError(Code=113, Domain=10, Message='guest agent command failed: unable to \
         execute QEMU agent command 'guest-shutdown': {0}')\""
    )]
    Agent(#[from] AgentError),
    #[error("command SoftReboot failed: {0}")]
    Qmp(#[from] QmpError),
}

impl Domain {
    /// What the guest says of itself, as it changes.
    pub fn guest(&self) -> watch::Receiver<Guest> {
        self.guest.clone()
    }

    /// Asks the guest agent at once instead of in a while.
    pub fn look(&self) {
        self.look.notify_one();
    }

    /// The serial line; whoever had it loses it.
    pub async fn console(&self) -> std::io::Result<Line> {
        self.console.open().await
    }

    /// What the guest wrote last to its serial line.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        console::last_lines(&self.private, count)
    }

    /// Presses the power button.
    pub async fn power_button(&self) -> Result<(), QmpError> {
        self.qmp.run("system_powerdown", json!({})).await
    }

    /// Asks the guest to reboot: its agent if there is one, otherwise by the power button.
    pub async fn soft_reboot(&self) -> Result<(), RebootError> {
        if self.guest.borrow().connected {
            return Ok(self.agent.shutdown(Shutdown::Reboot).await?);
        }
        self.qmp
            .run("set-action", json!({"shutdown": "pause"}))
            .await?;
        self.rebooting.store(true, Ordering::Relaxed);
        Ok(self.power_button().await?)
    }

    /// Follows what QEMU tells; returns whether the guest's end was only the first half of a reboot.
    pub async fn follow(&self, event: &Event) -> Result<bool, QmpError> {
        self.channels.take(event);
        if event.name != "SHUTDOWN" || !self.rebooting.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        self.qmp
            .run("set-action", json!({"shutdown": "poweroff"}))
            .await?;
        self.qmp.run("system_reset", json!({})).await?;
        self.qmp.run("cont", json!({})).await?;
        Ok(true)
    }
}
