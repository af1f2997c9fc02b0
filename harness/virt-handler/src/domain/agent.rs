//! What the guest says of itself through its agent.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use trunkline_qemu::{AgentError, AgentInfo, GuestAgent, Interface, OsInfo};

/// Addresses come and go without anybody telling: an agent must be asked. Often at first, when they are awaited.
const FIRST_PAUSE: Duration = Duration::from_millis(150);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Until then the guest is taken to be still configuring itself.
const EARLY: Duration = Duration::from_secs(60);
const LONGEST_EARLY_PAUSE: Duration = Duration::from_secs(1);

/// A guest that does not tell when it is configured is asked after this long.
const CONFIGURED_AT_LAST: Duration = Duration::from_secs(20);

/// The last that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guest {
    /// Somebody listens on the channel.
    pub connected: bool,
    pub info: Option<AgentInfo>,
    pub os: Option<OsInfo>,
    pub interfaces: Option<Vec<Interface>>,
    pub frozen: bool,
}

/// Asks the agent whenever it is there.
#[derive(Debug)]
pub struct Watcher {
    pub agent: Arc<GuestAgent>,
    /// Whether the guest has opened the agent's channel.
    pub open: watch::Receiver<bool>,
    /// Whether a guest of ours that was woken from a template is configured; before that, its agent speaks of another
    /// life.
    pub up: Option<watch::Receiver<bool>>,
    /// Asks for a look at once.
    pub look: Arc<Notify>,
    pub guest: watch::Sender<Guest>,
}

impl Watcher {
    pub async fn run(mut self) {
        if let Some(mut up) = self.up.take() {
            // A guest that never comes up may still have something to say.
            let _ = timeout(CONFIGURED_AT_LAST, up.wait_for(|up| *up)).await;
        }
        while self.open.wait_for(|open| *open).await.is_ok() {
            self.guest.send_modify(|guest| guest.connected = true);
            let mut closed = self.open.clone();
            tokio::select! {
                _ = closed.wait_for(|open| !*open) => {}
                () = self.ask_again_and_again() => {}
            }
            // What it said last stays true until it says something else.
            self.guest.send_modify(|guest| guest.connected = false);
        }
    }

    async fn ask_again_and_again(&self) {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Err(error) = self.ask().await {
                tracing::debug!(%error, "the guest agent was asked");
            }
            let longest = if begun.elapsed() < EARLY {
                LONGEST_EARLY_PAUSE
            } else {
                LONGEST_PAUSE
            };
            match timeout(pause.min(longest), self.look.notified()).await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(_) => pause = (pause * 2).min(longest),
            }
        }
    }

    async fn ask(&self) -> Result<(), AgentError> {
        let known = self.guest.borrow().clone();
        if known.info.is_none() {
            let info = self.agent.info().await?;
            self.guest.send_modify(|guest| guest.info = Some(info));
        }
        let interfaces = self.agent.interfaces().await?;
        self.change(|guest| guest.interfaces = Some(interfaces));
        if known.os.is_none() {
            let os = self.agent.os().await?;
            self.guest.send_modify(|guest| guest.os = Some(os));
        }
        let frozen = self.agent.freeze_status().await? == "frozen";
        self.change(|guest| guest.frozen = frozen);
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Guest)) {
        self.guest.send_if_modified(|guest| {
            let before = guest.clone();
            change(guest);
            *guest != before
        });
    }
}
