//! The runc command line.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::fs;
use tokio::process::Command;

use super::console::{ConsoleSocket, Terminal};
use super::{Bundle, Process, RuntimeError, Stdio};
use crate::oci::ProcessSpec;

/// Where a container's or a command's streams go.
#[derive(Debug)]
pub(crate) enum Attachment {
    Streams(Stdio),
    Terminal,
}

/// What runc started.
#[derive(Debug)]
pub(crate) struct Started {
    pub process: Process,
    /// For [`Attachment::Terminal`].
    pub terminal: Option<Terminal>,
}

/// The runtime program and its state directory.
#[derive(Debug, Clone)]
pub(crate) struct Runc {
    program: PathBuf,
    root: PathBuf,
    scratch: PathBuf,
}

impl Runc {
    /// `state` is a directory of ours that is empty or does not exist.
    pub(crate) async fn new(program: &Path, state: &Path) -> Result<Self, RuntimeError> {
        let runc = Self {
            program: program.to_owned(),
            root: state.join("runc"),
            scratch: state.join("x"),
        };
        for dir in [&runc.root, &runc.scratch] {
            fs::create_dir_all(dir)
                .await
                .map_err(RuntimeError::io(format!("create {}", dir.display())))?;
        }
        Ok(runc)
    }

    /// Creates and starts a container, and detaches.
    pub(crate) async fn run(
        &self,
        bundle: &Bundle,
        attachment: Attachment,
    ) -> Result<Started, RuntimeError> {
        let mut command = self.command(&bundle.log(), "run");
        command.arg("--detach").arg("--bundle").arg(bundle.path());
        self.launch(
            command,
            &bundle.pid_file(),
            &bundle.log(),
            Some(bundle.id()),
            attachment,
        )
        .await
    }

    /// Starts another process in a running container, and detaches.
    pub(crate) async fn exec(
        &self,
        container: &str,
        process: &ProcessSpec,
        attachment: Attachment,
    ) -> Result<Started, RuntimeError> {
        let scratch = Scratch::new(&self.scratch).await?;
        let spec = scratch.path().join("process.json");
        let json = serde_json::to_vec(process).map_err(|e| RuntimeError::Runc(e.to_string()))?;
        fs::write(&spec, json)
            .await
            .map_err(RuntimeError::io(format!("write {}", spec.display())))?;
        let log = scratch.path().join("log");
        let mut command = self.command(&log, "exec");
        command.arg("--detach").arg("--process").arg(&spec);
        self.launch(
            command,
            &scratch.path().join("pid"),
            &log,
            Some(container),
            attachment,
        )
        .await
    }

    /// Forgets a container that has ended.
    pub(crate) async fn delete(&self, container: &str) -> Result<(), RuntimeError> {
        let log = self.scratch.join("delete.log");
        let output = self
            .command(&log, "delete")
            .arg(container)
            .output()
            .await
            .map_err(RuntimeError::io(format!(
                "start {}",
                self.program.display()
            )))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(RuntimeError::Runc(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            ))
        }
    }

    fn command(&self, log: &Path, verb: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(&self.root)
            // of cgroups only; see `cgroup`
            .arg("--rootless=true")
            .arg("--log")
            .arg(log)
            .arg("--log-format=json")
            .arg(verb)
            .env_clear()
            .kill_on_drop(false);
        command
    }

    async fn launch(
        &self,
        mut command: Command,
        pid_file: &Path,
        log: &Path,
        container: Option<&str>,
        attachment: Attachment,
    ) -> Result<Started, RuntimeError> {
        command.arg("--pid-file").arg(pid_file);
        let socket = match attachment {
            Attachment::Streams(stdio) => {
                command
                    .stdin(stdio.stdin)
                    .stdout(stdio.stdout)
                    .stderr(stdio.stderr);
                None
            }
            Attachment::Terminal => {
                let socket = ConsoleSocket::bind(&self.scratch)?;
                command.arg("--console-socket").arg(socket.path());
                command
                    .stdin(std::process::Stdio::null())
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::null());
                Some(socket)
            }
        };
        command.args(container);
        let mut child = command.spawn().map_err(RuntimeError::io(format!(
            "start {}",
            self.program.display()
        )))?;
        // our copies of the container's ends, or its streams would never end
        drop(command);
        // runc waits for nobody to take the terminal: it lies in the socket's queue
        let status = child
            .wait()
            .await
            .map_err(RuntimeError::io("wait for runc"))?;
        if !status.success() {
            return Err(failure(log).await);
        }
        let terminal = match &socket {
            Some(socket) => Some(socket.receive().await?),
            None => None,
        };
        let pid = fs::read_to_string(pid_file)
            .await
            .map_err(RuntimeError::io(format!("read {}", pid_file.display())))?;
        let pid = pid
            .trim()
            .parse()
            .map_err(|_| RuntimeError::Runc(format!("{pid:?} is no process id")))?;
        Ok(Started {
            process: Process::adopt(pid)?,
            terminal,
        })
    }
}

/// The reason in runc's log, without the `runc run failed: ` before it.
async fn failure(log: &Path) -> RuntimeError {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let text = fs::read_to_string(log).await.unwrap_or_default();
    let message = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .filter(|line| line.level == "error")
        .map(|line| line.msg)
        .next_back()
        .unwrap_or_else(|| "runc failed without a word".to_owned());
    let reason = ["runc run failed: ", "exec failed: "]
        .iter()
        .find_map(|prefix| message.strip_prefix(prefix))
        .unwrap_or(&message);
    RuntimeError::Runc(reason.to_owned())
}

/// A directory for the files of one call, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    async fn new(parent: &Path) -> Result<Self, RuntimeError> {
        let path = parent.join(&crate::refs::new_id()[..16]);
        fs::create_dir(&path)
            .await
            .map_err(RuntimeError::io(format!("create {}", path.display())))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // leftovers on the lab's tmpfs do no harm
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
