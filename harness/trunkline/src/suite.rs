//! The scenarios a command is about: loaded, checked and selected.

use std::sync::Arc;

use trunkline_scenario::{Diagnostic, Scenario, Style, Suite, count, render};

use crate::{
    cli::Selection,
    exit::{Exit, Failure},
};

/// Reads the files a selection names.
pub fn load(selection: &Selection) -> Suite {
    Suite::load(&selection.paths)
}

/// Those of them that it selects.
pub fn select(suite: &Suite, selection: &Selection) -> Vec<Arc<Scenario>> {
    let by_name = trunkline_scenario::Selection {
        names: selection.filter.iter().cloned().collect(),
        tags: selection.tag.clone(),
        ..trunkline_scenario::Selection::default()
    };
    let mut selected = by_name.of(suite);
    if let Some(case) = &selection.case {
        selected.retain(|scenario| scenario.full_name() == *case);
    }
    selected
}

/// Prints what is wrong, for people, or a line each for programs.
pub fn show(diagnostics: &[Diagnostic], plain: bool) {
    if diagnostics.is_empty() {
        return;
    }
    let style = if plain { Style::Plain } else { graphical() };
    anstream::eprint!("{}", render(diagnostics, style));
}

/// Scenarios that are about to run must be sound.
pub fn sound(suite: &Suite) -> Result<(), Failure> {
    show(&suite.diagnostics, false);
    let (errors, _) = count(&suite.diagnostics);
    if errors == 0 {
        return Ok(());
    }
    let files = if errors == 1 {
        "an error".to_owned()
    } else {
        format!("{errors} errors")
    };
    Err(Failure::new(
        Exit::Invalid,
        anyhow::anyhow!("the scenarios have {files}; nothing was started"),
    ))
}

/// As wide as the terminal, in colour if it is one.
fn graphical() -> Style {
    let color = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or(100);
    Style::Graphical { color, width }
}
