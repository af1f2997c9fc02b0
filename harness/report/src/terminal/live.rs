//! Live progress: a line for each case that runs, above it what plain output would have written.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use trunkline_engine::events::{CaseId, Event, EventKind};

use super::{Palette, Plain, Volume, palette::paint};
use crate::{Consumer, ReportError, record::RunRecord};

/// How often the spinner turns while nothing happens.
const TURN: Duration = Duration::from_millis(100);

/// For terminals.
#[derive(Debug)]
pub struct Live {
    bars: MultiProgress,
    running: HashMap<CaseId, ProgressBar>,
    record: RunRecord,
    plain: Plain<Lines>,
    lines: Lines,
    palette: Palette,
}

/// Collects what plain output writes, so that it can be put above the progress lines.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Live {
    /// On standard output.
    pub fn new(palette: Palette, volume: Volume) -> Self {
        Self::on(ProgressDrawTarget::stdout(), palette, volume)
    }

    fn on(target: ProgressDrawTarget, palette: Palette, volume: Volume) -> Self {
        let lines = Lines::default();
        Self {
            bars: MultiProgress::with_draw_target(target),
            running: HashMap::new(),
            record: RunRecord::default(),
            plain: Plain::new(lines.clone(), palette, volume),
            lines,
            palette,
        }
    }

    fn show(&self) -> Result<(), ReportError> {
        let text = self.lines.take();
        match text.strip_suffix('\n') {
            Some(text) => self.bars.println(text).map_err(ReportError::Terminal),
            None => Ok(()),
        }
    }

    /// What a case is busy with.
    fn status(&self, event: &Event) -> Option<String> {
        let case = self.record.case(event.case.as_ref()?)?;
        let step = case.steps.get(&event.step?)?;
        let doing = step.doing.as_deref().unwrap_or_default();
        let doing = doing.lines().next().unwrap_or_default();
        Some(format!(
            "{} {}",
            step.info.title,
            paint(self.palette.dim, doing)
        ))
    }

    fn spinner(&self, id: &CaseId) -> ProgressBar {
        let bar = self.bars.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("  {spinner} {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(id.to_string());
        bar.enable_steady_tick(TURN);
        bar
    }
}

impl Consumer for Live {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.event(event);
        match (&event.kind, &event.case) {
            (EventKind::CaseStarted { .. }, Some(id)) => {
                let bar = self.spinner(id);
                self.running.insert(id.clone(), bar);
            }
            (EventKind::CaseFinished { .. }, Some(id)) => {
                if let Some(bar) = self.running.remove(id) {
                    bar.finish_and_clear();
                }
            }
            (_, Some(id)) => {
                if let (Some(bar), Some(status)) = (self.running.get(id), self.status(event)) {
                    bar.set_message(status);
                }
            }
            _ => {}
        }
        self.plain.event(event)?;
        self.show()
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        for (_, bar) in self.running.drain() {
            bar.finish_and_clear();
        }
        self.plain.finish()?;
        self.show()
    }
}

#[cfg(test)]
mod tests {
    use indicatif::TermLike;
    use trunkline_engine::events::{
        Location, Phase, RunId, StepId, StepInfo, StepOutcome, VERSION,
    };

    use super::*;

    /// Remembers what is written, without moving any cursor.
    #[derive(Clone, Debug, Default)]
    struct Screen(Lines);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.clone().write_all(text.as_bytes())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn progress_is_shown_and_results_stay() {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut live = Live::on(target, Palette::plain(), Volume::Normal);
        let id = StepId {
            phase: Phase::Steps,
            index: 0,
        };
        let place = Location {
            file: "a.yaml".into(),
            line: 1,
            column: None,
        };
        let (title, verb) = ("Both start".to_owned(), "apply".to_owned());
        let info = StepInfo {
            id,
            title: title.clone(),
            verb: verb.clone(),
            at_line: place.clone(),
        };
        let kinds = [
            EventKind::RunStarted {
                version: "0".into(),
                site: "lab".into(),
                cases: 1,
            },
            EventKind::CaseStarted {
                scenario: "a".into(),
                title: "A".into(),
                at_line: place.clone(),
                parameters: std::collections::BTreeMap::new(),
                steps: vec![info],
            },
            EventKind::StepStarted {
                title,
                verb,
                at_line: place,
            },
            EventKind::StepProgress {
                message: "waiting for a pod".into(),
            },
            EventKind::StepFinished {
                outcome: StepOutcome::Passed,
                took: TURN,
            },
        ];
        for kind in kinds {
            let run = RunId::random();
            let step = matches!(
                kind,
                EventKind::StepStarted { .. }
                    | EventKind::StepProgress { .. }
                    | EventKind::StepFinished { .. }
            );
            let case =
                Some(CaseId("a".into())).filter(|_| !matches!(kind, EventKind::RunStarted { .. }));
            let event = Event {
                v: VERSION,
                at: jiff::Timestamp::UNIX_EPOCH,
                run,
                case,
                step: step.then_some(id),
                kind,
            };
            live.event(&event).unwrap();
            if let EventKind::StepProgress { .. } = event.kind {
                // Drawing is limited in rate; asking for it is not.
                live.running.values().for_each(ProgressBar::tick);
            }
        }
        live.finish().unwrap();
        let text = screen.0.take();
        assert!(text.contains("Both start waiting for a pod"), "{text}");
        assert!(text.contains("\u{2713} Both start"), "{text}");
        assert!(
            text.trim_end().ends_with("0 passed, 0 failed, 0 skipped"),
            "{text}"
        );
    }
}
