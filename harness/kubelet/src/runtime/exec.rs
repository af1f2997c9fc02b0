//! Commands in running containers: for people (streams, terminals) and for probes and hooks (captured).

use std::time::Duration;

use kubeapi::Streams;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::runc::{Attachment, Started};
use super::stdio::{self, Stdio};
use super::{Process, Runc, RuntimeError, Signal};
use crate::oci::ProcessSpec;

/// Output of a command that ended is complete when its pipes close. A child it left behind can hold them open;
/// it is not waited for longer than this.
const DRAIN: Duration = Duration::from_secs(2);

/// Kills the process when the caller loses interest.
struct KillOnDrop(Process);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // nothing is left to be done about a failure
        let _ = self.0.signal(Signal::KILL);
    }
}

/// Runs a command for somebody at the other end of `streams`; returns its exit code.
pub(crate) async fn interactive(
    runc: &Runc,
    container: &str,
    process: &ProcessSpec,
    mut streams: Streams,
) -> Result<i32, RuntimeError> {
    if process.terminal {
        return on_terminal(runc, container, process, streams).await;
    }
    let mut stdio = Stdio::null()?;
    let mut outputs = Vec::new();
    for (wanted, end) in [
        (streams.stdout.take(), &mut stdio.stdout),
        (streams.stderr.take(), &mut stdio.stderr),
    ] {
        if let Some(client) = wanted {
            let (write, read) = stdio::output()?;
            *end = write;
            outputs.push((read, client));
        }
    }
    let mut input = None;
    if let Some(client) = streams.stdin.take() {
        let (read, write) = stdio::input()?;
        stdio.stdin = read;
        input = Some((client, write));
    }
    let started = runc
        .exec(container, process, Attachment::Streams(stdio))
        .await?;
    let guard = KillOnDrop(started.process);
    let copies: Vec<_> = outputs
        .into_iter()
        .map(|(from, to)| Copy::start(from, to))
        .collect();
    let input = input.map(|(from, to)| Copy::start(from, to));
    let exit = guard.0.wait().await;
    // ends the client's input; a command that does not read all of it is no failure
    drop(input);
    for copy in copies {
        copy.finish().await;
    }
    Ok(exit.code)
}

async fn on_terminal(
    runc: &Runc,
    container: &str,
    process: &ProcessSpec,
    mut streams: Streams,
) -> Result<i32, RuntimeError> {
    let Started { process, terminal } = runc.exec(container, process, Attachment::Terminal).await?;
    let guard = KillOnDrop(process);
    let terminal =
        terminal.ok_or_else(|| RuntimeError::Runc("runc sent no terminal".to_owned()))?;
    let output = streams
        .stdout
        .take()
        .map(|to| Copy::start(terminal.clone(), to));
    let input = streams
        .stdin
        .take()
        .map(|from| Copy::start(from, terminal.clone()));
    let exit = loop {
        tokio::select! {
            exit = guard.0.wait() => break exit,
            Some(size) = streams.resize.recv() => {
                // a terminal that is just closing cannot be resized
                let _ = terminal.resize(size);
            }
        }
    };
    drop(input);
    if let Some(output) = output {
        output.finish().await;
    }
    Ok(exit.code)
}

/// A copying task that ends with this value.
pub(crate) struct Copy(JoinHandle<()>);

impl Copy {
    pub(crate) fn start(
        mut from: impl AsyncRead + Send + Unpin + 'static,
        mut to: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            // either end going away ends the copy, which is all there is to know
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        }))
    }

    async fn finish(mut self) {
        // a panic in the copy would be its own report; a held-open pipe is given up
        let _ = timeout(DRAIN, &mut self.0).await;
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a command printed and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Captured {
    pub code: i32,
    /// Both streams, at most 10 KiB.
    pub output: String,
}

const CAPTURED: u64 = 10 << 10;

/// Runs a command to its end, with a limit.
pub(crate) async fn capture(
    runc: &Runc,
    container: &str,
    process: &ProcessSpec,
    limit: Option<Duration>,
) -> Result<Captured, RuntimeError> {
    let mut stdio = Stdio::null()?;
    let (write, read) = stdio::output()?;
    stdio.stderr = write
        .try_clone()
        .map_err(RuntimeError::io("share a pipe"))?;
    stdio.stdout = write;
    let started = runc
        .exec(container, process, Attachment::Streams(stdio))
        .await?;
    let guard = KillOnDrop(started.process);
    let mut reader = tokio::spawn(async move {
        let mut output = Vec::new();
        let mut read = read;
        // an error ends the output like its end does
        let _ = (&mut read).take(CAPTURED).read_to_end(&mut output).await;
        // more is not kept, but must not block the command
        let _ = tokio::io::copy(&mut read, &mut tokio::io::sink()).await;
        output
    });
    let exit = match limit {
        None => guard.0.wait().await,
        Some(limit) => {
            timeout(limit, guard.0.wait())
                .await
                .map_err(|_| RuntimeError::TimedOut {
                    command: process.args.join(" "),
                    seconds: limit.as_secs(),
                })?
        }
    };
    let output = if let Ok(Ok(output)) = timeout(DRAIN, &mut reader).await {
        output
    } else {
        reader.abort();
        Vec::new()
    };
    Ok(Captured {
        code: exit.code,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}
