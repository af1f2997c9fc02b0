//! Every command line that the guide, the help and the workflows show can be typed.

mod shell;

use std::{fs, path::PathBuf};

use clap::{Parser as _, error::ErrorKind};
use rstest::rstest;

use super::{AFTER_HELP, Cli, Command};
use crate::sites;

fn read(file: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Why it cannot be typed, if that is so. Nothing is run.
fn refusal(words: &[String]) -> Option<String> {
    let command = match Cli::try_parse_from(words) {
        Ok(cli) => cli.command,
        Err(error) => {
            let asked = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            return (!asked).then(|| error.to_string());
        }
    };
    let checked = match &command {
        Command::Run(run) => sites::check(run.site, &run.connection)
            .and_then(|()| sites::check_lab(run.site, &run.lab)),
        Command::Doctor(doctor) => sites::check(doctor.site, &doctor.connection),
        _ => Ok(()),
    };
    checked.err().map(|failure| failure.report.to_string())
}

/// Those that call trunkline, out of a script. The bare name is the program's, and no call.
fn calls(script: &str) -> Vec<Vec<String>> {
    let mut commands = shell::commands(script);
    commands.retain(|words| match words.as_slice() {
        [program, _, ..] => program == "trunkline" || program.ends_with("/release/trunkline"),
        _ => false,
    });
    commands
}

/// A text's blocks of code, and the rest of it.
fn parted(text: &str) -> (Vec<&str>, String) {
    let (mut code, mut prose, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            code.push(line);
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    (code, prose)
}

/// What is typed in blocks of code.
fn in_blocks(text: &str) -> Vec<Vec<String>> {
    let (mut typed, mut continued) = (String::new(), false);
    for line in parted(text).0 {
        let prompted = line.strip_prefix("$ ");
        if continued || prompted.is_some() || line.starts_with("trunkline ") {
            typed.push_str(prompted.unwrap_or(line));
            typed.push('\n');
            continued = line.ends_with('\\');
        }
    }
    calls(&typed)
}

/// What stands between backticks. Prose may name a command without all that it needs.
fn in_prose(text: &str) -> Vec<Vec<String>> {
    let (_, prose) = parted(text);
    let mut found: Vec<_> = prose
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(calls)
        .collect();
    found.retain(|words| {
        let error = Cli::try_parse_from(words).err();
        error.is_none_or(|error| error.kind() != ErrorKind::MissingRequiredArgument)
    });
    found
}

/// What the steps of a workflow run.
fn in_workflow(text: &str) -> Vec<Vec<String>> {
    fn scripts(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                found.extend(fields.get("run").and_then(|run| Some(run.as_str()?.into())));
                fields.values().for_each(|value| scripts(value, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| scripts(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    scripts(&serde_yaml::from_str(text).expect("YAML"), &mut found);
    found.iter().flat_map(|script| calls(script)).collect()
}

/// The examples of `--help`: a command, a gap, and what it does.
fn in_help(text: &str) -> Vec<Vec<String>> {
    let examples = text.lines().skip(1).take_while(|line| !line.is_empty());
    examples
        .filter_map(|line| line.trim_start().split_once("   "))
        .flat_map(|(command, _)| calls(command))
        .collect()
}

#[track_caller]
fn all_can_be_typed(calls: &[Vec<String>], at_least: usize) {
    let found = calls.len();
    assert!(found >= at_least, "only {found} were found: {calls:?}");
    for words in calls {
        assert_eq!(refusal(words), None, "{}", words.join(" "));
    }
}

#[rstest]
#[case("README.md", 6)]
#[case("docs/guide/README.md", 14)]
#[case("docs/guide/sites.md", 13)]
fn the_guide_types_what_can_be_typed(#[case] file: &str, #[case] at_least: usize) {
    all_can_be_typed(&in_blocks(&read(file)), at_least);
}

#[rstest]
#[case("README.md", 2)]
#[case("docs/guide/README.md", 4)]
#[case("docs/guide/scenarios.md", 4)]
#[case("docs/guide/sites.md", 2)]
fn the_guide_speaks_of_what_can_be_typed(#[case] file: &str, #[case] at_least: usize) {
    all_can_be_typed(&in_prose(&read(file)), at_least);
}

#[rstest]
#[case(".github/workflows/lab.yaml", 2)]
#[case(".github/workflows/kind.yaml", 6)]
fn the_workflows_run_what_can_be_typed(#[case] file: &str, #[case] at_least: usize) {
    all_can_be_typed(&in_workflow(&read(file)), at_least);
}

#[test]
fn the_help_shows_what_can_be_typed() {
    all_can_be_typed(&in_help(AFTER_HELP), 7);
}

#[rstest]
#[case::option("trunkline run --jbos 2", "--jbos")]
#[case::command("trunkline runn", "runn")]
#[case::value("trunkline up kind --workers many", "many")]
#[case::missing("trunkline matrix", "--github")]
#[case::other_site("trunkline run --site kind --context staging", "--context")]
#[case::of_a_lab("trunkline run --site context --nodes 5", "--nodes")]
fn what_cannot_be_typed_is_refused(#[case] line: &str, #[case] names: &str) {
    let wrong = |found: Vec<Vec<String>>| {
        let refused = found.iter().find_map(|words| refusal(words));
        let refused = refused.unwrap_or_else(|| panic!("{line} was not refused: {found:?}"));
        assert!(refused.contains(names), "{refused}");
    };
    wrong(in_blocks(&format!(
        "```console\n$ {line} # says more\n```\n"
    )));
    wrong(in_workflow(&format!(
        "jobs: {{a: {{steps: [{{run: '{line} || true'}}]}}}}"
    )));
    wrong(in_help(&format!("Examples:\n  {line}     does it\n")));
}

#[test]
fn what_cannot_be_typed_is_not_spoken_of() {
    let found = in_prose("Then `trunkline run\n--jbos 2` does it, as `trunkline matrix` does.\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let refused = refusal(&found[0]).expect("it is refused");
    assert!(refused.contains("--jbos"), "{refused}");
}

#[test]
fn what_is_no_call_is_left_alone() {
    let none: Vec<Vec<String>> = Vec::new();
    let prose = "trunkline runn is prose, and `trunkline` a name.\n";
    assert_eq!(in_prose(prose), none);
    assert_eq!(in_blocks(prose), none);
    assert_eq!(in_blocks("```yaml\nname: trunkline runn\n```\n"), none);
    let workflow = "name: trunkline runn\nsteps: [{run: cargo build -p trunkline}]";
    assert_eq!(in_workflow(workflow), none);
}
