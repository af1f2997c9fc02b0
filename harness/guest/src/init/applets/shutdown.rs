//! `shutdown` and its relatives.

use std::process::ExitCode;

use super::pass_on;
use crate::control::Request;
use crate::power::How;

pub fn run(name: &str, arguments: &[String]) -> ExitCode {
    match parse(name, arguments) {
        Ok(request) => ExitCode::from(pass_on(name, &request)),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// `init 0` and `init 6`.
pub fn level(arguments: &[String]) -> ExitCode {
    let how = match arguments.first().map(String::as_str) {
        Some("0") => How::Poweroff,
        Some("6") => How::Reboot,
        _ => {
            eprintln!("init: this guest knows the levels 0 and 6");
            return ExitCode::FAILURE;
        }
    };
    ExitCode::from(pass_on("init", &Request::Down { how, after_s: 0 }))
}

fn parse(name: &str, arguments: &[String]) -> Result<Request, String> {
    let is_shutdown = name == "shutdown";
    let mut how = match name {
        "reboot" => How::Reboot,
        "halt" => How::Halt,
        _ => How::Poweroff,
    };
    // `shutdown` alone waits a minute.
    let mut after_s = if is_shutdown { 60 } else { 0 };
    let mut time_given = false;
    for word in arguments {
        match word.as_str() {
            "-P" | "-h" | "--poweroff" | "-p" => how = How::Poweroff,
            "-H" | "--halt" => how = How::Halt,
            "-r" | "--reboot" => how = How::Reboot,
            "-c" if is_shutdown => return Ok(Request::CancelDown),
            "-f" | "-ff" | "--force" | "-w" | "-d" | "-n" | "--no-wall" | "-k" => {}
            option if option.starts_with('-') => {
                return Err(format!("{name}: unrecognized option '{option}'"));
            }
            // What follows the time is a message.
            time if is_shutdown && !time_given => {
                after_s = seconds(time).ok_or_else(|| {
                    format!("Failed to parse time specification: {time}; use now or +MINUTES")
                })?;
                time_given = true;
            }
            _ => {}
        }
    }
    Ok(Request::Down { how, after_s })
}

/// `now` and `+m`.
pub fn seconds(time: &str) -> Option<u64> {
    if time == "now" {
        return Some(0);
    }
    let minutes: u64 = time.strip_prefix('+')?.parse().ok()?;
    minutes.checked_mul(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_end_the_machine() {
        let words =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        for (name, line, how, after_s) in [
            (
                "shutdown",
                "-h -P +0 hypervisor initiated shutdown",
                How::Poweroff,
                0,
            ),
            (
                "shutdown",
                "-h -r +0 hypervisor initiated shutdown",
                How::Reboot,
                0,
            ),
            (
                "shutdown",
                "-h -H +0 hypervisor initiated shutdown",
                How::Halt,
                0,
            ),
            ("shutdown", "", How::Poweroff, 60),
            ("shutdown", "-r now", How::Reboot, 0),
            ("shutdown", "+5", How::Poweroff, 300),
            ("poweroff", "", How::Poweroff, 0),
            ("reboot", "-f", How::Reboot, 0),
            ("halt", "-p", How::Poweroff, 0),
        ] {
            assert_eq!(
                parse(name, &words(line)),
                Ok(Request::Down { how, after_s }),
                "{name} {line}"
            );
        }
        assert_eq!(parse("shutdown", &words("-c")), Ok(Request::CancelDown));
        assert!(parse("shutdown", &words("soon")).is_err());
        assert!(parse("reboot", &words("--softly")).is_err());
    }
}
