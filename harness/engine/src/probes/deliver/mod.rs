//! Getting the agent to where probes start, and starting it there.
//!
//! It is in the container already, or it is written into it; and where a container has nothing to write it with, it
//! stands in an ephemeral container beside it, which has the same network.

mod beside;
mod direct;
mod upload;

use std::{convert::Infallible, pin::pin};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use trunkline_guest::protocol::{Probe, Response};

use super::{
    Place,
    session::{Gone, Pipes, Session},
};
use crate::{error::api_message, site::AgentDelivery};

/// Larger than kube's 1 KiB: answers with bodies pass in fewer pieces.
const PIPE: usize = 64 * 1024;

/// An agent that answers for a container.
pub(super) struct Channel {
    session: Session,
    /// It runs beside the container: what concerns the container itself and not its network is asked otherwise.
    beside: Option<(Api<Pod>, Place)>,
}

impl Channel {
    pub async fn ask(&self, probe: Probe) -> Result<Response, Gone> {
        match (&self.beside, probe) {
            (Some((pods, place)), Probe::Exec(exec)) => Ok(direct::run(pods, place, exec).await),
            (_, probe) => self.session.ask(probe).await,
        }
    }

    pub fn is_gone(&self) -> bool {
        self.session.is_gone()
    }
}

/// Starts the agent for a container. The error says in the container's or the API's words why that did not work, for
/// everything that was tried.
pub(super) async fn start(
    pods: &Api<Pod>,
    place: &Place,
    delivery: &AgentDelivery,
) -> Result<Channel, String> {
    let container = place.container.as_deref();
    let upload = match delivery {
        AgentDelivery::Present(path) => {
            return Ok(Channel {
                session: run(pods, &place.pod, container, path.display().to_string()).await?,
                beside: None,
            });
        }
        AgentDelivery::Upload(upload) => upload,
    };
    let refused = match upload::write(pods, &place.pod, container, &upload.program).await {
        Ok(path) => {
            return Ok(Channel {
                session: run(pods, &place.pod, container, path).await?,
                beside: None,
            });
        }
        Err(refused) => refused,
    };
    let Some(helper) = &upload.helper else {
        return Err(format!(
            "{refused}; there is no image for an ephemeral container beside it"
        ));
    };
    let beside = beside::start(pods, place, upload, helper).await;
    Ok(Channel {
        session: beside.map_err(|why| {
            format!(
                "{refused}; an ephemeral container of {} beside it: {why}",
                helper.reference
            )
        })?,
        beside: Some((pods.clone(), place.clone())),
    })
}

/// Runs the agent that lies at a path.
async fn run(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    program: String,
) -> Result<Session, String> {
    let Process {
        stdin,
        stdout,
        stderr,
        ended,
    } = exec(pods, pod, container, vec![program]).await?;
    Ok(Session::new(Pipes {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        ended: Box::pin(async move { exit_text(&ended.await?) }),
    }))
}

/// A program in a container.
struct Process<I, O, E, S> {
    stdin: I,
    stdout: O,
    stderr: E,
    /// The API's word about its end, which may never come.
    ended: S,
}

/// What a program left behind.
struct Finished {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// Absent when the connection broke before the API had told.
    status: Option<Status>,
}

/// How much of each stream is kept.
const KEPT: usize = 1 << 20;

impl<I, O, E, S> Process<I, O, E, S>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
    S: Future<Output = Option<Status>>,
{
    /// Gives the program its input and sees it to its end.
    async fn finish(self, input: &[u8]) -> Finished {
        let Self {
            mut stdin,
            stdout,
            stderr,
            ended,
        } = self;
        let feed = async {
            // A program need not read all of it.
            let _ = stdin.write_all(input).await;
            let _ = stdin.shutdown().await;
            std::future::pending::<Infallible>().await
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let finish = async {
            let mut reading =
                pin!(async { tokio::join!(keep(stdout, &mut out), keep(stderr, &mut err)) });
            let mut ended = pin!(ended);
            // kube closes its pipes once it has the status, and not at all when the connection breaks.
            tokio::select! {
                _ = &mut reading => ended.await,
                status = &mut ended => {
                    if status.is_some() {
                        reading.await;
                    }
                    status
                }
            }
        };
        // What nobody reads any more would be written for ever: kube's pipes do not tell a writer that their reader is gone.
        let status = tokio::select! {
            status = finish => status,
            never = feed => match never {},
        };
        Finished {
            stdout: out,
            stderr: err,
            status,
        }
    }
}

/// The beginning of a stream; the rest is read and forgotten, so that the program is not held up.
async fn keep(mut stream: impl AsyncRead + Unpin, into: &mut Vec<u8>) {
    // A stream that breaks ends: that it broke shows in the status.
    let _ = (&mut stream).take(KEPT as u64).read_to_end(into).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

async fn exec(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    command: Vec<String>,
) -> Result<
    Process<
        impl AsyncWrite + Send + Unpin + use<>,
        impl AsyncRead + Send + Unpin + use<>,
        impl AsyncRead + Send + Unpin + use<>,
        impl Future<Output = Option<Status>> + Send + use<>,
    >,
    String,
> {
    let mut params = AttachParams::default()
        .stdin(true)
        .stdout(true)
        .stderr(true)
        .max_stdin_buf_size(PIPE)
        .max_stdout_buf_size(PIPE)
        .max_stderr_buf_size(PIPE);
    if let Some(container) = container {
        params = params.container(container);
    }
    let mut process: AttachedProcess = pods
        .exec(pod, command, &params)
        .await
        .map_err(|error| api_message(&error))?;
    let pipes = (
        process.stdin(),
        process.stdout(),
        process.stderr(),
        process.take_status(),
    );
    let (Some(stdin), Some(stdout), Some(stderr), Some(status)) = pipes else {
        return Err("the API gave no streams to speak through".into());
    };
    Ok(Process {
        stdin,
        stdout,
        stderr,
        // The process is held until the end is known: dropping it closes the connection.
        ended: async move {
            let status = status.await;
            drop(process);
            status
        },
    })
}

/// The exit code a status tells; `None` when the program did not even run.
fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref()?.causes.as_deref()?;
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    code.message.as_deref()?.parse().ok()
}

/// How a process ended; `None` when it ended well.
fn exit_text(status: &Status) -> Option<String> {
    match exit_code(status) {
        Some(0) => None,
        Some(code) => Some(format!("exit code {code}")),
        None => Some(
            status
                .message
                .clone()
                .unwrap_or_else(|| "it failed without a message".into()),
        ),
    }
}
