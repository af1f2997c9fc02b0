//! Getting the agent into a container and starting it there.

use bytes::Bytes;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::session::{Pipes, Session};
use crate::{error::api_message, site::AgentDelivery};

/// Larger than kube's 1 KiB: answers with bodies pass in fewer pieces.
const PIPE: usize = 64 * 1024;

/// Writes the program to the first directory that can hold it and prints where. What it reads is counted, because
/// the end of standard input does not reach the container through older servers.
const UPLOAD: &str = r#"for d in /tmp /var/tmp /run /home "$HOME" .; do
if [ -d "$d" ] && [ -w "$d" ]; then f="$d/.trunkline-agent"; head -c "$1" > "$f" && chmod 755 "$f" && echo "$f"; exit; fi
done; echo 'no directory in the container can be written to' >&2; exit 1"#;

/// Starts the agent in a container. The error says in the container's or the API's words why that did not work.
pub(super) async fn start(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    delivery: &AgentDelivery,
) -> Result<Session, String> {
    let program = match delivery {
        AgentDelivery::Present(path) => path.display().to_string(),
        AgentDelivery::Upload(bytes) => upload(pods, pod, container, bytes).await?,
    };
    let mut process = exec(pods, pod, container, vec![program]).await?;
    let pipes = (
        process.stdin(),
        process.stdout(),
        process.stderr(),
        process.take_status(),
    );
    let (Some(stdin), Some(stdout), Some(stderr), Some(status)) = pipes else {
        return Err("the API gave no streams to speak through".into());
    };
    Ok(Session::new(Pipes {
        stdin: Box::new(stdin),
        stdout: Box::new(stdout),
        stderr: Box::new(stderr),
        // The process is held until the end is known: dropping it closes the connection.
        ended: Box::pin(async move {
            let status = status.await;
            drop(process);
            status.and_then(|status| exit_text(&status))
        }),
    }))
}

async fn exec(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    command: Vec<String>,
) -> Result<AttachedProcess, String> {
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
    pods.exec(pod, command, &params)
        .await
        .map_err(|error| api_message(&error))
}

async fn upload(
    pods: &Api<Pod>,
    pod: &str,
    container: Option<&str>,
    program: &Bytes,
) -> Result<String, String> {
    let command = ["sh", "-c", UPLOAD, "sh", &program.len().to_string()]
        .map(str::to_owned)
        .to_vec();
    let mut process = exec(pods, pod, container, command).await?;
    let pipes = (
        process.stdin(),
        process.stdout(),
        process.stderr(),
        process.take_status(),
    );
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr), Some(status)) = pipes else {
        return Err("the API gave no streams to speak through".into());
    };
    let (mut path, mut complaint) = (String::new(), String::new());
    let write = async {
        // The shell may have given up already; then its complaint says more than a broken pipe.
        let _ = stdin.write_all(program).await;
        let _ = stdin.shutdown().await;
    };
    let ((), read, _, status) = tokio::join!(
        write,
        stdout.read_to_string(&mut path),
        stderr.read_to_string(&mut complaint),
        status
    );
    let path = path.trim();
    if read.is_ok() && !path.is_empty() {
        return Ok(path.to_owned());
    }
    let status = status
        .and_then(|status| exit_text(&status))
        .unwrap_or_else(|| "no exit status".into());
    Err(format!("the agent cannot be written into the container, which needs `sh`, `head` and `chmod`: {status} {}", complaint.trim())
        .trim_end()
        .to_owned())
}

/// How a process ended; `None` when it ended well.
fn exit_text(status: &Status) -> Option<String> {
    if status.status.as_deref() == Some("Success") {
        return None;
    }
    let causes = status
        .details
        .as_ref()
        .and_then(|details| details.causes.as_deref())
        .unwrap_or_default();
    let code = causes
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    Some(match code.and_then(|cause| cause.message.as_deref()) {
        Some(code) => format!("exit code {code}"),
        None => status
            .message
            .clone()
            .unwrap_or_else(|| "it failed without a message".into()),
    })
}
