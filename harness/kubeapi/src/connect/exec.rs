//! Exec and attach over a WebSocket: channel 0 is stdin, 1 stdout, 2 stderr, 3 the outcome, 4 the terminal's size.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::websocket::{Protocol, Socket};
use crate::object;
use crate::pods::{ExecExit, ExecOptions, PodConnector, Streams, TerminalSize};
use crate::request::Query;
use crate::status::Status;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const OUTCOME: u8 = 3;
const RESIZE: u8 = 4;
/// Version 5: the next byte names the channel that ends.
const CLOSE: u8 = 255;
/// Bytes of a stream under way between pod and client.
const PIPE: usize = 64 * 1024;
/// A client that has not answered the first ping by then gets its output all the same.
const LISTENING_LIMIT: Duration = Duration::from_secs(1);

/// Which of the two sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    Exec,
    Attach,
}

/// A session to be had.
pub struct Plan {
    pub connector: Arc<dyn PodConnector>,
    pub session: Session,
    pub namespace: String,
    pub pod: String,
    pub options: ExecOptions,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("pod", &self.pod)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The options of the query; the container is checked by the caller.
pub fn options(query: &Query, container: String, session: Session) -> Result<ExecOptions, Status> {
    let options = ExecOptions {
        container,
        command: match session {
            Session::Exec => query.all("command").map(str::to_owned).collect(),
            Session::Attach => Vec::new(),
        },
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr") && !query.flag("tty"),
        tty: query.flag("tty"),
    };
    if session == Session::Exec && options.command.is_empty() {
        return Err(Status::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Status::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    Ok(options)
}

/// Runs the session until the command ends or the client goes away.
pub async fn serve(plan: Plan, socket: Socket, protocol: Protocol) {
    let (mut sink, stream) = socket.split();
    let (resize_sender, resize) = mpsc::channel(8);
    let (stdin, stdin_reader) = pipe(plan.options.stdin);
    let (stdout, stdout_reader) = pipe(plan.options.stdout);
    let (stderr, stderr_reader) = pipe(plan.options.stderr);
    let streams = Streams {
        stdin: stdin_reader.map(|r| Box::new(r) as Box<dyn AsyncRead + Send + Unpin>),
        stdout: stdout.map(|w| Box::new(w) as Box<dyn AsyncWrite + Send + Unpin>),
        stderr: stderr.map(|w| Box::new(w) as Box<dyn AsyncWrite + Send + Unpin>),
        resize,
    };
    // Kept until the end, so that the terminal's channel stays open after the input has ended.
    let (messages, outgoing) = mpsc::channel(16);
    let command = run(plan, streams);
    let session = async {
        let (outcome, (), ()) = tokio::join!(
            command,
            forward(stdout_reader, STDOUT, messages.clone()),
            forward(stderr_reader, STDERR, messages.clone()),
        );
        let mut frame = vec![OUTCOME];
        frame.extend_from_slice(report(outcome).to_string().as_bytes());
        let _ = messages.send(Message::binary(frame)).await;
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        let _ = messages.send(Message::Close(Some(close))).await;
        drop(messages);
    };
    let listening = Notify::new();
    let incoming = incoming(stream, stdin, resize_sender, &listening, protocol);
    let write = write(&mut sink, outgoing, &listening);
    tokio::select! {
        // The client is gone: dropping the session ends the command.
        () = incoming => {}
        ((), ()) = async { tokio::join!(session, write) } => {}
    }
    let _ = sink.close().await;
}

fn pipe(wanted: bool) -> (Option<DuplexStream>, Option<DuplexStream>) {
    if wanted {
        let (a, b) = duplex(PIPE);
        (Some(a), Some(b))
    } else {
        (None, None)
    }
}

async fn run(plan: Plan, streams: Streams) -> Result<ExecExit, Status> {
    let Plan {
        connector,
        session,
        namespace,
        pod,
        options,
    } = plan;
    match session {
        Session::Exec => connector.exec(&namespace, &pod, options, streams).await,
        Session::Attach => connector.attach(&namespace, &pod, options, streams).await,
    }
}

/// How the session ended, as clients read it.
fn report(outcome: Result<ExecExit, Status>) -> Value {
    match outcome {
        Ok(ExecExit { code: 0 }) => json!({"metadata": {}, "status": "Success"}),
        Ok(ExecExit { code }) => {
            let mut status = Status::exit_code(code).to_value();
            if let Some(status) = status.as_object_mut() {
                status.shift_remove("code");
            }
            status
        }
        Err(status) => status.to_value(),
    }
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

fn size(json: &[u8]) -> Option<TerminalSize> {
    let sides: Value = serde_json::from_slice(json).ok()?;
    let characters =
        |key: &str| object::integer(&sides, &[key]).and_then(|n| u16::try_from(n).ok());
    Some(TerminalSize {
        columns: characters("Width")?,
        rows: characters("Height")?,
    })
}
