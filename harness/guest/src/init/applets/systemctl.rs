//! `systemctl`: services by name.

use std::process::ExitCode;

use super::pass_on;
use crate::control::{Request, Verb};
use crate::power::How;
use crate::services::units;

pub fn run(arguments: &[String]) -> ExitCode {
    match parse(arguments) {
        Ok(call) => ExitCode::from(call.run()),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Call {
    verb: String,
    units: Vec<String>,
    now: bool,
    quiet: bool,
}

const WITH_UNITS: [&str; 12] = [
    "start",
    "stop",
    "restart",
    "reload",
    "reload-or-restart",
    "try-restart",
    "status",
    "is-active",
    "is-enabled",
    "enable",
    "disable",
    "cat",
];
const ALONE: [&str; 8] = [
    "daemon-reload",
    "list-units",
    "poweroff",
    "reboot",
    "halt",
    "is-system-running",
    "reset-failed",
    "get-default",
];

fn parse(arguments: &[String]) -> Result<Call, String> {
    let mut words = Vec::new();
    let (mut now, mut quiet) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--now" => now = true,
            "--quiet" | "-q" => quiet = true,
            "--no-pager" | "--no-block" | "--full" | "-l" | "--system" | "--no-legend"
            | "--plain" | "--force" | "-f" | "--all" | "-a" | "--no-ask-password" => {}
            option if option.starts_with("--type=") || option.starts_with("--state=") => {}
            option if option.starts_with('-') => {
                return Err(format!("systemctl: unrecognized option '{option}'"));
            }
            word => words.push(word.to_owned()),
        }
    }
    let verb = if words.is_empty() {
        "list-units".to_owned()
    } else {
        words.remove(0)
    };
    if WITH_UNITS.contains(&verb.as_str()) {
        if words.is_empty() && verb != "status" {
            return Err("Too few arguments.".to_owned());
        }
    } else if !ALONE.contains(&verb.as_str()) {
        return Err(format!("Unknown command verb '{verb}'."));
    }
    Ok(Call {
        verb,
        units: words,
        now,
        quiet,
    })
}

impl Call {
    fn run(&self) -> u8 {
        match self.verb.as_str() {
            "daemon-reload" | "reset-failed" => 0,
            "list-units" => pass_on("systemctl", &Request::ListUnits),
            "is-system-running" => {
                println!("running");
                0
            }
            "get-default" => {
                println!("multi-user.target");
                0
            }
            "poweroff" => down(How::Poweroff),
            "reboot" => down(How::Reboot),
            "halt" => down(How::Halt),
            "status" if self.units.is_empty() => pass_on("systemctl", &Request::ListUnits),
            _ => self.each(),
        }
    }

    /// The worst of what comes of every unit.
    fn each(&self) -> u8 {
        let exits: Vec<u8> = self
            .units
            .iter()
            .map(|unit| self.one(&units::full_name(unit)))
            .collect();
        // Whoever asks whether something is active is content with one that is.
        if self.verb == "is-active" {
            exits.into_iter().min().unwrap_or(3)
        } else {
            exits.into_iter().max().unwrap_or(0)
        }
    }

    fn one(&self, unit: &str) -> u8 {
        match self.verb.as_str() {
            "start" => service(Verb::Start, unit),
            "stop" => service(Verb::Stop, unit),
            "restart" | "reload-or-restart" | "try-restart" => service(Verb::Restart, unit),
            "reload" => service(Verb::Reload, unit),
            "status" => service(Verb::Status, unit),
            "is-active" if self.quiet => crate::control::ask(&Request::Service {
                verb: Verb::IsActive,
                unit: unit.to_owned(),
            })
            .map_or(1, |reply| reply.exit),
            "is-active" => service(Verb::IsActive, unit),
            "cat" => cat(unit),
            "is-enabled" => is_enabled(unit, self.quiet),
            "enable" => self.change(unit, true),
            _ => self.change(unit, false),
        }
    }

    fn change(&self, unit: &str, enable: bool) -> u8 {
        let verb = if enable { "enable" } else { "disable" };
        let Some((name, loaded, path)) = units::load(unit) else {
            eprintln!("Failed to {verb} unit: Unit {unit} does not exist");
            return 1;
        };
        let changed = if enable {
            units::enable(&name, &loaded, &path)
        } else {
            units::disable(&name, &loaded)
        };
        match changed {
            Ok(said) if !self.quiet => eprint!("{said}"),
            Ok(_) => {}
            Err(error) => {
                eprintln!("Failed to {verb} unit: {error}");
                return 1;
            }
        }
        match (self.now, enable) {
            (true, true) => service(Verb::Start, &name),
            (true, false) => service(Verb::Stop, &name),
            _ => 0,
        }
    }
}

fn service(verb: Verb, unit: &str) -> u8 {
    let unit = unit.to_owned();
    pass_on("systemctl", &Request::Service { verb, unit })
}

fn down(how: How) -> u8 {
    pass_on("systemctl", &Request::Down { how, after_s: 0 })
}

fn is_enabled(unit: &str, quiet: bool) -> u8 {
    let (state, exit) = match units::load(unit) {
        Some((name, loaded, _)) => match units::enabled_state(&name, &loaded) {
            "disabled" => ("disabled", 1),
            state => (state, 0),
        },
        None => ("not-found", 4),
    };
    if !quiet {
        println!("{state}");
    }
    exit
}

fn cat(unit: &str) -> u8 {
    let found = units::find(unit).map(|(_, path)| (std::fs::read_to_string(&path), path));
    if let Some((Ok(text), path)) = found {
        print!("# {}\n{text}", path.display());
        0
    } else {
        eprintln!("No files found for {unit}.");
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Call, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn calls_of_systemctl() {
        let call = parsed("enable --now nginx").unwrap();
        assert_eq!(
            (call.verb.as_str(), call.now, call.units.len()),
            ("enable", true, 1)
        );
        assert_eq!(parsed("").unwrap().verb, "list-units");
        assert!(parsed("-q is-active nginx").unwrap().quiet);
        assert!(parsed("--no-pager status").is_ok());
        for bad in ["start", "explode nginx", "start --softly nginx"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
