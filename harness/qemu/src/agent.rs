//! The guest agent: one question at a time, and a way back to sense after an answer that never came.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::Failure;

/// How long an agent may think; libvirt gives it as much.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sent before a question whose answer is marked, and sent back before that answer.
const MARK: u8 = 0xff;

#[derive(Debug, Error)]
pub enum AgentError {
    #[error("the guest agent does not answer")]
    Silent,
    #[error("the guest agent's channel is closed")]
    Gone,
    #[error("the guest agent's channel: {0}")]
    Io(#[from] io::Error),
    #[error("the guest agent refused `{command}`: {failure}")]
    Refused { command: String, failure: Failure },
    #[error("the guest agent answered `{command}` with something else than expected: {source}")]
    Answer {
        command: String,
        source: serde_json::Error,
    },
}

/// A connection to the channel on which a guest agent may or may not listen.
#[derive(Debug)]
pub struct GuestAgent(Mutex<Wire>);

#[derive(Debug)]
struct Wire {
    stream: UnixStream,
    buffer: Vec<u8>,
    /// Whether the next thing to be read is the answer to the next question.
    in_step: bool,
    next: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentInfo {
    pub version: String,
    pub supported_commands: Vec<AgentCommand>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentCommand {
    pub name: String,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Interface {
    pub name: String,
    pub hardware_address: Option<String>,
    #[serde(default)]
    pub ip_addresses: Vec<Address>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Address {
    pub ip_address: String,
    pub prefix: u8,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct OsInfo {
    pub id: String,
    pub name: String,
    pub pretty_name: String,
    pub version: String,
    pub version_id: String,
    pub machine: String,
    pub kernel_release: String,
    pub kernel_version: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct User {
    pub user: String,
    pub domain: Option<String>,
    /// Seconds since 1970.
    pub login_time: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Filesystem {
    /// The device's name, such as `vda1`.
    pub name: String,
    pub mountpoint: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub used_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    #[serde(default)]
    pub disk: Vec<DiskAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskAddress {
    pub bus_type: String,
    pub serial: Option<String>,
    pub dev: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Timezone {
    pub zone: Option<String>,
    /// Seconds east of UTC.
    pub offset: i64,
}

/// How a guest is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    PowerDown,
    Reboot,
    Halt,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Returned {
        #[serde(rename = "return")]
        value: Value,
    },
    Refused {
        error: Failure,
    },
}

impl GuestAgent {
    /// Nothing is said yet, and nobody may be there.
    pub fn new(stream: UnixStream) -> Self {
        Self(Mutex::new(Wire {
            stream,
            buffer: Vec::new(),
            in_step: false,
            next: 0,
        }))
    }

    pub async fn info(&self) -> Result<AgentInfo, AgentError> {
        self.ask("guest-info").await
    }

    pub async fn interfaces(&self) -> Result<Vec<Interface>, AgentError> {
        self.ask("guest-network-get-interfaces").await
    }

    pub async fn os(&self) -> Result<OsInfo, AgentError> {
        self.ask("guest-get-osinfo").await
    }

    pub async fn users(&self) -> Result<Vec<User>, AgentError> {
        self.ask("guest-get-users").await
    }

    pub async fn filesystems(&self) -> Result<Vec<Filesystem>, AgentError> {
        self.ask("guest-get-fsinfo").await
    }

    pub async fn timezone(&self) -> Result<Timezone, AgentError> {
        self.ask("guest-get-timezone").await
    }

    pub async fn hostname(&self) -> Result<String, AgentError> {
        #[derive(Deserialize)]
        struct Name {
            #[serde(rename = "host-name")]
            name: String,
        }
        self.ask::<Name>("guest-get-host-name")
            .await
            .map(|name| name.name)
    }

    /// `thawed` or `frozen`.
    pub async fn freeze_status(&self) -> Result<String, AgentError> {
        self.ask("guest-fsfreeze-status").await
    }

    /// How many file systems were frozen.
    pub async fn freeze(&self) -> Result<u64, AgentError> {
        self.ask("guest-fsfreeze-freeze").await
    }

    /// How many file systems were thawed.
    pub async fn thaw(&self) -> Result<u64, AgentError> {
        self.ask("guest-fsfreeze-thaw").await
    }

    /// Returns when the agent was told; it says nothing when it obeys.
    pub async fn shutdown(&self, how: Shutdown) -> Result<(), AgentError> {
        let mode = match how {
            Shutdown::PowerDown => "powerdown",
            Shutdown::Reboot => "reboot",
            Shutdown::Halt => "halt",
        };
        let mut wire = self.0.lock().await;
        wire.get_in_step().await?;
        wire.in_step = false;
        wire.send(&question("guest-shutdown", &json!({"mode": mode})), false)
            .await
    }

    /// Any command, with whatever it answers.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value, AgentError> {
        let mut wire = self.0.lock().await;
        wire.get_in_step().await?;
        // Unless the answer is read to its end, the next question must look for its own.
        wire.in_step = false;
        wire.send(&question(command, &arguments), false).await?;
        let line = within(wire.line()).await?;
        wire.in_step = true;
        let unexpected = |source| AgentError::Answer {
            command: command.to_owned(),
            source,
        };
        match serde_json::from_slice(&line).map_err(unexpected)? {
            Answer::Returned { value } => Ok(value),
            Answer::Refused { error } => Err(AgentError::Refused {
                command: command.to_owned(),
                failure: error,
            }),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, command: &str) -> Result<T, AgentError> {
        let value = self.execute(command, json!({})).await?;
        serde_json::from_value(value).map_err(|source| AgentError::Answer {
            command: command.to_owned(),
            source,
        })
    }
}

fn question(command: &str, arguments: &Value) -> Value {
    json!({"execute": command, "arguments": arguments})
}

async fn within<T>(answer: impl Future<Output = Result<T, AgentError>>) -> Result<T, AgentError> {
    timeout(PATIENCE, answer)
        .await
        .unwrap_or(Err(AgentError::Silent))
}

impl Wire {
    /// Makes sure that what is read next is not the late answer to an old question.
    async fn get_in_step(&mut self) -> Result<(), AgentError> {
        if self.in_step {
            return Ok(());
        }
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        let question = question("guest-sync-delimited", &json!({"id": id}));
        self.send(&question, true).await?;
        within(async {
            loop {
                self.until(MARK).await?;
                let line = self.line().await?;
                let answer: Value = serde_json::from_slice(&line).unwrap_or_default();
                if answer["return"].as_u64() == Some(u64::from(id)) {
                    return Ok(());
                }
            }
        })
        .await?;
        self.in_step = true;
        Ok(())
    }

    async fn send(&mut self, question: &Value, marked: bool) -> Result<(), AgentError> {
        let mut bytes = Vec::new();
        if marked {
            // Ends whatever half of a question the agent may still be reading.
            bytes.push(MARK);
        }
        bytes.extend(question.to_string().bytes());
        bytes.push(b'\n');
        within(async { Ok(self.stream.write_all(&bytes).await?) }).await
    }

    async fn line(&mut self) -> Result<Vec<u8>, AgentError> {
        self.until(b'\n').await
    }

    /// Everything before the next `end`, which is taken too.
    async fn until(&mut self, end: u8) -> Result<Vec<u8>, AgentError> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == end) {
                let mut taken: Vec<_> = self.buffer.drain(..=at).collect();
                taken.pop();
                return Ok(taken);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(AgentError::Gone);
            }
        }
    }
}
