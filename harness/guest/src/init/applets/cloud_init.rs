//! `cloud-init`: its status.

use std::process::ExitCode;

use super::pass_on;
use crate::control::Request;

pub fn run(arguments: &[String]) -> ExitCode {
    match parse(arguments) {
        Ok(Command::Status(request)) => ExitCode::from(pass_on("cloud-init", &request)),
        Ok(Command::Version) => {
            println!(
                "/usr/bin/cloud-init trunkline-{}",
                env!("CARGO_PKG_VERSION")
            );
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!(
                "usage: cloud-init status [--wait] [--long] [--format json]\ncloud-init: error: {problem}"
            );
            ExitCode::from(2)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Status(Request),
    Version,
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let mut words = arguments.iter().map(String::as_str);
    match words.next() {
        Some("status") => {}
        Some("--version" | "-v") => return Ok(Command::Version),
        Some(other) => return Err(format!("argument subcommand: invalid choice: '{other}'")),
        None => return Err("No Subcommand specified. Please specify a subcommand.".to_owned()),
    }
    let (mut wait, mut json, mut long) = (false, false, false);
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, None),
        };
        match option {
            "--wait" | "-w" => wait = true,
            "--long" | "-l" => long = true,
            "-wl" | "-lw" => (wait, long) = (true, true),
            "--format" => match value.or_else(|| words.next()) {
                Some("json") => json = true,
                Some("tabular") => json = false,
                other => {
                    return Err(format!(
                        "argument --format: invalid choice: {other:?} (choose from 'json', 'tabular')"
                    ));
                }
            },
            _ => return Err(format!("unrecognized arguments: {word}")),
        }
    }
    Ok(Command::Status(Request::CloudStatus { wait, json, long }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn ways_to_ask_for_the_status() {
        let status =
            |wait, json, long| Ok(Command::Status(Request::CloudStatus { wait, json, long }));
        assert_eq!(parsed("status"), status(false, false, false));
        assert_eq!(parsed("status --wait --long"), status(true, false, true));
        assert_eq!(parsed("status -w --format json"), status(true, true, false));
        assert_eq!(
            parsed("status --format=tabular"),
            status(false, false, false)
        );
        for bad in [
            "",
            "clean",
            "status --fast",
            "status --format xml",
            "status --format",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
