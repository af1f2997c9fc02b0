//! The handler's conditions.

use trunkline_kubevirt::types::{Condition, Conditions};

use super::now;

/// Set as long as somebody listens on the guest agent's channel.
pub fn agent(conditions: &mut Vec<Condition>, connected: bool) {
    const TYPE: &str = "AgentConnected";
    if !connected {
        conditions.unset(TYPE);
    } else if conditions.find(TYPE).is_none() {
        conditions.set(Condition {
            type_: TYPE.to_owned(),
            status: "True".to_owned(),
            last_probe_time: Some(now()),
            ..Condition::default()
        });
    }
}

/// Why a machine stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paused {
    ByUser,
    IoError,
}

pub fn paused(conditions: &mut Vec<Condition>, paused: Option<Paused>) {
    const TYPE: &str = "Paused";
    let Some(why) = paused else {
        conditions.unset(TYPE);
        return;
    };
    if conditions.find(TYPE).is_some() {
        return;
    }
    let (reason, message) = match why {
        Paused::ByUser => ("PausedByUser", "VMI was paused by user"),
        Paused::IoError => (
            "PausedIOError",
            "VMI was paused, low-level IO error detected",
        ),
    };
    let now = now();
    conditions.set(Condition {
        type_: TYPE.to_owned(),
        status: "True".to_owned(),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    });
}

/// The machine could not be made what it is to be.
pub fn failure(conditions: &mut Vec<Condition>, message: &str) {
    conditions.set(Condition {
        type_: "Synchronized".to_owned(),
        status: "False".to_owned(),
        last_transition_time: Some(now()),
        reason: Some("Synchronizing with the Domain failed.".to_owned()),
        message: Some(message.to_owned()),
        ..Condition::default()
    });
}
