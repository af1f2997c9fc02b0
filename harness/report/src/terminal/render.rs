//! Records as text. Pure: the same record gives the same lines.

use trunkline_engine::{
    events::{CaseOutcome, Failure, Phase, StepOutcome},
    seconds,
};

use super::{
    Volume,
    page::{Page, printable},
    palette::{Palette, paint},
};
use crate::{
    record::{CaseRecord, ProbeRecord, StepRecord},
    tally::{Tally, TallyCounts},
};

/// Titles are padded to this width, so that durations stand under each other.
const TITLE: usize = 72;

/// The line a case begins with.
pub(super) fn case_heading(case: &CaseRecord, palette: &Palette) -> String {
    format!(
        "{} {}\n",
        paint(palette.strong, &case.id),
        paint(palette.dim, printable(&case.title))
    )
}

/// A step that has ended, with its probes and its failures.
pub(super) fn step(step: &StepRecord, palette: &Palette, volume: Volume) -> String {
    let Some(outcome) = &step.outcome else {
        return String::new();
    };
    let mut page = Page::default();
    page.raw(headline(step, outcome, palette));
    for attempt in &step.attempts {
        let summary = attempt
            .failures
            .first()
            .map_or("", |failure| failure.summary.as_str());
        let (number, of, reason) = (attempt.number, attempt.of, &attempt.reason);
        let line = format!("attempt {number} of {of} failed: {summary}; again, because {reason}");
        page.line(6, palette.warn, line);
    }
    if volume != Volume::Quiet {
        for line in step.probes.iter().flat_map(probe_lines) {
            page.line(6, palette.dim, line);
        }
        if let (Volume::Verbose, Some(convergence)) = (volume, &step.convergence) {
            let line = format!("the network converged in {}", seconds(convergence.took));
            page.line(6, palette.dim, line);
        }
    }
    match outcome {
        StepOutcome::Failed { failures } => {
            for found in failures {
                failure(&mut page, found, palette);
            }
        }
        StepOutcome::Broken { failure: found } => failure(&mut page, found, palette),
        StepOutcome::Known { reason, .. } => {
            page.line(6, palette.warn, format!("fails, as is known: {reason}"));
        }
        StepOutcome::Cancelled => page.line(6, palette.warn, "interrupted"),
        StepOutcome::Passed | StepOutcome::Skipped { .. } => {}
    }
    for warning in &step.warnings {
        page.line(6, palette.warn, format!("warning: {warning}"));
    }
    page.into_text()
}

/// Mark, title and duration of a step.
fn headline(step: &StepRecord, outcome: &StepOutcome, palette: &Palette) -> String {
    let (mark, style) = match outcome {
        StepOutcome::Passed => ("✓", palette.good),
        StepOutcome::Failed { .. } => ("✗", palette.bad),
        StepOutcome::Broken { .. } => ("!", palette.bad),
        StepOutcome::Known { .. } => ("~", palette.warn),
        StepOutcome::Skipped { .. } => ("-", palette.dim),
        StepOutcome::Cancelled => ("!", palette.warn),
    };
    let prefix = match step.info.id.phase {
        Phase::Steps => "",
        Phase::Catch => "catch: ",
        Phase::Finally => "finally: ",
    };
    let title = format!("{prefix}{}", printable(&step.info.title));
    let mark = paint(style, mark);
    if matches!(outcome, StepOutcome::Skipped { .. }) {
        return format!("  {mark} {}", paint(palette.dim, title));
    }
    let took = paint(palette.dim, format!("{:>7}", seconds(step.took)));
    let padding = TITLE.saturating_sub(title.chars().count());
    format!("  {mark} {title}{:padding$} {took}", "")
}

fn probe_lines(probe: &ProbeRecord) -> Vec<String> {
    let mut lines = vec![
        format!("{} $ {}", probe.from, probe.description),
        format!("  {}", probe.verdict.got),
    ];
    let evidence = probe.evidence.iter();
    lines.extend(evidence.map(|evidence| format!("  {}", evidence.summary)));
    lines
}

/// A probe on one line, for reports that have no room for more.
pub(crate) fn probe_line(probe: &ProbeRecord) -> String {
    let result = if probe.verdict.passed { "ok" } else { "not ok" };
    format!(
        "{} $ {}: {} ({result})",
        probe.from, probe.description, probe.verdict.got
    )
}

/// What was expected, what came, why, where, and what to look at next.
fn failure(page: &mut Page, failure: &Failure, palette: &Palette) {
    page.line(6, palette.bad, &failure.summary);
    for (name, value) in fields(failure) {
        let mut name = name;
        for line in printable(&value).lines() {
            let column = paint(palette.dim, format!("{name:<9}"));
            page.raw(format_args!("        {column} {line}"));
            name = "";
        }
    }
}

/// The same without colours and indentation, for files.
pub(crate) fn failure_text(failure: &Failure) -> String {
    let mut lines = vec![failure.summary.clone()];
    let fields = fields(failure).into_iter();
    lines.extend(fields.map(|(name, value)| format!("{name}: {value}")));
    lines.join("\n")
}

fn fields(failure: &Failure) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    let mut field = |name, value: &str| {
        if !value.is_empty() {
            fields.push((name, value.to_owned()));
        }
    };
    field("expected", &failure.expected);
    field("got", &failure.got);
    for why in failure.why.iter().filter(|why| **why != failure.got) {
        field("why", why);
    }
    if let Some(place) = &failure.scenario {
        field("at", &place.to_string());
    }
    if let Some(place) = &failure.manifest {
        field("manifest", &place.to_string());
    }
    for next in &failure.next {
        field("look at", next);
    }
    fields
}

/// What there is to say about a case when its steps have been told.
pub(super) fn case_end(case: &CaseRecord, palette: &Palette, volume: Volume) -> String {
    let mut page = Page::default();
    match &case.outcome {
        Some(CaseOutcome::Failed {
            failure: Some(found),
        }) => failure(&mut page, found, palette),
        Some(CaseOutcome::Broken { reason }) => {
            page.line(2, palette.bad, format!("the environment broke: {reason}"));
        }
        Some(CaseOutcome::Skipped { reason }) => {
            page.line(2, palette.warn, format!("skipped: {reason}"));
        }
        Some(CaseOutcome::Known { reason }) => {
            page.line(2, palette.warn, format!("fails, as is known: {reason}"));
        }
        Some(CaseOutcome::Passed | CaseOutcome::Failed { .. } | CaseOutcome::Cancelled) | None => {}
    }
    for warning in &case.warnings {
        page.line(2, palette.warn, format!("warning: {warning}"));
    }
    let is_skipped = |step: &&StepRecord| matches!(step.outcome, Some(StepOutcome::Skipped { .. }));
    let skipped = case.steps.values().filter(is_skipped).count();
    let steps = case.steps.keys();
    let all = steps.filter(|id| id.phase == Phase::Steps).count();
    if volume != Volume::Quiet && skipped > 0 && skipped < all {
        let steps = if skipped == 1 {
            "step was"
        } else {
            "steps were"
        };
        page.line(2, palette.dim, format!("{skipped} {steps} not run"));
    }
    page.into_text()
}

/// The last lines of a run.
pub(super) fn closing(tally: &Tally, palette: &Palette, volume: Volume) -> String {
    let mut page = Page::default();
    if volume != Volume::Quiet && tally.steps.total() > 0 {
        let TallyCounts {
            passed,
            failed,
            broken,
            skipped,
            known,
            cancelled,
        } = tally.steps;
        let counts = [
            (passed, "passed"),
            (failed, "failed"),
            (broken, "broken"),
            (known, "known to fail"),
            (cancelled, "interrupted"),
            (skipped, "skipped"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let (counts, took) = (counts.join(", "), seconds(tally.took));
        page.raw("");
        let line = format!("steps: {counts}; probes: {}; {took}", tally.probes);
        page.line(0, palette.dim, line);
    }
    let bad = tally.cases.failed + tally.cases.broken + tally.cases.cancelled;
    let style = match (bad, tally.cases.ran()) {
        (0, 0) => palette.warn,
        (0, _) => palette.good,
        _ => palette.bad,
    };
    page.line(0, style, tally.closing_line());
    page.into_text()
}
