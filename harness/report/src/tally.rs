//! Counting.

use std::time::Duration;

use trunkline_engine::{
    ExitClass,
    events::{CaseOutcome, Event, EventKind, StepOutcome},
};

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TallyCounts {
    pub passed: usize,
    pub failed: usize,
    pub broken: usize,
    pub skipped: usize,
    /// Failed as the file says it does.
    pub known: usize,
    pub cancelled: usize,
}

impl TallyCounts {
    pub fn total(&self) -> usize {
        self.passed + self.failed + self.broken + self.skipped + self.known + self.cancelled
    }

    /// Those that were really run.
    pub fn ran(&self) -> usize {
        self.total() - self.skipped
    }
}

/// The counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub cases: TallyCounts,
    pub steps: TallyCounts,
    pub probes: usize,
    pub warnings: usize,
    /// Of the run as a whole, or of its cases together as long as it has not ended.
    pub took: Duration,
    worst: Option<ExitClass>,
}

impl Tally {
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::CaseFinished { outcome, took } => {
                *self.case(outcome) += 1;
                self.took += *took;
                self.worst = self.worst.max(Some(outcome.exit_class()));
            }
            EventKind::StepFinished { outcome, .. } => *self.step(outcome) += 1,
            EventKind::ProbeFinished { .. } => self.probes += 1,
            EventKind::Warning { .. } => self.warnings += 1,
            EventKind::RunFinished { took } => self.took = *took,
            _ => {}
        }
    }

    /// What the run amounts to. A run without any case has skipped everything.
    pub fn exit_class(&self) -> ExitClass {
        self.worst.unwrap_or(ExitClass::Skipped)
    }

    /// `3 passed, 1 failed, 0 skipped`, and what else there was.
    pub fn closing_line(&self) -> String {
        let TallyCounts {
            passed,
            failed,
            broken,
            skipped,
            known,
            cancelled,
        } = self.cases;
        let mut line = format!("{passed} passed, {failed} failed, {skipped} skipped");
        for (count, word) in [
            (broken, "broken"),
            (known, "known to fail"),
            (cancelled, "interrupted"),
        ] {
            if count > 0 {
                line.extend([", ", &count.to_string(), " ", word]);
            }
        }
        line
    }

    fn case(&mut self, outcome: &CaseOutcome) -> &mut usize {
        match outcome {
            CaseOutcome::Passed => &mut self.cases.passed,
            CaseOutcome::Failed { .. } => &mut self.cases.failed,
            CaseOutcome::Broken { .. } => &mut self.cases.broken,
            CaseOutcome::Skipped { .. } => &mut self.cases.skipped,
            CaseOutcome::Known { .. } => &mut self.cases.known,
            CaseOutcome::Cancelled => &mut self.cases.cancelled,
        }
    }

    fn step(&mut self, outcome: &StepOutcome) -> &mut usize {
        match outcome {
            StepOutcome::Passed => &mut self.steps.passed,
            StepOutcome::Failed { .. } => &mut self.steps.failed,
            StepOutcome::Broken { .. } => &mut self.steps.broken,
            StepOutcome::Skipped { .. } => &mut self.steps.skipped,
            StepOutcome::Known { .. } => &mut self.steps.known,
            StepOutcome::Cancelled => &mut self.steps.cancelled,
        }
    }
}
