//! How a machine is brought to its end, and what that end means.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use trunkline_kubevirt::types::{VirtualMachineInstance, VmiPhase};
use trunkline_launcher::Exit;

/// A guest that is just booting misses the power button.
const AGAIN: Duration = Duration::from_secs(5);

/// KubeVirt's, where the instance says nothing.
const DEFAULT_GRACE: i64 = 30;

/// Where the machine is on its way.
#[derive(Debug, Default)]
pub enum Ending {
    #[default]
    NotYet,
    /// The guest was asked, and has until then.
    Asked {
        until: Instant,
        again: Instant,
    },
    Killed,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    AskAgain,
    Kill,
}

impl Ending {
    /// The guest was asked just now.
    pub fn asked(grace: Duration) -> Self {
        let now = Instant::now();
        Self::Asked {
            until: now + grace,
            again: now + AGAIN,
        }
    }

    pub fn has_begun(&self) -> bool {
        !matches!(self, Self::NotYet)
    }

    /// Waits until something is due; for ever if nothing is.
    pub async fn due(&mut self) -> Due {
        match self {
            Self::Asked { until, again } => {
                if *until <= *again {
                    sleep_until(*until).await;
                    return Due::Kill;
                }
                sleep_until(*again).await;
                *again += AGAIN;
                Due::AskAgain
            }
            Self::NotYet | Self::Killed => std::future::pending().await,
        }
    }
}

/// How long the guest may take.
pub fn grace(vmi: &VirtualMachineInstance) -> Duration {
    let seconds = vmi
        .spec
        .termination_grace_period_seconds
        .unwrap_or(DEFAULT_GRACE);
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// What is known when QEMU has ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// QEMU told that the guest powered itself off.
    pub shutdown: bool,
    pub panicked: bool,
    pub killed: bool,
}

/// As KubeVirt judges it: a guest that went by itself has succeeded, one that had to be killed has not, unless nobody
/// expected anything else of it.
pub fn verdict(vmi: &VirtualMachineInstance, seen: Seen, exit: Option<&Exit>) -> VmiPhase {
    let by_itself =
        seen.shutdown && !seen.panicked && exit.is_some_and(|exit| exit.code == Some(0));
    let could_be_asked = !grace(vmi).is_zero();
    if seen.killed {
        return if could_be_asked || seen.panicked {
            VmiPhase::Failed
        } else {
            VmiPhase::Succeeded
        };
    }
    if by_itself {
        VmiPhase::Succeeded
    } else {
        VmiPhase::Failed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use trunkline_kubevirt::types::{VirtualMachineInstance, VmiPhase};
    use trunkline_launcher::Exit;

    use super::{Due, Ending, Seen, grace, verdict};

    fn vmi(grace: Option<i64>) -> VirtualMachineInstance {
        serde_json::from_value(json!({
            "metadata": {}, "spec": {"domain": {"devices": {}}, "terminationGracePeriodSeconds": grace}
        }))
        .unwrap()
    }

    #[test]
    fn the_end_tells_what_it_was() {
        let exit = |code, signal| Exit {
            code,
            signal,
            stderr: String::new(),
        };
        let clean = exit(Some(0), None);
        let judge = |grace, seen, exit: Option<Exit>| verdict(&vmi(grace), seen, exit.as_ref());
        let shutdown = Seen {
            shutdown: true,
            ..Seen::default()
        };
        let killed = Seen {
            killed: true,
            ..Seen::default()
        };
        let panicked = Seen {
            panicked: true,
            ..shutdown
        };
        assert_eq!(
            judge(None, shutdown, Some(clean.clone())),
            VmiPhase::Succeeded
        );
        assert_eq!(judge(None, panicked, Some(clean.clone())), VmiPhase::Failed);
        assert_eq!(
            judge(None, Seen::default(), Some(exit(None, Some(9)))),
            VmiPhase::Failed
        );
        assert_eq!(
            judge(None, Seen::default(), Some(exit(Some(1), None))),
            VmiPhase::Failed
        );
        assert_eq!(judge(None, shutdown, None), VmiPhase::Failed);
        assert_eq!(
            judge(Some(5), killed, Some(exit(None, Some(9)))),
            VmiPhase::Failed
        );
        assert_eq!(
            judge(Some(0), killed, Some(exit(None, Some(9)))),
            VmiPhase::Succeeded
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_button_is_pressed_again_until_the_grace_is_over() {
        assert_eq!(grace(&vmi(None)), Duration::from_secs(30));
        let begun = tokio::time::Instant::now();
        let mut ending = Ending::asked(Duration::from_secs(12));
        let mut seen = Vec::new();
        loop {
            let due = ending.due().await;
            seen.push(begun.elapsed().as_secs());
            if due == Due::Kill {
                break;
            }
        }
        assert_eq!(seen, [5, 10, 12]);
        assert!(ending.has_begun());
    }
}
