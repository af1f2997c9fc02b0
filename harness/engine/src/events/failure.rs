//! How steps and cases end, and everything a failure has to say.

use serde::{Deserialize, Serialize};

use super::ids::{Location, ObjectRef};

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum StepOutcome {
    Passed,
    /// What the scenario says did not hold.
    Failed {
        failures: Vec<Failure>,
    },
    /// It failed, and the scenario says that it does and why (`known:`).
    Known {
        reason: String,
        failures: Vec<Failure>,
    },
    /// The environment did not let the step be tried.
    Broken {
        failure: Box<Failure>,
    },
    Skipped {
        reason: String,
    },
    /// The run was interrupted during this step.
    Cancelled,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum CaseOutcome {
    Passed,
    Failed {
        /// What no step has told already: the deadline of the whole, or a `known` that passed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Box<Failure>>,
    },
    /// It failed, and the scenario says that it does and why (`known:`).
    Known {
        reason: String,
    },
    /// The environment did not let the case be tried; the reason is the first thing that broke.
    Broken {
        reason: String,
    },
    Skipped {
        reason: String,
    },
    Cancelled,
}

impl CaseOutcome {
    /// What the outcome means for the exit code of a program.
    pub fn exit_class(&self) -> ExitClass {
        match self {
            Self::Passed | Self::Known { .. } => ExitClass::Success,
            Self::Failed { .. } => ExitClass::Failure,
            Self::Broken { .. } => ExitClass::Broken,
            Self::Skipped { .. } => ExitClass::Skipped,
            Self::Cancelled => ExitClass::Cancelled,
        }
    }
}

/// What exit codes are made from. Ordered: of several cases the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitClass {
    /// Nothing was executed. Lowest, so that one success among skipped cases is a success.
    Skipped,
    Success,
    Failure,
    Broken,
    Cancelled,
}

/// Which rule was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A probe or an object was not what `expect` says.
    Expectation,
    /// The API refused an object.
    Refused,
    /// A condition did not come true in time.
    Timeout,
    /// A condition can never come true any more.
    Hopeless,
    /// A condition came true and did not stay so.
    Unstable,
    /// A step marked `known` passed.
    KnownPassed,
    /// A captured value does not exist.
    Capture,
    /// The environment: API unreachable, agent cannot be started, files that vanish.
    Environment,
}

/// One thing that went wrong: what was expected, what came, why, where, and what to look at next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One line that names the thing: `pod/tenantblue/blue-server did not become Ready within 60s`.
    pub summary: String,
    pub expected: String,
    pub got: String,
    /// Reasons, most telling first: an object's own message, an event, a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
    /// Where the scenario says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<Location>,
    /// Where the manifest of the object in question begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Location>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    /// Commands or files worth a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
}

impl Failure {
    pub fn new(kind: FailureKind, summary: impl Into<String>) -> Self {
        Self {
            kind,
            summary: summary.into(),
            expected: String::new(),
            got: String::new(),
            why: Vec::new(),
            scenario: None,
            manifest: None,
            object: None,
            next: Vec::new(),
        }
    }

    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = text.into();
        self
    }

    #[must_use]
    pub fn got(mut self, text: impl Into<String>) -> Self {
        self.got = text.into();
        self
    }

    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        self.why.push(text.into());
        self
    }

    #[must_use]
    pub fn at(mut self, location: Option<Location>) -> Self {
        // The innermost place wins: it was set by whoever knew more.
        self.scenario = self.scenario.or(location);
        self
    }

    #[must_use]
    pub fn manifest(mut self, location: Option<Location>) -> Self {
        self.manifest = self.manifest.or(location);
        self
    }

    #[must_use]
    pub fn about(mut self, object: ObjectRef) -> Self {
        self.object = Some(object);
        self
    }

    #[must_use]
    pub fn look_at(mut self, text: impl Into<String>) -> Self {
        self.next.push(text.into());
        self
    }
}
