//! The process in which the embedded site runs.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::child::report;
use super::control::{Control, ControlSender, write_lines};
use super::error::{Failure, Step};
use super::init::Start;
use super::wire::{Blocking, FromLab, Inherited, ToLab, line};

/// What the server starts with.
#[derive(Debug)]
pub struct ServerContext<FromHost, ToHost> {
    /// Opened on the host, so it accepts what connects there.
    pub listener: TcpListener,
    pub config: serde_json::Value,
    pub control: Control<FromHost, ToHost>,
    /// Cancelled when the lab shall end. The server should return soon after: shutdown is bounded.
    pub shutdown: CancellationToken,
}

const FAILED: i32 = 1;

/// Runs the entry point to its end; returns the exit code.
pub(super) fn run<FromHost, ToHost, Running, E>(
    start: Start,
    entry: impl FnOnce(ServerContext<FromHost, ToHost>) -> Running,
) -> i32
where
    FromHost: DeserializeOwned + Send + 'static,
    ToHost: Serialize + Send + 'static,
    Running: Future<Output = Result<(), E>>,
    E: Display,
{
    let Start {
        mut control,
        inherited,
        config,
    } = start;
    let Inherited { listener, lifeline } = inherited;
    // Only init watches it.
    drop(lifeline);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lab")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&mut control, Failure::io(Step::Runtime, &error, "threads"));
            return FAILED;
        }
    };
    let code = runtime.block_on(serve(control, listener.into(), config.config, entry));
    // Blocking threads may be waiting for something that never comes; the namespace's end stops them.
    runtime.shutdown_background();
    code
}

async fn serve<FromHost, ToHost, Running, E>(
    control: Blocking,
    listener: TcpListener,
    config: serde_json::Value,
    entry: impl FnOnce(ServerContext<FromHost, ToHost>) -> Running,
) -> i32
where
    FromHost: DeserializeOwned + Send + 'static,
    ToHost: Serialize + Send + 'static,
    Running: Future<Output = Result<(), E>>,
    E: Display,
{
    let socket = match announce(control.into_inner()).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!("cannot use the control socket: {error}");
            return FAILED;
        }
    };
    let (reading, writing) = socket.into_split();
    let (lines, queue) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_lines(writing, queue));
    let shutdown = CancellationToken::new();
    let (messages, receiver) = mpsc::unbounded_channel();
    tokio::spawn(read(reading, messages, shutdown.clone()));

    let sender = ControlSender::new(lines.clone(), |message: &ToHost| {
        line(&FromLab::Message(message))
    });
    let outcome = entry(ServerContext {
        listener,
        config,
        control: Control::new(sender, receiver),
        shutdown,
    })
    .await;
    let code = match outcome {
        Ok(()) => 0,
        Err(error) => {
            let error = error.to_string();
            tracing::error!("{error}");
            // Best effort: the exit code says the same.
            if let Ok(line) = line(&FromLab::Ended::<()> { error }) {
                let _ = lines.send(line);
            }
            FAILED
        }
    };
    // What is queued must get out (the empty line is its end); what left-over tasks would still send, need not.
    if lines.send(Vec::new()).is_ok() {
        let _ = writer.await;
    }
    code
}

/// Says that the server runs, before its entry point does: whatever becomes of that, the lab has started.
async fn announce(socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    socket.write_all(&line(&FromLab::Started::<()>)?).await?;
    Ok(socket)
}

/// Hands messages on until the supervisor is gone, which is a request to end as well.
async fn read<FromHost: DeserializeOwned>(
    socket: OwnedReadHalf,
    messages: mpsc::UnboundedSender<FromHost>,
    shutdown: CancellationToken,
) {
    let mut lines = BufReader::new(socket).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        match serde_json::from_str(&text) {
            Ok(ToLab::Message(message)) => {
                // A server that has dropped its receiver does not want any.
                let _ = messages.send(message);
            }
            Ok(ToLab::Shutdown) => shutdown.cancel(),
            Ok(ToLab::Boot(_) | ToLab::IdsMapped) => {}
            Err(error) => tracing::warn!("unreadable message from the supervisor: {error}"),
        }
    }
    shutdown.cancel();
}
