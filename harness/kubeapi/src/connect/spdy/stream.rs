//! One stream of a session, as bytes in both directions.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use super::frame::{CANCEL, Frame, REFUSED_STREAM, StreamId};
use super::header_block::{Headers, find};

/// The longest piece that is sent at once, so that streams take turns.
const PIECE: usize = 32 * 1024;

/// A stream that the client has opened. Reading ends where the client ends its side; shutting it down ends ours.
#[derive(Debug)]
pub struct Stream {
    id: StreamId,
    headers: Headers,
    received: mpsc::Receiver<Bytes>,
    /// What is left of the piece received last.
    rest: Bytes,
    frames: PollSender<Frame>,
    broken: Arc<AtomicBool>,
    finished: bool,
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        headers: Headers,
        received: mpsc::Receiver<Bytes>,
        frames: mpsc::Sender<Frame>,
        broken: Arc<AtomicBool>,
    ) -> Self {
        Self {
            id,
            headers,
            received,
            rest: Bytes::new(),
            frames: PollSender::new(frames),
            broken,
            finished: false,
        }
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    /// What the client said when it opened the stream; names are in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// Accepts the stream; the client may send on it from then on.
    pub async fn accept(&mut self) -> io::Result<()> {
        let frame = Frame::SynReply {
            id: self.id,
            fin: false,
            headers: Headers::new(),
        };
        self.send(frame).await
    }

    /// Refuses a stream that was not accepted.
    pub async fn refuse(mut self) -> io::Result<()> {
        self.reset(REFUSED_STREAM).await
    }

    /// Tells the client that neither side is of use any more.
    pub async fn cancel(mut self) -> io::Result<()> {
        self.reset(CANCEL).await
    }

    async fn reset(&mut self, status: u32) -> io::Result<()> {
        self.finished = true;
        self.send(Frame::Reset {
            id: self.id,
            status,
        })
        .await
    }

    async fn send(&mut self, frame: Frame) -> io::Result<()> {
        std::future::poll_fn(|cx| self.frames.poll_reserve(cx))
            .await
            .map_err(|_| gone())?;
        self.frames.send_item(frame).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the connection is gone")
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(self.received.poll_recv(cx)) {
                Some(bytes) => self.rest = bytes,
                None if self.broken.load(Ordering::Acquire) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.finished || self.broken.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.frames.poll_reserve(cx)).map_err(|_| gone())?;
        let piece = &bytes[..bytes.len().min(PIECE)];
        let frame = Frame::Data {
            id: self.id,
            fin: false,
            data: Bytes::copy_from_slice(piece),
        };
        self.frames.send_item(frame).map_err(|_| gone())?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished || self.broken.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.frames.poll_reserve(cx)).map_err(|_| gone())?;
        let frame = Frame::Data {
            id: self.id,
            fin: true,
            data: Bytes::new(),
        };
        self.finished = true;
        Poll::Ready(self.frames.send_item(frame).map_err(|_| gone()))
    }
}
