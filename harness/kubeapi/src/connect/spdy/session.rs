//! A session: the streams of one connection.
//!
//! One task reads frames and hands data to the streams, another writes what the streams and the reader have to say.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::task::AbortOnDropHandle;

use super::SpdyError;
use super::frame::{Codec, Frame, StreamId};
use super::stream::Stream;

/// Frames of all streams under way to the client.
const OUTGOING: usize = 16;
/// Answers to the client's own control frames under way. A client that makes more without reading any is cut off.
const ANSWERS: usize = 256;
/// Pieces that a stream has received and nobody has read. When a stream is full, the connection waits for its reader.
const PIECES: usize = 64;
/// Streams that were opened and not looked at yet.
const OPENED: usize = 64;
/// Streams at a time: two for every connection a client forwards.
const STREAMS: usize = 4096;
/// Received bytes that are announced together.
const ANNOUNCE: u32 = 32 * 1024;
/// A client reads the last words and hangs up; one that does not is not waited for longer.
const LINGER: Duration = Duration::from_secs(2);

/// Protocol error, in the words of a reset.
const PROTOCOL_ERROR: u32 = 1;

/// The server's end of a connection. Dropping it cuts the connection.
#[derive(Debug)]
pub struct Session {
    opened: mpsc::Receiver<Stream>,
    frames: mpsc::Sender<Frame>,
    reader: AbortOnDropHandle<()>,
    writer: AbortOnDropHandle<()>,
}

impl Session {
    pub fn start<C>(connection: C) -> Result<Self, SpdyError>
    where
        C: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(connection);
        let (new, opened) = mpsc::channel(OPENED);
        let (frames, outgoing) = mpsc::channel(OUTGOING);
        let (answers, answering) = mpsc::channel(ANSWERS);
        let reader = Reader {
            streams: HashMap::new(),
            last: 0,
            new,
            frames: frames.clone(),
            answers,
            unannounced: 0,
        };
        let source = FramedRead::new(read, Codec::new()?);
        let sink = FramedWrite::new(write, Codec::new()?);
        Ok(Self {
            opened,
            frames,
            reader: AbortOnDropHandle::new(tokio::spawn(reader.run(source))),
            writer: AbortOnDropHandle::new(tokio::spawn(write_frames(sink, outgoing, answering))),
        })
    }

    /// The next stream the client opens; None when it has gone away.
    pub async fn next(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }

    /// Says good-bye after everything that was written before, and waits until the client has hung up.
    pub async fn close(self) {
        let bye = Frame::GoAway { last: 0, status: 0 };
        if self.frames.send(bye).await.is_ok() {
            let _ = self.writer.await;
            // What still comes is read and dropped: a connection closed over unread bytes loses its last words.
            drop(self.opened);
            let _ = timeout(LINGER, self.reader).await;
        }
    }
}

/// Writes frames until there is nobody left to write any, or a good-bye was written.
async fn write_frames<C: AsyncWrite>(
    mut sink: FramedWrite<WriteHalf<C>, Codec>,
    mut outgoing: mpsc::Receiver<Frame>,
    mut answers: mpsc::Receiver<Frame>,
) {
    loop {
        let frame = tokio::select! {
            biased;
            Some(frame) = answers.recv() => frame,
            Some(frame) = outgoing.recv() => frame,
            else => break,
        };
        let last = matches!(frame, Frame::GoAway { .. });
        let more = !outgoing.is_empty() || !answers.is_empty();
        let written = if more && !last {
            sink.feed(frame).await
        } else {
            sink.send(frame).await
        };
        if written.is_err() || last {
            break;
        }
    }
    let _ = sink.close().await;
}

/// What the reader knows of a stream.
struct Known {
    /// None after the client has ended its side.
    data: Option<mpsc::Sender<Bytes>>,
    broken: Arc<AtomicBool>,
    unannounced: u32,
}

struct Reader {
    streams: HashMap<StreamId, Known>,
    last: StreamId,
    /// Streams nobody has looked at yet.
    new: mpsc::Sender<Stream>,
    frames: mpsc::Sender<Frame>,
    answers: mpsc::Sender<Frame>,
    /// Of all streams together.
    unannounced: u32,
}

impl Reader {
    async fn run<C: AsyncRead>(mut self, mut source: FramedRead<ReadHalf<C>, Codec>) {
        while let Some(frame) = source.next().await {
            match frame {
                Ok(Frame::GoAway { .. }) => break,
                Ok(frame) => {
                    if self.handle(frame).await.is_none() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "spdy connection ended");
                    break;
                }
            }
        }
        for known in self.streams.values() {
            known.broken.store(true, Ordering::Release);
        }
    }

    /// None when the connection cannot go on.
    async fn handle(&mut self, frame: Frame) -> Option<()> {
        match frame {
            Frame::SynStream { id, fin, headers } => {
                if id <= self.last || id % 2 == 0 || self.streams.len() >= STREAMS {
                    return self.answer(Frame::Reset {
                        id,
                        status: PROTOCOL_ERROR,
                    });
                }
                self.last = id;
                // Whoever had these streams is done with them.
                self.streams
                    .retain(|_, known| Arc::strong_count(&known.broken) > 1);
                let (data, received) = mpsc::channel(PIECES);
                let broken = Arc::new(AtomicBool::new(false));
                let known = Known {
                    data: (!fin).then_some(data),
                    broken: broken.clone(),
                    unannounced: 0,
                };
                self.streams.insert(id, known);
                let stream = Stream::new(id, headers, received, self.frames.clone(), broken);
                // A session that takes no more streams drops them.
                let _ = self.new.send(stream).await;
            }
            Frame::Data { id, fin, data } => self.data(id, fin, data).await?,
            Frame::Headers { id, fin: true, .. } => self.data(id, true, Bytes::new()).await?,
            Frame::Reset { id, .. } => {
                if let Some(known) = self.streams.remove(&id) {
                    known.broken.store(true, Ordering::Release);
                }
            }
            // The client's pings are odd; an even one would answer a ping of ours, and there are none.
            Frame::Ping(id) if id % 2 == 1 => self.answer(Frame::Ping(id))?,
            _ => {}
        }
        Some(())
    }

    async fn data(&mut self, id: StreamId, fin: bool, data: Bytes) -> Option<()> {
        let length = u32::try_from(data.len()).ok()?;
        if let Some(known) = self.streams.get_mut(&id) {
            let taken = match &known.data {
                Some(sender) if !data.is_empty() => sender.send(data).await.is_ok(),
                _ => true,
            };
            // Nobody reads this stream any more, or the client has said everything.
            if fin || !taken {
                known.data = None;
            }
            known.unannounced += length;
            if known.unannounced >= ANNOUNCE {
                let delta = std::mem::take(&mut known.unannounced);
                self.answer(Frame::WindowUpdate { id, delta })?;
            }
        }
        self.unannounced += length;
        if self.unannounced >= ANNOUNCE {
            let delta = std::mem::take(&mut self.unannounced);
            self.answer(Frame::WindowUpdate { id: 0, delta })?;
        }
        Some(())
    }

    fn answer(&self, frame: Frame) -> Option<()> {
        self.answers.try_send(frame).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_util::codec::Framed;

    type Client = Framed<DuplexStream, Codec>;

    fn connect() -> (Client, Session) {
        let (client, server) = tokio::io::duplex(256 * 1024);
        (
            Framed::new(client, Codec::new().unwrap()),
            Session::start(server).unwrap(),
        )
    }

    fn open(id: StreamId, kind: &str) -> Frame {
        Frame::SynStream {
            id,
            fin: false,
            headers: vec![("streamtype".to_owned(), kind.to_owned())],
        }
    }

    fn data(id: StreamId, fin: bool, data: &'static [u8]) -> Frame {
        Frame::Data {
            id,
            fin,
            data: Bytes::from_static(data),
        }
    }

    async fn next(client: &mut Client) -> Frame {
        timeout(Duration::from_secs(5), client.next())
            .await
            .expect("no frame came")
            .expect("the session is over")
            .unwrap()
    }

    #[tokio::test]
    async fn streams_carry_bytes_both_ways_and_end_side_by_side() {
        let (mut client, mut session) = connect();
        client.send(open(1, "data")).await.unwrap();
        let mut stream = session.next().await.unwrap();
        assert_eq!(stream.header("streamtype"), Some("data"));
        stream.accept().await.unwrap();
        assert!(matches!(
            next(&mut client).await,
            Frame::SynReply {
                id: 1,
                fin: false,
                ..
            }
        ));
        client.send(data(1, false, b"ab")).await.unwrap();
        client.send(data(1, true, b"cd")).await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"abcd");
        stream.write_all(b"ef").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(next(&mut client).await, data(1, false, b"ef"));
        assert_eq!(next(&mut client).await, data(1, true, b""));
    }

    #[tokio::test]
    async fn a_reset_breaks_both_directions() {
        let (mut client, mut session) = connect();
        client.send(open(1, "data")).await.unwrap();
        let mut stream = session.next().await.unwrap();
        client
            .send(Frame::Reset { id: 1, status: 5 })
            .await
            .unwrap();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        let error = stream.write(b"x").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn pings_are_answered_while_streams_wait() {
        let (mut client, _session) = connect();
        client.send(Frame::Ping(7)).await.unwrap();
        assert_eq!(next(&mut client).await, Frame::Ping(7));
    }

    #[tokio::test]
    async fn received_bytes_are_announced() {
        let (mut client, mut session) = connect();
        client.send(open(1, "data")).await.unwrap();
        let mut stream = session.next().await.unwrap();
        let piece = Bytes::from(vec![0; 40_000]);
        let frame = Frame::Data {
            id: 1,
            fin: false,
            data: piece,
        };
        client.send(frame).await.unwrap();
        stream.read_exact(&mut vec![0; 40_000]).await.unwrap();
        let update = |id| Frame::WindowUpdate { id, delta: 40_000 };
        assert_eq!(next(&mut client).await, update(1));
        assert_eq!(next(&mut client).await, update(0));
    }

    #[tokio::test]
    async fn what_is_no_new_stream_of_a_client_is_refused() {
        let (mut client, _session) = connect();
        for id in [5, 3, 8] {
            client.send(open(id, "data")).await.unwrap();
        }
        for id in [3, 8] {
            let status = PROTOCOL_ERROR;
            assert_eq!(next(&mut client).await, Frame::Reset { id, status });
        }
    }

    #[tokio::test]
    async fn last_words_come_before_good_bye() {
        let (mut client, mut session) = connect();
        client.send(open(1, "error")).await.unwrap();
        let mut stream = session.next().await.unwrap();
        stream.write_all(b"why").await.unwrap();
        stream.shutdown().await.unwrap();
        let closing = tokio::spawn(session.close());
        assert_eq!(next(&mut client).await, data(1, false, b"why"));
        assert_eq!(next(&mut client).await, data(1, true, b""));
        assert!(matches!(next(&mut client).await, Frame::GoAway { .. }));
        drop(client);
        closing.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_its_streams() {
        let (mut client, mut session) = connect();
        client.send(open(1, "data")).await.unwrap();
        let mut stream = session.next().await.unwrap();
        drop(client);
        assert!(stream.read(&mut [0; 8]).await.is_err());
        assert!(session.next().await.is_none());
    }
}
