//! Lines, one after the other: for pipes, logs and people who want them.

use std::{fmt, io::Write};

use trunkline_engine::events::{CaseId, Event, EventKind, StepOutcome};

use super::{Palette, Volume, render};
use crate::{Consumer, ReportError, record::RunRecord, tally::Tally};

/// Writes each step when it has ended. Of several cases each is written when it has ended, so that they do not mix.
pub struct Plain<W> {
    writer: W,
    palette: Palette,
    volume: Volume,
    record: RunRecord,
    tally: Tally,
    /// There is only one case, so its steps can be written as they come.
    alone: bool,
}

impl<W> fmt::Debug for Plain<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain")
            .field("volume", &self.volume)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Plain<W> {
    pub fn new(writer: W, palette: Palette, volume: Volume) -> Self {
        Self {
            writer,
            palette,
            volume,
            record: RunRecord::default(),
            tally: Tally::default(),
            alone: false,
        }
    }

    /// The text an event makes ready to be shown.
    fn text(&self, event: &Event) -> String {
        let Some(case) = event.case.as_ref().and_then(|id| self.record.case(id)) else {
            return String::new();
        };
        let (palette, volume) = (&self.palette, self.volume);
        match &event.kind {
            EventKind::CaseStarted { .. } if self.alone && volume != Volume::Quiet => {
                render::case_heading(case, palette)
            }
            EventKind::StepFinished { outcome, .. } if self.alone && tells(outcome, volume) => {
                let step = event.step.and_then(|id| case.steps.get(&id));
                step.map(|step| render::step(step, palette, volume))
                    .unwrap_or_default()
            }
            EventKind::CaseFinished { .. } if self.alone => render::case_end(case, palette, volume),
            EventKind::CaseFinished { .. } => self.whole_case(&case.id),
            _ if self.alone => super::details(event, palette, volume),
            _ => String::new(),
        }
    }

    /// A case that has ended, from its heading to its end.
    fn whole_case(&self, id: &CaseId) -> String {
        let Some(case) = self.record.case(id) else {
            return String::new();
        };
        let (palette, volume) = (&self.palette, self.volume);
        let steps = case.steps.values().filter(|step| {
            step.outcome
                .as_ref()
                .is_some_and(|outcome| tells(outcome, volume))
        });
        let body: String = steps
            .map(|step| render::step(step, palette, volume))
            .collect();
        let body = body + &render::case_end(case, palette, volume);
        if body.is_empty() {
            body
        } else {
            render::case_heading(case, palette) + &body
        }
    }
}

/// Steps that were not run are counted, not listed.
fn tells(outcome: &StepOutcome, volume: Volume) -> bool {
    match outcome {
        StepOutcome::Skipped { .. } => false,
        StepOutcome::Passed | StepOutcome::Known { .. } => volume != Volume::Quiet,
        StepOutcome::Failed { .. } | StepOutcome::Broken { .. } | StepOutcome::Cancelled => true,
    }
}

impl<W: Write + Send> Consumer for Plain<W> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let EventKind::RunStarted { cases, .. } = event.kind {
            self.alone = cases == 1;
        }
        self.record.event(event);
        self.tally.event(event);
        let text = self.text(event);
        self.write(&text)
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let text = render::closing(&self.tally, &self.palette, self.volume);
        self.write(&text)
    }
}

impl<W: Write> Plain<W> {
    fn write(&mut self, text: &str) -> Result<(), ReportError> {
        if text.is_empty() {
            return Ok(());
        }
        self.writer
            .write_all(text.as_bytes())
            .and_then(|()| self.writer.flush())
            .map_err(ReportError::Terminal)
    }
}
