//! Conditions of every kind of KubeVirt: all have the same form.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

/// The times are `null` when they were never set, as Go writes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    #[serde(default)]
    pub last_probe_time: Option<Time>,
    #[serde(default)]
    pub last_transition_time: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Condition {
    pub fn is_true(&self) -> bool {
        self.status == "True"
    }
}

/// Finds, sets and removes conditions by their type.
pub trait Conditions {
    fn find(&self, type_: &str) -> Option<&Condition>;
    /// Replaces the one of the same type where it stands, or appends it.
    fn set(&mut self, condition: Condition);
    fn unset(&mut self, type_: &str);

    fn holds(&self, type_: &str) -> bool {
        self.find(type_).is_some_and(Condition::is_true)
    }
}

impl Conditions for Vec<Condition> {
    fn find(&self, type_: &str) -> Option<&Condition> {
        self.iter().find(|condition| condition.type_ == type_)
    }

    fn set(&mut self, condition: Condition) {
        match self.iter_mut().find(|known| known.type_ == condition.type_) {
            Some(known) => *known = condition,
            None => self.push(condition),
        }
    }

    fn unset(&mut self, type_: &str) {
        self.retain(|condition| condition.type_ != type_);
    }
}
