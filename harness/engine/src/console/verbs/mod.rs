//! Probes by the guest's own programs, with the same answers as those of the agent in containers.
//!
//! Each verb is two pure functions: from the probe to a command, and from what the command printed to an outcome.

mod curl;
mod dns;
mod exec;
mod ping;
mod socket;
mod words;

use std::time::Duration;

use trunkline_guest::protocol::{Failure, Outcome, Probe, Response};

use super::{Terminal, Trouble, job::Finished};

/// Beyond the probe's own deadline, for programs that watch it themselves.
const GRACE: Duration = Duration::from_secs(4);

pub(super) async fn ask(terminal: &Terminal<'_>, probe: &Probe) -> Result<Response, Trouble> {
    let (outcome, took) = match probe {
        Probe::Exec(probe) => {
            let finished = terminal.run(exec::command(probe)).await?;
            (exec::outcome(probe, &finished), finished.took)
        }
        Probe::Curl(probe) => {
            let finished = terminal.run(curl::command(probe)).await?;
            curl::outcome(probe, &finished)
        }
        Probe::Ping(probe) => {
            let mut finished = terminal.run(ping::command(probe, true)).await?;
            if ping::wants_other_options(&finished) {
                finished = terminal.run(ping::command(probe, false)).await?;
            }
            (ping::outcome(probe, &finished), finished.took)
        }
        Probe::Tcp(probe) => {
            let finished = terminal.run(socket::tcp(probe)).await?;
            (socket::tcp_outcome(probe, &finished), finished.took)
        }
        Probe::Udp(probe) => {
            let question = socket::Datagram {
                host: &probe.host,
                port: probe.port,
                bytes: probe.send.as_ref(),
                timeout: Duration::from_millis(probe.timeout_ms),
            };
            if question.bytes.is_empty() {
                let message =
                    "a guest cannot send an empty datagram; give `udp` something to `send`";
                (error(message), Duration::ZERO)
            } else {
                let finished = terminal.run(socket::udp(&question)).await?;
                (socket::udp_outcome(probe, &finished), finished.took)
            }
        }
        Probe::Dns(probe) => dns::ask(terminal, probe).await?,
    };
    Ok(Response {
        id: String::new(),
        took_ms: took.as_secs_f64() * 1e3,
        outcome,
    })
}

fn error(message: impl Into<String>) -> Outcome {
    Outcome::Error(Failure {
        message: message.into(),
    })
}

/// The program is not in the guest.
fn lacks(program: &str) -> Outcome {
    error(format!("the guest has no program `{program}`"))
}

/// What a program said, and how it ended, where neither means anything known.
fn puzzled(program: &str, finished: &Finished) -> Outcome {
    let said = String::from_utf8_lossy(&finished.stderr);
    // curl says it shortly and then explains at length.
    let own = format!("{program}: ");
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines
        .clone()
        .rfind(|line| line.starts_with(&own))
        .or_else(|| lines.next_back());
    error(match last {
        Some(last) => format!(
            "`{program}` in the guest ended with exit code {}: {last}",
            finished.code
        ),
        None => format!(
            "`{program}` in the guest ended with exit code {}",
            finished.code
        ),
    })
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
