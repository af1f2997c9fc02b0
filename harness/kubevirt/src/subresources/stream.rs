//! Bytes between a client's WebSocket and a machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use kubeapi::AsyncReadWrite;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, timeout_at};
use tokio_util::codec::FramedRead;

use super::frames::{self, FrameError, Frames, Received};

/// As much as one message carries at most.
const CHUNK: usize = 32 * 1024;
/// Control frames under way.
const ANSWERS: usize = 8;

/// Whether the server asks if the client is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// With a ping a second; who does not answer for a minute is gone.
    Ping,
    No,
}

const PING: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be sent besides what the machine says.
enum Answer {
    Frame(Vec<u8>),
    /// The last frame.
    End(Vec<u8>),
}

/// Copies until either side ends. When the machine ends, the client's connection ends without a word.
pub async fn run(
    client: Box<dyn AsyncReadWrite>,
    machine: Box<dyn AsyncReadWrite>,
    keep_alive: KeepAlive,
) {
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_machine, to_machine) = tokio::io::split(machine);
    let (answers, waiting) = mpsc::channel(ANSWERS);
    let ended = tokio::select! {
        ended = send(from_machine, &mut to_client, waiting, keep_alive) => ended,
        ended = receive(from_client, to_machine, answers, keep_alive) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "stream between a client and a machine");
    }
    // What has been written arrives before the end does.
    if let Err(error) = to_client.shutdown().await {
        tracing::debug!(%error, "client's connection");
    }
}

async fn next(pings: &mut Option<Interval>) {
    match pings {
        Some(pings) => {
            pings.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// To the client: what the machine says, and what has to be said in between.
async fn send(
    mut machine: impl AsyncRead + Unpin,
    client: &mut (impl AsyncWrite + Unpin),
    mut answers: mpsc::Receiver<Answer>,
    keep_alive: KeepAlive,
) -> std::io::Result<()> {
    let mut pings = (keep_alive == KeepAlive::Ping).then(|| {
        let mut pings = tokio::time::interval_at(Instant::now() + PING, PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings
    });
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        buffer.reserve(CHUNK);
        // In this order: an answer comes before what the machine makes of all that the client sent after its question.
        let frame = tokio::select! {
            biased;
            Some(answer) = answers.recv() => match answer {
                Answer::Frame(frame) => frame,
                Answer::End(frame) => {
                    client.write_all(&frame).await?;
                    return client.flush().await;
                }
            },
            () = next(&mut pings) => frames::ping(b"keep alive"),
            read = machine.read_buf(&mut buffer) => {
                if read? == 0 {
                    return Ok(());
                }
                frames::binary(buffer.split().freeze())
            }
        };
        client.write_all(&frame).await?;
        client.flush().await?;
    }
}

/// To the machine: what the client sends.
async fn receive(
    client: impl AsyncRead + Unpin,
    mut machine: impl AsyncWrite + Unpin,
    answers: mpsc::Sender<Answer>,
    keep_alive: KeepAlive,
) -> std::io::Result<()> {
    let mut client = FramedRead::new(client, Frames::default());
    let mut until = Instant::now() + PATIENCE;
    loop {
        let received = match keep_alive {
            KeepAlive::No => client.next().await,
            KeepAlive::Ping => match timeout_at(until, client.next()).await {
                Ok(received) => received,
                Err(_) => return Err(std::io::ErrorKind::TimedOut.into()),
            },
        };
        let answer = match received {
            Some(Ok(Received::Bytes(bytes))) => {
                write(&mut machine, bytes).await?;
                continue;
            }
            Some(Ok(Received::Pong)) => {
                until = Instant::now() + PATIENCE;
                continue;
            }
            Some(Ok(Received::Ping(payload))) => Answer::Frame(frames::pong(payload)),
            Some(Ok(Received::Close(code))) => Answer::End(frames::close(code)),
            Some(Err(FrameError::Violation(why))) => Answer::End(frames::violation(why)),
            Some(Err(FrameError::Io(error))) => return Err(error),
            None => return Ok(()),
        };
        let last = matches!(answer, Answer::End(_));
        if answers.send(answer).await.is_err() || last {
            // The other direction ends the stream when it has sent that.
            return std::future::pending().await;
        }
    }
}

async fn write(machine: &mut (impl AsyncWrite + Unpin), bytes: Bytes) -> std::io::Result<()> {
    machine.write_all(&bytes).await?;
    machine.flush().await
}
