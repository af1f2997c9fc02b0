//! What the server asks of whatever runs pods.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::status::Status;

/// A byte stream in both directions.
pub trait AsyncReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> AsyncReadWrite for T {}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub columns: u16,
    pub rows: u16,
}

/// What to run in which container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // the options of the API, which are independent
pub struct ExecOptions {
    /// The container asked for; the server has already filled in the pod's default.
    pub container: String,
    /// Empty for attach.
    pub command: Vec<String>,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// The ends of an exec or attach session that the connector serves. A stream that was not asked for is `None`.
pub struct Streams {
    /// Ends (EOF) when the client closes its input or goes away.
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Dropping it ends the client's stream.
    pub stdout: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    pub stderr: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Sizes of the client's terminal; the channel closes when the client goes away.
    pub resize: mpsc::Receiver<TerminalSize>,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .finish_non_exhaustive()
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecExit {
    pub code: i32,
}

/// Which part of a container's log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    pub container: String,
    pub follow: bool,
    pub previous: bool,
    pub tail_lines: Option<u64>,
    pub since_seconds: Option<u64>,
    pub since_time: Option<jiff::Timestamp>,
    /// Prefix every line with its RFC 3339 time.
    pub timestamps: bool,
    pub limit_bytes: Option<u64>,
}

/// Reaches into running pods. The server has checked that the pod and the container exist.
#[async_trait]
pub trait PodConnector: Send + Sync {
    /// Whether exec and attach can begin. Asked where the client can still be answered with a plain response; the error
    /// is what the pod's node would say.
    async fn ready(&self, _namespace: &str, _pod: &str, _container: &str) -> Result<(), Status> {
        Ok(())
    }

    /// Runs a command; returns when it has ended. Dropping the future kills the command.
    async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        opts: ExecOptions,
        streams: Streams,
    ) -> Result<ExecExit, Status>;

    /// Connects to the container's main process; returns when it ends or the client detaches (future dropped).
    async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        opts: ExecOptions,
        streams: Streams,
    ) -> Result<ExecExit, Status>;

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        opts: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status>;

    /// A connection to a port inside the pod's network.
    async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status>;
}

/// The connector of a server without a kubelet: every pod is unreachable.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPods;

impl NoPods {
    fn refuse(namespace: &str, pod: &str) -> Status {
        Status::internal(&format!(
            "pod {pod} in namespace {namespace} cannot be reached: this server runs no pods"
        ))
    }
}

#[async_trait]
impl PodConnector for NoPods {
    async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        _: ExecOptions,
        _: Streams,
    ) -> Result<ExecExit, Status> {
        Err(Self::refuse(namespace, pod))
    }

    async fn attach(
        &self,
        namespace: &str,
        pod: &str,
        _: ExecOptions,
        _: Streams,
    ) -> Result<ExecExit, Status> {
        Err(Self::refuse(namespace, pod))
    }

    async fn logs(
        &self,
        namespace: &str,
        pod: &str,
        _: LogOptions,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Status> {
        Err(Self::refuse(namespace, pod))
    }

    async fn port_forward(
        &self,
        namespace: &str,
        pod: &str,
        _: u16,
    ) -> Result<Box<dyn AsyncReadWrite>, Status> {
        Err(Self::refuse(namespace, pod))
    }
}
