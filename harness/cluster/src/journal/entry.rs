//! The lines of a journal, and what they add up to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use trunkline_engine::{Identity, events::RunId};

/// Which cluster a journal is about. Addresses and names of contexts change; the uid of `kube-system` does not, and
/// no other cluster has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterId {
    /// Where we may not read it, there is only the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    pub server: String,
    /// For people: how it was reached.
    pub context: String,
}

impl ClusterId {
    /// Whether both are known to be the same cluster.
    pub fn is(&self, other: &Self) -> bool {
        match (&self.uid, &other.uid) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.server == other.server,
        }
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    pub run: RunId,
    pub started: Timestamp,
    /// For people; the lock and not this tells whether the run lives.
    pub pid: u32,
    pub cluster: ClusterId,
}

impl Header {
    pub(super) fn new(run: RunId, cluster: ClusterId) -> Self {
        Self {
            run,
            started: Timestamp::now(),
            pid: std::process::id(),
            cluster,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Line {
    Run(Header),
    Creating(Identity),
    Created { object: Identity, uid: String },
    Gone(Identity),
}

/// An object that may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    pub object: Identity,
    /// Absent when the run died before the API had answered.
    pub uid: Option<String>,
}

/// The objects that may be there, by what is known of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered(BTreeMap<Identity, Option<String>>);

impl Remembered {
    pub fn take(&mut self, line: Line) {
        match line {
            Line::Run(_) => {}
            Line::Creating(object) => {
                self.0.insert(object, None);
            }
            Line::Created { object, uid } => {
                self.0.insert(object, Some(uid));
            }
            Line::Gone(object) => {
                if object.kind == "Namespace" && object.api_version == "v1" {
                    let inside = |other: &Identity| other.namespace.as_ref() == Some(&object.name);
                    self.0.retain(|other, _| !inside(other));
                }
                self.0.remove(&object);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a journal says. A last line that was cut off by the death of its writer says nothing: it was not on the disk
/// before the object would have been created. `None` without a first line.
pub(super) fn replay(text: &str) -> Option<(Header, Vec<Left>)> {
    let mut lines = text
        .lines()
        .map_while(|line| serde_json::from_str(line).ok());
    let Some(Line::Run(header)) = lines.next() else {
        return None;
    };
    let mut remembered = Remembered::default();
    for line in lines {
        remembered.take(line);
    }
    let left = remembered.0.into_iter();
    let left = left.map(|(object, uid)| Left { object, uid }).collect();
    Some((header, left))
}
