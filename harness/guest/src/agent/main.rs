//! `trunkline-agent`: reads probes, one JSON object per line, and answers them.
//!
//! A thread per request: probes of one batch run side by side, and there are tens of them, not
//! thousands. At the end of standard input the answers still under way are awaited, each bounded
//! by its own deadline, unless nobody reads them any more.

mod deadline;
mod dial;
mod http;
mod resolve;
mod sys;
mod tls;
mod verbs;
mod verdict;

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use trunkline_guest::protocol::{Failure, Outcome, Request, Response};

use crate::deadline::Deadline;
use crate::resolve::Resolver;

const USAGE: &str = "trunkline-agent: reads probes as JSON lines from standard input and writes \
one JSON line per answer; takes no arguments but --version";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        None => serve(),
        Some(argument) if argument == "--version" => {
            println!("trunkline-agent {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Some(_) => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve() -> ExitCode {
    let resolver = Arc::new(Resolver::system());
    let mut running = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                eprintln!("trunkline-agent: cannot read requests: {error}");
                return ExitCode::FAILURE;
            }
        };
        if line.trim().is_empty() {
            continue;
        }
        running.retain(|thread: &thread::JoinHandle<()>| !thread.is_finished());
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                let resolver = Arc::clone(&resolver);
                running.push(thread::spawn(move || answer(&request, &resolver)));
            }
            Err(error) => write(&unreadable(&line, &error)),
        }
    }
    sys::exit_when_nobody_reads();
    for thread in running {
        // A probe that panicked has printed why on standard error and owes its answer.
        if thread.join().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn answer(request: &Request, resolver: &Resolver) {
    let deadline = Deadline::in_ms(request.probe.timeout_ms());
    let outcome = verbs::run(&request.probe, resolver, deadline);
    write(&Response {
        id: request.id.clone(),
        took_ms: deadline.elapsed_ms(),
        outcome,
    });
}

/// The answer to a line that is no request. Its `id` is saved where the line is JSON at all.
fn unreadable(line: &str, error: &serde_json::Error) -> Response {
    let id = serde_json::from_str::<serde_json::Value>(line)
        .ok()
        .and_then(|value| value.get("id")?.as_str().map(str::to_owned))
        .unwrap_or_default();
    Response {
        id,
        took_ms: 0.0,
        outcome: Outcome::Error(Failure {
            message: format!("not a request: {error}"),
        }),
    }
}

/// Writes one whole line. Without a reader there is nobody left to answer.
fn write(response: &Response) {
    let mut line = serde_json::to_vec(response).unwrap_or_else(|error| {
        format!(
            "{{\"id\":\"\",\"took_ms\":0,\"outcome\":{{\"error\":{{\"message\":\"{error}\"}}}}}}"
        )
        .into_bytes()
    });
    line.push(b'\n');
    let mut out = io::stdout().lock();
    if out.write_all(&line).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
