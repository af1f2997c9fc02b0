//! SPDY/3.1, the server's side, as far as Kubernetes' clients speak it: streams with headers over one connection.
//!
//! Those clients (moby/spdystream) neither keep flow-control windows nor announce any, so none is kept for what is sent:
//! bounded queues and the connection's own flow control hold a fast end back. What was received is announced all the
//! same, so a client that keeps windows goes on sending.

mod dictionary;
pub mod frame;
pub mod header_block;
pub mod session;
pub mod stream;

/// A connection that does not speak SPDY/3.1 well enough to go on.
#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("spdy connection is broken: {0}")]
    Io(#[from] std::io::Error),
    #[error("spdy frame cannot be read: {0}")]
    Frame(String),
    #[error("spdy header block cannot be read: {0}")]
    Headers(String),
}
