//! Programs that do one thing and end: kind and helm.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::Path,
    sync::Arc,
};

use duct::ReaderHandle;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::state::Lock;
use crate::docker::{Provider, last_lines};

#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("cannot run `{program}`; is it installed?")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{command}` failed ({status}):\n{output}")]
    Failed {
        command: String,
        status: String,
        output: String,
    },
}

/// A call of kind or helm.
pub(super) struct Tool<'a> {
    program: &'a str,
    arguments: Vec<String>,
    environment: Vec<(&'a str, String)>,
}

impl<'a> Tool<'a> {
    pub(super) fn new(program: &'a str) -> Self {
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// kind, told which provider to use.
    pub(super) fn kind(provider: Provider) -> Self {
        let mut tool = Self::new("kind");
        let name = provider.as_str().to_owned();
        tool.environment.push(("KIND_EXPERIMENTAL_PROVIDER", name));
        tool
    }

    pub(super) fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn path(self, path: &Path) -> Self {
        self.arg(path.display().to_string())
    }

    /// Runs it to its end, giving each line as it comes. Dropping the future ends the program and all it started.
    /// The program holds `lock` as long as it lives, also when we do not.
    pub(super) async fn run(
        self,
        lock: &Lock,
        mut line: impl FnMut(&str),
    ) -> Result<(), ToolError> {
        let command = format!("{} {}", self.program, self.arguments.join(" "));
        let start = |source| ToolError::Start {
            program: self.program.to_owned(),
            source,
        };
        let mut expression = duct::cmd(self.program, &self.arguments)
            // The user's own configuration is none of its business.
            .env_remove("KUBECONFIG")
            .stdin_null()
            .stderr_to_stdout()
            .unchecked()
            // A group of its own: Ctrl-C reaches us, and we end the whole group.
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
        for (name, value) in &self.environment {
            expression = expression.env(name, value);
        }
        let reader = {
            let _inherited = Inherited::new(lock);
            expression.reader().map_err(start)?
        };
        let running = Running(Arc::new(reader));
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        let handle = Arc::clone(&running.0);
        let reading = tokio::task::spawn_blocking(move || {
            for text in BufReader::new(&*handle).lines().map_while(Result::ok) {
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let mut output = String::new();
        while let Some(text) = lines.recv().await {
            line(&text);
            output.push_str(&text);
            output.push('\n');
        }
        // The reader has seen the end; what remains is how the program ended.
        let _ = reading.await;
        let status = running.0.try_wait().ok().flatten();
        let status = status.map(|output| output.status);
        if status.is_some_and(|status| status.success()) {
            return Ok(());
        }
        Err(ToolError::Failed {
            command,
            status: status.map_or("no status".to_owned(), |status| status.to_string()),
            output: last_lines(output.trim(), 30),
        })
    }
}

/// Ends the program and what it started when nobody waits for it any more.
struct Running(Arc<ReaderHandle>);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        for id in self.0.pids() {
            end_group(id);
        }
    }
}

/// The program first, so that it starts nothing more. A `docker run` is left to finish: the daemon goes on with a
/// container that nobody waits for, and brings one back that is removed meanwhile. It holds the lock until it is done.
fn end_group(leader: u32) {
    let end = |id: u32| {
        if let Ok(id) = i32::try_from(id) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    };
    end(leader);
    for id in processes() {
        if id != leader && group_of(id) == Some(leader) && !creates_a_container(id) {
            end(id);
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The third field after the program's name, which stands in brackets and may hold anything.
fn group_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(2)?.parse().ok()
}

fn creates_a_container(id: u32) -> bool {
    let command = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).nth(1) == Some(b"run")
}

/// While it lives, programs that are started inherit the lock's file.
struct Inherited<'a>(&'a Lock);

impl<'a> Inherited<'a> {
    fn new(lock: &'a Lock) -> Self {
        let _ = fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()));
        Self(lock)
    }
}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        let _ = fcntl(self.0, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}
