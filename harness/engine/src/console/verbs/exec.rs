//! A program of the guest.

use std::time::Duration;

use trunkline_guest::{
    Octets,
    protocol::{Answer, Exec, ExecAnswer, Exit, Outcome},
};

use super::lacks;
use crate::console::{
    job::{Command, Finished},
    shell::Words,
};

pub(super) fn command(probe: &Exec) -> Command {
    let program = probe.argv.iter().take(1);
    let check = Words::of(program).script("x");
    let run = Words::of(&probe.argv).script("exec");
    Command {
        script: format!("{check}\n{run}"),
        stdin: probe.stdin.as_ref().map(|stdin| stdin.as_ref().to_vec()),
        timeout: Duration::from_millis(probe.timeout_ms),
    }
}

pub(super) fn outcome(probe: &Exec, finished: &Finished) -> Outcome {
    if finished.missing {
        return lacks(probe.argv.first().map_or("", String::as_str));
    }
    let exit = if finished.timed_out {
        Exit::TimedOut
    } else {
        Exit::Code(finished.code)
    };
    Outcome::Answered(Answer::Exec(ExecAnswer {
        exit,
        stdout: Octets(finished.stdout.clone()),
        stderr: Octets(finished.stderr.clone()),
        truncated: finished.truncated,
    }))
}
