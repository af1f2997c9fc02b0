//! The same cases on several sites, held against each other: outcome by outcome, probe by probe, message by message.
//!
//! What must differ between two sites (addresses, names of nodes, suffixes of pods, times) is not compared as text but by
//! its role: see `alike`.

mod alike;
mod answer;
mod compare;
mod observed;
mod table;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub use self::{
    compare::compare,
    observed::{Observed, ObservedCase, ObservedProbe, ObservedStep},
    table::table,
};

/// What came of a comparison. The first site is the one the others are held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parity {
    pub sites: Vec<String>,
    pub cases: Vec<CaseParity>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseParity {
    pub case: String,
    pub state: CaseState,
    pub steps: Vec<StepParity>,
}

/// Whether a case could be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum CaseState {
    Same,
    Different,
    /// It was not run on every site, for these reasons.
    Skipped {
        reasons: Vec<(String, String)>,
    },
    /// An environment broke, or the run was interrupted; that says nothing about the case.
    Broken {
        reasons: Vec<(String, String)>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepParity {
    /// `3`, `finally 1`.
    pub step: String,
    pub title: String,
    /// How it ended, by site.
    pub results: Vec<String>,
    pub differences: Vec<Difference>,
}

/// Something that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `the answer of curl http://10.96.0.1/ from pod/blue/client`
    pub what: String,
    /// The site that is held against the first one.
    pub site: String,
    /// What the first one says.
    pub expected: String,
    pub got: String,
}

/// What a comparison as a whole means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every case was skipped somewhere.
    NothingCompared,
    Same,
    Different,
    Broken,
}

impl StepParity {
    pub fn is_same(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Parity {
    pub fn verdict(&self) -> Verdict {
        let of = |case: &CaseParity| match case.state {
            CaseState::Same => Verdict::Same,
            CaseState::Different => Verdict::Different,
            CaseState::Skipped { .. } => Verdict::NothingCompared,
            CaseState::Broken { .. } => Verdict::Broken,
        };
        self.cases
            .iter()
            .map(of)
            .max()
            .unwrap_or(Verdict::NothingCompared)
    }
}
