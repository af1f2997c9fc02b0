//! `trunkline lint`: everything that can be said about scenarios without running them.

use trunkline_scenario::count;

use crate::{
    cli::Lint,
    exit::{Exit, Failure},
    suite,
};

pub fn lint(args: &Lint) -> Result<Exit, Failure> {
    let loaded = suite::load(&args.selection);
    suite::show(&loaded.diagnostics, args.plain);
    let (errors, warnings) = count(&loaded.diagnostics);
    if loaded.files == 0 && errors == 0 {
        let paths: Vec<_> = args
            .selection
            .paths
            .iter()
            .map(|path| path.as_str())
            .collect();
        return Err(Failure::new(
            Exit::NothingRan,
            anyhow::anyhow!("no scenario file in {}", paths.join(", ")),
        ));
    }
    if !args.plain {
        let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
        eprintln!(
            "{}, {}: {}, {}",
            plural(loaded.files, "file"),
            plural(loaded.scenarios.len(), "case"),
            plural(errors, "error"),
            plural(warnings, "warning")
        );
    }
    let wrong = errors > 0 || (args.deny_warnings && warnings > 0);
    Ok(if wrong { Exit::Invalid } else { Exit::Ok })
}
