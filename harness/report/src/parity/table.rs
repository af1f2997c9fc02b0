//! A comparison as text: a table for each case, and below each step what differs.

use std::fmt::Write as _;

use super::{CaseParity, CaseState, Parity, StepParity};
use crate::terminal::{Palette, paint, printable};

/// As a terminal shows it.
pub fn table(parity: &Parity, palette: &Palette) -> String {
    let mut text = String::new();
    for case in &parity.cases {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", paint(palette.strong, printable(&case.case)));
        match &case.state {
            CaseState::Skipped { reasons } => told(&mut text, "not compared", reasons, palette),
            CaseState::Broken { reasons } => told(&mut text, "broken", reasons, palette),
            CaseState::Same | CaseState::Different => steps(&mut text, parity, case, palette),
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", closing(parity, palette));
    text
}

fn told(text: &mut String, word: &str, reasons: &[(String, String)], palette: &Palette) {
    for (site, reason) in reasons {
        let line = format!("{word}: {site}: {}", printable(reason));
        let _ = writeln!(text, "  {}", paint(palette.warn, line));
    }
}

fn steps(text: &mut String, parity: &Parity, case: &CaseParity, palette: &Palette) {
    let name = |step: &StepParity| format!("{}. {}", step.step, printable(&step.title));
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut case.steps.iter().map(|step| name(step).chars().count())).max(4);
    let columns: Vec<usize> = parity
        .sites
        .iter()
        .enumerate()
        .map(|(index, site)| {
            let results = case.steps.iter().filter_map(|step| step.results.get(index));
            width(&mut results.map(|result| result.chars().count())).max(site.chars().count())
        })
        .collect();
    let row = |first: &str, cells: &[String]| {
        let mut line = format!("  {}", padded(first, names));
        for (cell, width) in cells.iter().zip(&columns) {
            line.push_str("  ");
            line.push_str(&padded(cell, *width));
        }
        line
    };
    let _ = writeln!(
        text,
        "{}",
        paint(palette.dim, row("step", &parity.sites).trim_end())
    );
    for step in &case.steps {
        let (style, word) = if step.is_same() {
            (palette.good, "same")
        } else {
            (palette.bad, "different")
        };
        let _ = writeln!(
            text,
            "{}  {}",
            row(&name(step), &step.results),
            paint(style, word)
        );
        for difference in &step.differences {
            let what = printable(&difference.what);
            let _ = writeln!(text, "      {}", paint(palette.bad, what));
            let first = parity.sites.first().map_or("", String::as_str);
            side(text, first, &difference.expected, palette);
            side(text, &difference.site, &difference.got, palette);
        }
    }
}

fn side(text: &mut String, site: &str, said: &str, palette: &Palette) {
    let mut name = site;
    for line in printable(said).lines() {
        let _ = writeln!(
            text,
            "        {}  {line}",
            paint(palette.dim, padded(name, 9))
        );
        name = "";
    }
}

fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{:missing$}", "")
}

fn closing(parity: &Parity, palette: &Palette) -> String {
    let count = |wanted: fn(&CaseState) -> bool| {
        parity
            .cases
            .iter()
            .filter(|case| wanted(&case.state))
            .count()
    };
    let counts = [
        (count(|state| matches!(state, CaseState::Same)), "the same"),
        (
            count(|state| matches!(state, CaseState::Different)),
            "different",
        ),
        (
            count(|state| matches!(state, CaseState::Broken { .. })),
            "broken",
        ),
        (
            count(|state| matches!(state, CaseState::Skipped { .. })),
            "not compared",
        ),
    ];
    let words: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let style = match parity.verdict() {
        super::Verdict::Same => palette.good,
        super::Verdict::NothingCompared => palette.warn,
        super::Verdict::Different | super::Verdict::Broken => palette.bad,
    };
    let words = if words.is_empty() {
        "no cases".to_owned()
    } else {
        words.join(", ")
    };
    paint(style, format!("{}: {words}", parity.sites.join(" = ")))
}
