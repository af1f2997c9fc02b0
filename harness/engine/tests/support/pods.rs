//! Containers that are child processes of the test.

use std::{path::PathBuf, process::Stdio};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use kubeapi::{AsyncReadWrite, ExecExit, ExecOptions, LogOptions, PodConnector, Status, Streams};
use tokio::process::Command;

/// The name of pods without a shell.
pub const BARE: &str = "bare";

/// Runs every command on this machine, the agent in place of [`super::AGENT`].
pub struct Children {
    agent: PathBuf,
    /// Stands for the `/tmp` of the container.
    tmp: tempfile::TempDir,
}

impl Children {
    pub fn new(agent: PathBuf) -> Self {
        Self {
            agent,
            tmp: tempfile::tempdir().unwrap(),
        }
    }
}

#[async_trait]
impl PodConnector for Children {
    async fn exec(
        &self,
        _: &str,
        pod: &str,
        opts: ExecOptions,
        mut streams: Streams,
    ) -> Result<ExecExit, Status> {
        let tmp = self.tmp.path().join(pod);
        std::fs::create_dir_all(&tmp).unwrap();
        let inside = |word: &String| word.replace("/tmp", &tmp.display().to_string());
        let container = opts.container.clone();
        let beside = container.starts_with("trunkline-agent-");
        let mut words = opts.command.iter().map(inside);
        let program = words.next().unwrap_or_default();
        // An image with nothing in it but a server, and one that holds the agent.
        if (pod == BARE && program == "sh" && !beside) || (beside && program != super::AGENT) {
            return Err(Status::internal(&format!(
                "exec: \"{program}\": executable file not found in $PATH"
            )));
        }
        let program = if program == super::AGENT {
            self.agent.clone()
        } else {
            PathBuf::from(program)
        };
        let mut child = Command::new(&program)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Status::internal(&format!("{}: {error}", program.display())))?;
        let (mut stdin, mut stdout, mut stderr) = (
            child.stdin.take().unwrap(),
            child.stdout.take().unwrap(),
            child.stderr.take().unwrap(),
        );
        let feed = tokio::spawn(async move {
            if let Some(mut from) = streams.stdin.take() {
                let _ = tokio::io::copy(&mut from, &mut stdin).await;
            }
        });
        let (mut to_stdout, mut to_stderr) = (streams.stdout.take(), streams.stderr.take());
        let out = async {
            if let Some(to) = &mut to_stdout {
                let _ = tokio::io::copy(&mut stdout, to).await;
            }
        };
        let err = async {
            if let Some(to) = &mut to_stderr {
                let _ = tokio::io::copy(&mut stderr, to).await;
            }
        };
        tokio::join!(out, err);
        let status = child
            .wait()
            .await
            .map_err(|error| Status::internal(&error.to_string()))?;
        feed.abort();
        Ok(ExecExit {
            code: status.code().unwrap_or(137),
        })
    }

    async fn attach(
        &self,
        _: &str,
        _: &str,
        _: ExecOptions,
        _: Streams,
    ) -> Result<ExecExit, Status> {
        Err(Status::internal("no attach in this test"))
    }

    async fn logs(
        &self,
        _: &str,
        _: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        Err(Status::internal("no logs in this test"))
    }

    async fn port_forward(
        &self,
        _: &str,
        _: &str,
        _: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        Err(Status::internal("no ports in this test"))
    }
}
