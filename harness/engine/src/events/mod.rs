//! The typed event stream: everything a run has to tell, in the order it happened. Reports are consumers of it and
//! nothing else; written as JSON lines it is the run's record.

pub(crate) mod failure;
pub(crate) mod ids;
pub(crate) mod millis;
mod redact;
mod stream;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use failure::{CaseOutcome, ExitClass, Failure, FailureKind, StepOutcome};
pub use ids::{CaseId, Location, ObjectRef, Phase, RunId, StepId};
pub use redact::Redactor;
pub use stream::{CaseEvents, EventReceiver, EventSender, StepEvents, channel};

/// The version of this format. It grows when a consumer of the previous one would misread the stream.
pub const VERSION: u32 = 1;

/// One line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`] of the writer.
    pub v: u32,
    pub at: Timestamp,
    pub run: RunId,
    /// The case this belongs to; events of the run as a whole have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<CaseId>,
    /// The step this belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// Written once by whoever runs cases, before the first of them.
    RunStarted {
        /// Version of trunkline.
        version: String,
        site: String,
        cases: usize,
    },
    RunFinished {
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    CaseStarted {
        scenario: String,
        title: String,
        at_line: Location,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        parameters: BTreeMap<String, String>,
        /// Every step there is. Each of `steps` gets its `StepFinished`, run or not; those of `catch` and `finally`
        /// only when they are run.
        steps: Vec<StepInfo>,
    },
    CaseFinished {
        outcome: CaseOutcome,
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    StepStarted {
        title: String,
        verb: String,
        at_line: Location,
    },
    /// What a step is busy with, for people who watch.
    StepProgress {
        message: String,
    },
    /// An attempt failed and the step has `retry`.
    StepRetried {
        attempt: u32,
        of: u32,
        reason: String,
        failures: Vec<Failure>,
    },
    StepFinished {
        outcome: StepOutcome,
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    NamespaceCreated {
        namespace: String,
    },
    ObjectApplied {
        object: ObjectRef,
        change: Change,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<Location>,
    },
    ObjectDeleted {
        object: ObjectRef,
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    /// A condition is being waited for and is not true yet. Repeated when `state` changes.
    ObjectWaiting {
        object: ObjectRef,
        condition: String,
        state: String,
    },
    /// A condition came true.
    ConditionMet {
        object: ObjectRef,
        condition: String,
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    /// The network has taken a change in.
    Converged(Convergence),
    Captured {
        name: String,
        value: serde_json::Value,
    },
    ProbeSent {
        /// Number of the probe in its case.
        probe: u64,
        from: String,
        /// What is done, as a person would type it: `curl http://192.168.200.4:9000/hostname`.
        description: String,
    },
    ProbeFinished {
        probe: u64,
        from: String,
        description: String,
        verdict: Verdict,
        #[serde(rename = "took_ms", with = "millis")]
        took: Duration,
    },
    Evidence(Evidence),
    Warning {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_line: Option<Location>,
    },
}

/// A step as the scenario has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepInfo {
    pub id: StepId,
    pub title: String,
    pub verb: String,
    pub at_line: Location,
}

/// What applying an object did to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Created,
    Configured,
    Unchanged,
}

/// How long a change took to reach the whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    #[serde(rename = "took_ms", with = "millis")]
    pub took: Duration,
    /// By part of the network, for example by zone.
    #[serde(
        default,
        rename = "zones_ms",
        with = "millis::map",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub zones: BTreeMap<String, Duration>,
}

/// What was expected of a probe and what came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub passed: bool,
    pub expected: String,
    pub got: String,
    /// The parts that did not hold; empty when it passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Mismatch>,
}

/// One part of an expectation that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The part's name in the scenario: `body`, `status`, `loss`.
    pub part: String,
    pub expected: String,
    pub got: String,
}

/// What the network itself says about a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Number of the probe in its case, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<u64>,
    pub source: EvidenceSource,
    /// One line a person understands.
    pub summary: String,
    /// The object held responsible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// The raw material: a flow, a trace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Where evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceSource {
    /// A datapath flow that matched the packet.
    Flow,
    /// An ACL that was hit.
    Acl,
    /// A trace through the logical network.
    Trace,
    /// Nothing but silence until the deadline: the site could say no more.
    Deadline,
    /// A Kubernetes object or event.
    Object,
}
