//! The handle that everybody holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::Framed;

use crate::connection::{Command, Connection, Stream};
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::outcome::Outcome;
use crate::replica::{Feed, Replica};
use crate::rpc::{self, JsonCodec, Message};
use crate::schema::DatabaseSchema;
use crate::transaction::Transaction;

/// A connection to one database of one server. Clones share it. It lives as long as a clone or a
/// [`Replica`] does.
#[derive(Debug, Clone)]
pub struct Client {
    path: Arc<Path>,
    schema: Arc<DatabaseSchema>,
    commands: mpsc::UnboundedSender<Command>,
    monitors: Arc<AtomicU64>,
}

impl Client {
    /// Connects to a server that listens already.
    pub async fn connect(path: impl Into<PathBuf>, database: &str) -> Result<Client> {
        let path = path.into();
        let socket = UnixStream::connect(&path)
            .await
            .map_err(|source| Error::Connect {
                path: path.clone(),
                source,
            })?;
        let mut stream = Framed::new(socket, JsonCodec::default());
        let schema = Arc::new(fetch_schema(&mut stream, &path, database).await?);
        let (commands, queue) = mpsc::unbounded_channel();
        let connection = Connection::new(path.clone(), schema.clone(), queue);
        tokio::spawn(connection.run(stream));
        Ok(Client {
            path: path.into(),
            schema,
            commands,
            monitors: Arc::default(),
        })
    }

    /// Connects to a server that is just being started: tries again while the socket is missing
    /// or refuses, at most so long.
    pub async fn connect_within(
        path: impl Into<PathBuf>,
        database: &str,
        limit: Duration,
    ) -> Result<Client> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound};
        let path = path.into();
        let deadline = tokio::time::Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            match Client::connect(&path, database).await {
                Err(Error::Connect { source, .. })
                    if matches!(source.kind(), NotFound | ConnectionRefused)
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                result => return result,
            }
        }
    }

    /// The schema as the server published it.
    pub fn schema(&self) -> &Arc<DatabaseSchema> {
        &self.schema
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs the operations as one transaction. Nothing is sent when a value does not fit the
    /// schema. An empty transaction does nothing.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome> {
        if transaction.is_empty() {
            return Ok(Outcome::default());
        }
        let params = transaction.encode(&self.schema)?;
        let answer = self.call("transact", params).await?;
        Outcome::decode(&self.schema, &transaction.expectations(), &answer)
    }

    /// Starts a copy of what is asked for and returns when it is complete.
    pub async fn monitor(&self, monitor: Monitor) -> Result<Replica> {
        let id = self.monitors.fetch_add(1, Ordering::Relaxed);
        let feed = Feed::new();
        let replica = Replica::new(&feed, id, self.commands.clone());
        let (ready, is_ready) = oneshot::channel();
        self.send(Command::Monitor {
            id,
            requests: monitor.encode(&self.schema)?,
            selected: monitor.resolve(&self.schema)?,
            feed,
            ready,
        })?;
        is_ready.await.map_err(|_| Error::Closed)??;
        Ok(replica)
    }

    /// Asks the server for a sign of life.
    pub async fn echo(&self) -> Result<()> {
        self.call("echo", json!([])).await.map(drop)
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Call {
            method,
            params,
            answer,
        })?;
        answered.await.map_err(|_| Error::Closed)?
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| Error::Closed)
    }
}

async fn fetch_schema(stream: &mut Stream, path: &Path, database: &str) -> Result<DatabaseSchema> {
    let no_database = |reason: String| Error::NoDatabase {
        path: path.to_owned(),
        database: database.to_owned(),
        reason,
    };
    stream
        .send(rpc::request(0, "get_schema", &json!([database])))
        .await?;
    loop {
        match stream.next().await {
            Some(Ok(Message::Reply { result, .. })) => {
                let schema = result.map_err(|error| {
                    no_database(error["error"].as_str().unwrap_or("refused").to_owned())
                })?;
                return DatabaseSchema::parse(&schema);
            }
            Some(Ok(Message::Request { id, params, .. })) => {
                stream.send(rpc::reply(&id, &params)).await?;
            }
            Some(Ok(Message::Notification { .. })) => {}
            Some(Err(error)) => return Err(error),
            None => return Err(no_database("the server hung up".to_owned())),
        }
    }
}
