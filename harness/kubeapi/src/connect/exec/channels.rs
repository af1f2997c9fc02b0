//! Exec and attach over a WebSocket: channel 0 is stdin, 1 stdout, 2 stderr, 3 the outcome, 4 the terminal's size.

use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{Plan, Wires, report, report_text, size};
use crate::connect::websocket::Socket;
use crate::pods::TerminalSize;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the next byte names the channel that ends.
const CLOSE: u8 = 255;
/// A client that has not answered the first ping by then gets its output all the same.
const LISTENING_LIMIT: Duration = Duration::from_secs(1);

/// How streams share a WebSocket: the first byte of a message is its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Tells failures in words.
    V1,
    /// Tells the outcome as a Status.
    V4,
    /// Also says when a channel's input ends.
    V5,
}

/// The names of the protocols. Who offers none speaks the first.
pub const PROTOCOLS: [&str; 4] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "channel.k8s.io",
    "",
];

impl Protocol {
    pub fn named(name: &str) -> Self {
        match name {
            "v5.channel.k8s.io" => Self::V5,
            "v4.channel.k8s.io" => Self::V4,
            _ => Self::V1,
        }
    }
}

/// Runs the session until the command ends or the client goes away.
pub async fn serve(plan: Plan, socket: Socket, protocol: Protocol) {
    let (mut sink, stream) = socket.split();
    let (command, wires) = plan.start();
    let Wires {
        stdin,
        stdout,
        stderr,
        resize,
    } = wires;
    // Kept until the end, so that the terminal's channel stays open after the input has ended.
    let (messages, outgoing) = mpsc::channel(16);
    let session = async {
        let (outcome, (), ()) = tokio::join!(
            command,
            forward(stdout, STDOUT, messages.clone()),
            forward(stderr, STDERR, messages.clone()),
        );
        let report = match protocol {
            Protocol::V1 => report_text(outcome),
            Protocol::V4 | Protocol::V5 => report(outcome).to_string(),
        };
        let mut frame = vec![OUTCOME];
        frame.extend_from_slice(report.as_bytes());
        if frame.len() > 1 {
            let _ = messages.send(Message::binary(frame)).await;
        }
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = messages.send(Message::Close(Some(close))).await;
        drop(messages);
    };
    let listening = Notify::new();
    let incoming = incoming(stream, stdin, resize, &listening, protocol);
    let write = write(&mut sink, outgoing, &listening);
    tokio::select! {
        // The client is gone: dropping the session ends the command.
        () = incoming => {}
        ((), ()) = async { tokio::join!(session, write) } => {}
    }
    let _ = sink.close().await;
}

/// A stream of the pod as messages of a channel.
async fn forward(stream: Option<DuplexStream>, channel: u8, messages: mpsc::Sender<Message>) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        let mut frame = Vec::with_capacity(count + 1);
        frame.push(channel);
        frame.extend_from_slice(&buffer[..count]);
        if messages.send(Message::binary(frame)).await.is_err() {
            return;
        }
    }
}

/// Sends messages, the first one when the client listens: kubectl before 1.34 drops what arrives before it has made its
/// channels, an exit code for example (kubernetes/kubernetes#131203). Whoever answers a ping has made them.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    mut outgoing: mpsc::Receiver<Message>,
    listening: &Notify,
) {
    if sink.send(Message::Ping(Vec::new().into())).await.is_err() {
        return;
    }
    let _ = timeout(LISTENING_LIMIT, listening.notified()).await;
    while let Some(message) = outgoing.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// Messages of the client, until it goes away.
async fn incoming(
    mut stream: SplitStream<Socket>,
    mut stdin: Option<DuplexStream>,
    resize: mpsc::Sender<TerminalSize>,
    listening: &Notify,
    protocol: Protocol,
) {
    while let Some(Ok(message)) = stream.next().await {
        listening.notify_one();
        let data = match message {
            Message::Binary(data) => data,
            Message::Text(text) => text.into(),
            Message::Close(_) => return,
            _ => continue,
        };
        match data.first() {
            Some(&STDIN) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(&data[1..]).await.is_err()
                {
                    // The command reads no more; what still comes is dropped.
                    stdin = None;
                }
            }
            Some(&RESIZE) => {
                if let Some(size) = size(&data[1..]) {
                    // A full channel has newer sizes than the command has looked at.
                    let _ = resize.try_send(size);
                }
            }
            Some(&CLOSE) if protocol == Protocol::V5 && data.get(1) == Some(&STDIN) => stdin = None,
            _ => {}
        }
    }
}
