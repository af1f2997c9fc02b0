//! Commands inside a container.

use std::fmt;

use bollard::{
    container::LogOutput,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
};
use futures::TryStreamExt;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Docker, DockerError};

/// What a command reads.
pub enum Stdin {
    Nothing,
    Text(String),
    Reader(Box<dyn AsyncRead + Send + Unpin>),
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Text(_) => "Text",
            Self::Reader(_) => "Reader",
        })
    }
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub code: i64,
    pub stdout: String,
    pub stderr: String,
}

impl Docker {
    /// Runs a command in a container, whatever its exit code.
    pub async fn run(
        &self,
        container: &str,
        command: &[&str],
        environment: &[String],
        stdin: Stdin,
    ) -> Result<Ran, DockerError> {
        let what = || format!("run `{}` in {container}", command.join(" "));
        let options = CreateExecOptions {
            attach_stdin: Some(!matches!(stdin, Stdin::Nothing)),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            env: Some(environment.to_vec()),
            cmd: Some(command.iter().map(ToString::to_string).collect()),
            ..CreateExecOptions::default()
        };
        let created = self
            .client
            .create_exec(container, options)
            .await
            .map_err(DockerError::doing(what))?;
        let started = self
            .client
            .start_exec(&created.id, None::<StartExecOptions>)
            .await
            .map_err(DockerError::doing(what))?;
        let StartExecResults::Attached { mut output, input } = started else {
            unreachable!("only an exec that was started detached is not attached")
        };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        // Both at once: a command that writes before it has read everything would block the writer.
        let reading = async {
            while let Some(chunk) = output.try_next().await.map_err(DockerError::doing(what))? {
                match chunk {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    other => stdout.extend_from_slice(&other.into_bytes()),
                }
            }
            Ok(())
        };
        let (written, read) = tokio::join!(feed(container, stdin, input), reading);
        read?;
        let code = self
            .client
            .inspect_exec(&created.id)
            .await
            .map_err(DockerError::doing(what))?
            .exit_code
            .unwrap_or(-1);
        // A command that ends early does not read the rest; its exit code says more than the broken pipe.
        if code == 0 {
            written?;
        }
        Ok(Ran {
            code,
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed; gives its standard output.
    pub async fn must_run(
        &self,
        container: &str,
        command: &[&str],
        environment: &[String],
        stdin: Stdin,
    ) -> Result<String, DockerError> {
        let ran = self.run(container, command, environment, stdin).await?;
        if ran.code == 0 {
            return Ok(ran.stdout);
        }
        let said = [ran.stderr.trim(), ran.stdout.trim()].join("\n");
        Err(DockerError::Failed {
            container: container.to_owned(),
            command: command.join(" "),
            code: ran.code,
            output: last_lines(said.trim(), 12),
        })
    }
}

async fn feed(
    container: &str,
    stdin: Stdin,
    mut input: impl AsyncWrite + Unpin,
) -> Result<(), DockerError> {
    let written = match stdin {
        Stdin::Nothing => return Ok(()),
        Stdin::Text(text) => input.write_all(text.as_bytes()).await,
        Stdin::Reader(mut reader) => tokio::io::copy(&mut reader, &mut input).await.map(drop),
    };
    // The command sees the end of its input whether or not all of it came.
    let closed = input.shutdown().await;
    written.and(closed).map_err(|source| DockerError::Stdin {
        container: container.to_owned(),
        source,
    })
}

pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
