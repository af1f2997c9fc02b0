//! A summary in Markdown, for places that show it: GitHub's job summary is a file that every step may add to.
//!
//! A line for each case, and for those that went wrong what was expected and what came.

use std::{
    fmt::{self, Write as _},
    io::Write,
    path::{Path, PathBuf},
};

use trunkline_engine::{
    events::{CaseOutcome, Event, Failure, StepOutcome},
    seconds,
};

use crate::{
    Consumer, ReportError,
    record::{CaseRecord, RunRecord, StepRecord},
    tally::Tally,
    terminal::render,
    write_all,
};

/// GitHub takes one MiB from a step and shows nothing of more; other steps have something to say too.
const ROOM: usize = 256 * 1024;

/// Collects the run and writes the summary at its end.
pub struct Markdown<W> {
    path: PathBuf,
    writer: W,
    record: RunRecord,
    tally: Tally,
}

impl<W> fmt::Debug for Markdown<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Markdown")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Markdown<W> {
    /// `path` names the report in errors.
    pub fn new(path: impl AsRef<Path>, writer: W) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            writer,
            record: RunRecord::default(),
            tally: Tally::default(),
        }
    }
}

impl<W: Write + Send> Consumer for Markdown<W> {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.record.event(event);
        self.tally.event(event);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReportError> {
        let text = page(&self.record, &self.tally);
        write_all(&self.path, &mut self.writer, text.as_bytes())
    }
}

fn page(record: &RunRecord, tally: &Tally) -> String {
    let site = record.site.as_deref().unwrap_or("no site");
    let mut page = format!(
        "### trunkline on {}: {} ({})\n\n",
        inline(site),
        tally.closing_line(),
        seconds(tally.took)
    );
    if record.cases.is_empty() {
        page.push_str("No case was run.\n\n");
        return page;
    }
    page.push_str("| | case | took | |\n|---|---|---:|---|\n");
    for case in &record.cases {
        page.push_str(&row(case));
    }
    page.push('\n');
    let mut left_out = 0;
    for case in &record.cases {
        let details = details(case);
        if page.len() + details.len() > ROOM {
            left_out += usize::from(!details.is_empty());
        } else {
            page.push_str(&details);
        }
    }
    if left_out > 0 {
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "{left_out} more went wrong; the JUnit report has everything.\n"
        );
    }
    page
}

fn row(case: &CaseRecord) -> String {
    let note = match &case.outcome {
        Some(CaseOutcome::Skipped { reason }) => format!("{}; {reason}", case.title),
        Some(CaseOutcome::Known { reason }) => format!("{}; known: {reason}", case.title),
        _ => case.title.clone(),
    };
    let took = match &case.outcome {
        Some(CaseOutcome::Skipped { .. }) => String::new(),
        _ => seconds(case.took),
    };
    format!(
        "| {} | {} | {took} | {} |\n",
        mark(case.outcome.as_ref()),
        inline(case.id.as_str()),
        inline(&note)
    )
}

fn mark(outcome: Option<&CaseOutcome>) -> &'static str {
    match outcome {
        Some(CaseOutcome::Passed) => "✅",
        Some(CaseOutcome::Failed { .. }) => "❌",
        Some(CaseOutcome::Known { .. }) => "☑️",
        Some(CaseOutcome::Skipped { .. }) => "⏭️",
        Some(CaseOutcome::Broken { .. }) => "💥",
        // Interrupted, or the run ended before it did.
        Some(CaseOutcome::Cancelled) | None => "⏹️",
    }
}

/// What went wrong, folded away behind one line; nothing for a case that went well.
fn details(case: &CaseRecord) -> String {
    let mut text = String::new();
    for step in case.steps.values() {
        match &step.outcome {
            Some(StepOutcome::Failed { failures }) => text.push_str(&trouble(step, failures)),
            Some(StepOutcome::Broken { failure }) => {
                text.push_str(&trouble(step, std::slice::from_ref(failure)));
            }
            _ => {}
        }
    }
    match &case.outcome {
        Some(CaseOutcome::Failed {
            failure: Some(failure),
        }) => text.push_str(&fenced(&render::failure_text(failure))),
        Some(CaseOutcome::Broken { reason }) if text.is_empty() => text.push_str(&fenced(reason)),
        _ => {}
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "<details open><summary>{} <b>{}</b> ({})</summary>\n\n{text}</details>\n\n",
        mark(case.outcome.as_ref()),
        html(case.id.as_str()),
        html(&case.at_line.to_string())
    )
}

fn trouble(step: &StepRecord, failures: &[Failure]) -> String {
    let texts: Vec<String> = failures.iter().map(render::failure_text).collect();
    format!(
        "{}\\. {}\n\n{}",
        step.info.id,
        inline(&step.info.title),
        fenced(&texts.join("\n\n"))
    )
}

/// A block in which nothing means anything.
fn fenced(text: &str) -> String {
    let mut longest = 2;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    format!("{fence}text\n{}\n{fence}\n\n", text.trim_end())
}

/// Text in a line or a cell of a table, with nothing in it that Markdown or HTML would take for its own.
fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in html(text).chars() {
        match c {
            '\n' | '\r' => safe.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' => {
                safe.push('\\');
                safe.push(c);
            }
            c => safe.push(c),
        }
    }
    safe
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            inline("a|b <script> [x](y) `z`\nnext_line"),
            "a\\|b &lt;script&gt; \\[x\\](y) \\`z\\` next\\_line"
        );
    }

    #[test]
    fn a_fence_is_longer_than_any_in_its_text() {
        assert_eq!(fenced("plain"), "```text\nplain\n```\n\n");
        assert_eq!(fenced("````"), "`````text\n````\n`````\n\n");
    }
}
