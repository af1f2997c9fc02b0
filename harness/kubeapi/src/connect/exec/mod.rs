//! Exec and attach: what a session is, whatever carries its streams.

mod channels;
mod spdy;

use std::sync::Arc;

use http::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::upgrade::{Kind, Request};
use super::websocket::socket;
use crate::body::Body;
use crate::connect::spdy::session::Session as Connection;
use crate::object;
use crate::pods::{ExecExit, ExecOptions, PodConnector, Streams, TerminalSize};
use crate::request::Query;
use crate::server::respond;
use crate::status::Status;

/// Bytes of a stream under way between pod and client.
const PIPE: usize = 64 * 1024;

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

/// Switches the connection to what the client speaks and runs the session there.
pub async fn answer(plan: Plan, request: Request<'_>) -> Response<Body> {
    if request.kind == Kind::WebSocket {
        return match request.agree(&channels::PROTOCOLS) {
            Ok((name, switch)) => switch.start(move |connection| async move {
                let protocol = channels::Protocol::named(name);
                channels::serve(plan, socket(connection).await, protocol).await;
            }),
            Err(refusal) => *refusal,
        };
    }
    let ready = plan
        .connector
        .ready(&plan.namespace, &plan.pod, &plan.options.container);
    if let Err(status) = ready.await {
        return respond::text(status.code, status.message);
    }
    match request.agree(&spdy::PROTOCOLS) {
        Ok((name, switch)) => switch.start(move |connection| async move {
            match Connection::start(connection) {
                Ok(connection) => {
                    spdy::serve(plan, connection, spdy::Protocol::named(name)).await;
                }
                Err(error) => tracing::warn!(%error, "session cannot start"),
            }
        }),
        Err(refusal) => *refusal,
    }
}

/// The client's ends of a session's streams; one that was not asked for is `None`.
pub struct Wires {
    /// Dropping it ends the command's input.
    pub stdin: Option<DuplexStream>,
    pub stdout: Option<DuplexStream>,
    pub stderr: Option<DuplexStream>,
    pub resize: mpsc::Sender<TerminalSize>,
}

impl Plan {
    /// The session, to be driven to its end, and the streams to be carried meanwhile.
    pub fn start(self) -> (impl Future<Output = Result<ExecExit, Status>>, Wires) {
        let (resize_sender, resize) = mpsc::channel(8);
        let (stdin, stdin_reader) = pipe(self.options.stdin);
        let (stdout, stdout_reader) = pipe(self.options.stdout);
        let (stderr, stderr_reader) = pipe(self.options.stderr);
        let streams = Streams {
            stdin: stdin_reader.map(|r| Box::new(r) as Box<dyn AsyncRead + Send + Unpin>),
            stdout: stdout.map(|w| Box::new(w) as Box<dyn AsyncWrite + Send + Unpin>),
            stderr: stderr.map(|w| Box::new(w) as Box<dyn AsyncWrite + Send + Unpin>),
            resize,
        };
        let wires = Wires {
            stdin,
            stdout: stdout_reader,
            stderr: stderr_reader,
            resize: resize_sender,
        };
        (run(self, streams), wires)
    }
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
pub fn report(outcome: Result<ExecExit, Status>) -> Value {
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

/// The same for clients of the first three protocols: only failures are told, and only in words.
pub fn report_text(outcome: Result<ExecExit, Status>) -> String {
    let report = report(outcome);
    object::text(&report, &["message"]).to_owned()
}

/// A size as clients send it.
pub fn size(json: &[u8]) -> Option<TerminalSize> {
    let sides: Value = serde_json::from_slice(json).ok()?;
    let characters =
        |key: &str| object::integer(&sides, &[key]).and_then(|n| u16::try_from(n).ok());
    Some(TerminalSize {
        columns: characters("Width")?,
        rows: characters("Height")?,
    })
}
