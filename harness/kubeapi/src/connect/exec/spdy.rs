//! Exec and attach over SPDY: a stream for each of stdin, stdout, stderr, the outcome and the terminal's sizes, which the
//! client opens.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, copy};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Plan, report, report_text, size};
use crate::connect::spdy::session::Session;
use crate::connect::spdy::stream::Stream;
use crate::pods::TerminalSize;

/// A client that has not opened its streams by then has gone.
const OPENING: Duration = Duration::from_secs(30);

/// What differs between the versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// Whether terminals have sizes.
    resizes: bool,
    /// Whether the outcome is told as a Status; otherwise failures are told in words.
    status: bool,
}

/// The names of the protocols.
pub const PROTOCOLS: [&str; 4] = [
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

impl Protocol {
    pub fn named(name: &str) -> Self {
        Self {
            resizes: matches!(name, "v4.channel.k8s.io" | "v3.channel.k8s.io"),
            status: name == "v4.channel.k8s.io",
        }
    }
}

/// Runs the session until the command ends or the client goes away.
pub async fn serve(plan: Plan, mut connection: Session, protocol: Protocol) {
    let options = &plan.options;
    let expected = [
        true,
        options.stdin,
        options.stdout,
        options.stderr,
        options.tty && protocol.resizes,
    ];
    let expected = expected.into_iter().filter(|wanted| *wanted).count();
    let opening = streams(&mut connection, expected);
    let Ok(Some(mut streams)) = timeout(OPENING, opening).await else {
        return;
    };
    let Some(mut outcome_stream) = streams.remove("error") else {
        return;
    };
    let (command, wires) = plan.start();
    let input = input(wires.stdin, streams.remove("stdin"));
    let sizes = sizes(wires.resize, streams.remove("resize"));
    let session = async {
        tokio::join!(
            command,
            output(wires.stdout, streams.remove("stdout")),
            output(wires.stderr, streams.remove("stderr")),
        )
    };
    let (outcome, (), ()) = tokio::select! {
        ended = session => ended,
        // The client is gone: dropping the session ends the command.
        () = gone(&mut connection) => return,
        // The input's end is not the session's.
        ((), (), ()) = async { tokio::join!(input, sizes, std::future::pending()) } => return,
    };
    let report = if protocol.status {
        report(outcome).to_string()
    } else {
        report_text(outcome)
    };
    // A client that has gone needs no report.
    let _ = outcome_stream.write_all(report.as_bytes()).await;
    let _ = outcome_stream.shutdown().await;
    connection.close().await;
}

/// The streams the client opens, by their kind, once it has opened as many as its options promise.
async fn streams(connection: &mut Session, expected: usize) -> Option<HashMap<String, Stream>> {
    let mut streams = HashMap::new();
    while streams.len() < expected {
        let mut stream = connection.next().await?;
        let kind = stream.header("streamtype").unwrap_or_default().to_owned();
        stream.accept().await.ok()?;
        streams.insert(kind, stream);
    }
    Some(streams)
}

/// Waits until the client has hung up; streams beyond those of the session are refused.
async fn gone(connection: &mut Session) {
    while let Some(stream) = connection.next().await {
        if stream.refuse().await.is_err() {
            return;
        }
    }
}

async fn output(from: Option<DuplexStream>, to: Option<Stream>) {
    if let (Some(mut from), Some(mut to)) = (from, to)
        && copy(&mut from, &mut to).await.is_ok()
    {
        let _ = to.shutdown().await;
    }
}

async fn input(to: Option<DuplexStream>, from: Option<Stream>) {
    if let (Some(mut to), Some(mut from)) = (to, from) {
        // Either end going away ends the copy; dropping the pipe ends the command's input.
        let _ = copy(&mut from, &mut to).await;
    }
}

/// Sizes come as a line of JSON each. The channel stays open after the client's last one.
async fn sizes(resize: mpsc::Sender<TerminalSize>, from: Option<Stream>) {
    if let Some(from) = from {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(size) = size(line.as_bytes()) {
                // A full channel has newer sizes than the command has looked at.
                let _ = resize.try_send(size);
            }
        }
    }
    std::future::pending::<()>().await;
}
