//! Programs.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use trunkline_guest::Octets;
use trunkline_guest::protocol::{Answer, Exec, ExecAnswer, Exit, Outcome};

use crate::deadline::Deadline;
use crate::{sys, verdict};

/// Bytes kept of each stream; the rest is read and dropped, so that the program is not held up.
const KEPT: usize = 4 << 20;

pub fn run(probe: &Exec, deadline: Deadline) -> Outcome {
    let Some((program, arguments)) = probe.argv.split_first() else {
        return verdict::error("exec needs a program: argv is empty");
    };
    let child = Command::new(program)
        .args(arguments)
        .stdin(if probe.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that the deadline reaches what the program started.
        .process_group(0)
        .spawn();
    let answer = match child {
        Ok(child) => supervise(child, probe.stdin.clone(), deadline),
        Err(error) => return verdict::error(format!("cannot run `{program}`: {error}")),
    };
    match answer {
        Ok(answer) => Outcome::Answered(Answer::Exec(answer)),
        Err(error) => verdict::error(format!("cannot wait for `{program}`: {error}")),
    }
}

fn supervise(
    mut child: Child,
    stdin: Option<Octets>,
    deadline: Deadline,
) -> io::Result<ExecAnswer> {
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        // A program need not read its input: a closed pipe is no failure.
        thread::spawn(move || drop(pipe.write_all(text.as_ref())));
    }
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);

    let in_time = sys::wait_for_exit(child.id(), deadline)?;
    // Output may outlive the program in what it left running; that too ends at the deadline.
    let (mut out, mut err) = (
        take(stdout.as_ref(), deadline),
        take(stderr.as_ref(), deadline),
    );
    if out.is_none() || err.is_none() || !in_time {
        sys::kill_group(child.id());
        let grace = Deadline::in_ms(1_000);
        out = out.or_else(|| take(stdout.as_ref(), grace));
        err = err.or_else(|| take(stderr.as_ref(), grace));
    }
    let status = child.wait()?;
    let exit = match (in_time, status.code()) {
        (false, _) => Exit::TimedOut,
        (true, Some(code)) => Exit::Code(code),
        (true, None) => Exit::Signal(status.signal().unwrap_or_default()),
    };
    let ((stdout, cut_out), (stderr, cut_err)) = (out.unwrap_or_default(), err.unwrap_or_default());
    Ok(ExecAnswer {
        exit,
        stdout: Octets(stdout),
        stderr: Octets(stderr),
        truncated: cut_out || cut_err,
    })
}

type Collected = (Vec<u8>, bool);

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<Collected> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let mut cut = false;
        let mut buffer = [0; 16_384];
        while let Ok(read) = pipe.read(&mut buffer) {
            if read == 0 {
                break;
            }
            let room = KEPT - kept.len();
            kept.extend_from_slice(&buffer[..read.min(room)]);
            cut |= read > room;
        }
        drop(sender.send((kept, cut)));
    });
    receiver
}

fn take(stream: Option<&Receiver<Collected>>, deadline: Deadline) -> Option<Collected> {
    let left = deadline.left().unwrap_or_default();
    stream.and_then(|stream| stream.recv_timeout(left).ok())
}
