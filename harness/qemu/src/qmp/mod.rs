//! QMP: commands with their answers in any order, events in between, and open files alongside.

mod send;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::error::{Failure, QmpError};

/// A connection to the monitor of a running QEMU.
#[derive(Debug)]
pub struct Qmp {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    shared: Arc<Mutex<Shared>>,
    reading: JoinHandle<()>,
}

/// Something that QEMU told without having been asked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// `SHUTDOWN`, `STOP`, `RESUME`, `RESET`, `VSERPORT_CHANGE`, …
    #[serde(rename = "event")]
    pub name: String,
    #[serde(default)]
    pub data: Value,
}

/// Every event from the moment of [`Qmp::events`] on, none lost; ends with the connection.
#[derive(Debug)]
pub struct Events(mpsc::UnboundedReceiver<Event>);

impl Events {
    /// Nothing once QEMU is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

type Answer = Result<Value, Failure>;

#[derive(Debug, Default)]
struct Shared {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    listeners: Vec<mpsc::UnboundedSender<Event>>,
    gone: bool,
}

/// A line from QEMU. Greetings are read before.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Event(Event),
    Returned {
        #[serde(rename = "return")]
        value: Value,
        id: u64,
    },
    Refused {
        error: Failure,
        id: u64,
    },
}

impl Qmp {
    /// Takes over a connection to the monitor's socket and leaves its negotiation mode.
    pub async fn connect(stream: UnixStream) -> Result<Self, QmpError> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut greeting = String::new();
        if reader.read_line(&mut greeting).await? == 0 {
            return Err(QmpError::Gone);
        }
        let said: Value = serde_json::from_str(&greeting).unwrap_or_default();
        if said["QMP"].is_null() {
            return Err(QmpError::Greeting(greeting.trim().to_owned()));
        }
        let shared = Arc::<Mutex<Shared>>::default();
        let qmp = Self {
            writer: tokio::sync::Mutex::new(writer),
            reading: tokio::spawn(read(reader, Arc::clone(&shared))),
            shared,
        };
        qmp.run("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    pub fn events(&self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut shared = lock(&self.shared);
        if !shared.gone {
            shared.listeners.push(sender);
        }
        Events(receiver)
    }

    /// Runs a command and reads its answer.
    pub async fn execute<T: DeserializeOwned>(
        &self,
        command: &str,
        arguments: Value,
    ) -> Result<T, QmpError> {
        self.ask(command, arguments, None).await
    }

    /// Runs a command whose answer says nothing.
    pub async fn run(&self, command: &str, arguments: Value) -> Result<(), QmpError> {
        self.ask::<Value>(command, arguments, None).await.map(drop)
    }

    /// Runs a command that takes an open file with it: `getfd`, `add-fd`.
    pub async fn execute_with<T: DeserializeOwned>(
        &self,
        command: &str,
        arguments: Value,
        file: BorrowedFd<'_>,
    ) -> Result<T, QmpError> {
        self.ask(command, arguments, Some(file)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        command: &str,
        arguments: Value,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<T, QmpError> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut shared = lock(&self.shared);
            if shared.gone {
                return Err(QmpError::Gone);
            }
            shared.next += 1;
            let id = shared.next;
            shared.waiting.insert(id, sender);
            id
        };
        let mut line = json!({"execute": command, "arguments": arguments, "id": id}).to_string();
        line.push('\n');
        {
            let writer = self.writer.lock().await;
            send::all(writer.as_ref(), line.as_bytes(), file).await?;
        }
        let answer = receiver.await.map_err(|_| QmpError::Gone)?;
        let value = answer.map_err(|failure| QmpError::Refused {
            command: command.to_owned(),
            failure,
        })?;
        serde_json::from_value(value).map_err(|source| QmpError::Answer {
            command: command.to_owned(),
            source,
        })
    }
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Hands out what QEMU says until it says nothing more.
async fn read(mut reader: BufReader<OwnedReadHalf>, shared: Arc<Mutex<Shared>>) {
    let mut line = String::new();
    while let Ok(1..) = reader.read_line(&mut line).await {
        match serde_json::from_str(&line) {
            Ok(line) => lock(&shared).take(line),
            Err(error) => tracing::warn!(%error, line = line.trim(), "QEMU said something else"),
        }
        line.clear();
    }
    let mut shared = lock(&shared);
    shared.gone = true;
    // Whoever waits learns it from the closed channel.
    shared.waiting.clear();
    shared.listeners.clear();
}

impl Shared {
    fn take(&mut self, line: Line) {
        let (id, answer) = match line {
            Line::Event(event) => {
                self.listeners
                    .retain(|listener| listener.send(event.clone()).is_ok());
                return;
            }
            Line::Returned { value, id } => (id, Ok(value)),
            Line::Refused { error, id } => (id, Err(error)),
        };
        if let Some(sender) = self.waiting.remove(&id) {
            // Whoever asked may have given up.
            let _given_up = sender.send(answer);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic elsewhere leaves the tables usable.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
