//! What an event stream adds up to: cases, their steps, and everything that belongs to each step.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use trunkline_engine::events::{
    CaseId, CaseOutcome, Convergence, Event, EventKind, Evidence, Failure, Location, StepId,
    StepInfo, StepOutcome, Verdict,
};

/// A run so far.
#[derive(Clone, Debug, Default)]
pub struct RunRecord {
    pub site: Option<String>,
    pub version: Option<String>,
    pub took: Option<Duration>,
    /// In the order in which they began.
    pub cases: Vec<CaseRecord>,
}

#[derive(Clone, Debug)]
pub struct CaseRecord {
    pub id: CaseId,
    pub started: Timestamp,
    pub scenario: String,
    pub title: String,
    pub at_line: Location,
    pub parameters: BTreeMap<String, String>,
    /// Every step the scenario has, run or not.
    pub steps: BTreeMap<StepId, StepRecord>,
    /// Warnings outside of any step.
    pub warnings: Vec<String>,
    pub outcome: Option<CaseOutcome>,
    pub took: Duration,
}

#[derive(Clone, Debug)]
pub struct StepRecord {
    pub info: StepInfo,
    pub started: Option<Timestamp>,
    pub probes: Vec<ProbeRecord>,
    /// Evidence that belongs to no probe.
    pub evidence: Vec<Evidence>,
    pub convergence: Option<Convergence>,
    /// Attempts before the last one.
    pub attempts: Vec<Attempt>,
    pub warnings: Vec<String>,
    /// What it is busy with, or was last.
    pub doing: Option<String>,
    pub outcome: Option<StepOutcome>,
    pub took: Duration,
}

/// An attempt that failed and was followed by another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub number: u32,
    pub of: u32,
    pub reason: String,
    pub failures: Vec<Failure>,
}

#[derive(Clone, Debug)]
pub struct ProbeRecord {
    pub number: u64,
    pub from: String,
    pub description: String,
    pub verdict: Verdict,
    pub took: Duration,
    pub evidence: Vec<Evidence>,
}

impl RunRecord {
    pub fn case(&self, id: &CaseId) -> Option<&CaseRecord> {
        self.cases.iter().find(|case| case.id == *id)
    }

    /// Takes an event in.
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { version, site, .. } => {
                self.version = Some(version.clone());
                self.site = Some(site.clone());
            }
            EventKind::RunFinished { took } => self.took = Some(*took),
            EventKind::CaseStarted {
                scenario,
                title,
                at_line,
                parameters,
                steps,
            } => {
                let Some(id) = event.case.clone() else { return };
                self.cases.push(CaseRecord {
                    id,
                    started: event.at,
                    scenario: scenario.clone(),
                    title: title.clone(),
                    at_line: at_line.clone(),
                    parameters: parameters.clone(),
                    steps: steps
                        .iter()
                        .map(|info| (info.id, StepRecord::new(info)))
                        .collect(),
                    warnings: Vec::new(),
                    outcome: None,
                    took: Duration::ZERO,
                });
            }
            _ => {
                let case = self
                    .cases
                    .iter_mut()
                    .find(|case| Some(&case.id) == event.case.as_ref());
                if let Some(case) = case {
                    case.event(event);
                }
            }
        }
    }
}

impl CaseRecord {
    fn event(&mut self, event: &Event) {
        if let EventKind::CaseFinished { outcome, took } = &event.kind {
            self.outcome = Some(outcome.clone());
            self.took = *took;
            return;
        }
        match event.step.and_then(|id| self.steps.get_mut(&id)) {
            Some(step) => step.event(event),
            None => {
                if let EventKind::Warning { message, .. } = &event.kind {
                    self.warnings.push(message.clone());
                }
            }
        }
    }
}

impl StepRecord {
    fn new(info: &StepInfo) -> Self {
        Self {
            info: info.clone(),
            started: None,
            probes: Vec::new(),
            evidence: Vec::new(),
            convergence: None,
            attempts: Vec::new(),
            warnings: Vec::new(),
            doing: None,
            outcome: None,
            took: Duration::ZERO,
        }
    }

    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StepStarted { .. } => self.started = Some(event.at),
            EventKind::StepProgress { message } => self.doing = Some(message.clone()),
            EventKind::ObjectWaiting { object, state, .. } => {
                self.doing = Some(format!("{object}: {state}"));
            }
            EventKind::ProbeSent {
                description, from, ..
            } => self.doing = Some(format!("{description} from {from}")),
            EventKind::StepRetried {
                attempt,
                of,
                reason,
                failures,
            } => {
                let (reason, failures) = (reason.clone(), failures.clone());
                self.attempts.push(Attempt {
                    number: *attempt,
                    of: *of,
                    reason,
                    failures,
                });
            }
            EventKind::StepFinished { outcome, took } => {
                self.outcome = Some(outcome.clone());
                self.took = *took;
            }
            EventKind::ProbeFinished {
                probe,
                from,
                description,
                verdict,
                took,
            } => self.probes.push(ProbeRecord {
                number: *probe,
                from: from.clone(),
                description: description.clone(),
                verdict: verdict.clone(),
                took: *took,
                evidence: Vec::new(),
            }),
            EventKind::Evidence(evidence) => {
                let probe = self
                    .probes
                    .iter_mut()
                    .rev()
                    .find(|probe| Some(probe.number) == evidence.probe);
                probe
                    .map_or(&mut self.evidence, |probe| &mut probe.evidence)
                    .push(evidence.clone());
            }
            EventKind::Converged(convergence) => self.convergence = Some(convergence.clone()),
            EventKind::Warning { message, .. } => self.warnings.push(message.clone()),
            _ => {}
        }
    }
}
