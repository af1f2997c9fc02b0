//! What containers print, kept in memory with its time and stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use kubeapi::LogOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{broadcast, watch};
use tokio_util::task::AbortOnDropHandle;

/// As much as a kubelet keeps of a container before it rotates.
const LIMIT: usize = 10 << 20;
/// Longer lines are cut into pieces, as container runtimes do.
const LONGEST_LINE: usize = 16 << 10;

/// Which of a process's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// How far an attached client may fall behind before it misses output.
const LIVE_BACKLOG: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    at: Timestamp,
    /// With its line end, unless it was cut or is the last of its stream.
    text: Bytes,
}

#[derive(Debug, Default)]
struct Inner {
    lines: VecDeque<Line>,
    bytes: usize,
    /// How many lines were dropped at the front.
    dropped: u64,
    writers: usize,
    closed: bool,
}

/// One run of a container.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    /// Everything as it comes, for attached clients.
    live: broadcast::Sender<(Source, Bytes)>,
}

impl LogBuffer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            changed: watch::Sender::new(()),
            live: broadcast::Sender::new(LIVE_BACKLOG),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // nothing that holds the lock can leave the lines half-written
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a stream to its end in a task of its own.
    pub(crate) fn capture(
        self: &Arc<Self>,
        name: Source,
        source: impl AsyncRead + Send + Unpin + 'static,
    ) {
        self.lock().writers += 1;
        let buffer = Arc::clone(self);
        tokio::spawn(async move {
            buffer.read(name, source).await;
            let mut inner = buffer.lock();
            inner.writers -= 1;
            drop(inner);
            buffer.changed.send_replace(());
        });
    }

    async fn read(&self, name: Source, mut source: impl AsyncRead + Unpin) {
        let mut pending = BytesMut::with_capacity(4096);
        loop {
            match source.read_buf(&mut pending).await {
                // a closed terminal reports an error where a pipe reports its end
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    if self.live.receiver_count() > 0 {
                        let new = Bytes::copy_from_slice(&pending[pending.len() - n..]);
                        // the last client may just have left
                        let _ = self.live.send((name, new));
                    }
                    self.split(&mut pending);
                }
            }
        }
        if !pending.is_empty() {
            self.push(pending.freeze());
        }
    }

    fn split(&self, pending: &mut BytesMut) {
        loop {
            let end = pending.iter().position(|b| *b == b'\n').map(|i| i + 1);
            let line = match end {
                Some(end) => pending.split_to(end),
                None if pending.len() >= LONGEST_LINE => pending.split(),
                None => return,
            };
            // a copy, so that a short line does not keep a whole read buffer alive
            self.push(Bytes::copy_from_slice(&line));
        }
    }

    fn push(&self, text: Bytes) {
        let mut inner = self.lock();
        inner.bytes += text.len();
        inner.lines.push_back(Line {
            at: Timestamp::now(),
            text,
        });
        while inner.bytes > LIMIT {
            let Some(old) = inner.lines.pop_front() else {
                break;
            };
            inner.bytes -= old.text.len();
            inner.dropped += 1;
        }
        drop(inner);
        self.changed.send_replace(());
    }

    /// Copies output from now on to an attached client.
    pub(crate) fn live(&self, stdout: Option<Output>, stderr: Option<Output>) -> Live {
        let mut chunks = self.live.subscribe();
        let (stop, mut stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let (mut stdout, mut stderr) = (stdout, stderr);
            loop {
                let chunk = tokio::select! {
                    biased;
                    chunk = chunks.recv() => chunk,
                    _ = stopped.wait_for(|stop| *stop) => return,
                };
                match chunk {
                    Ok((source, bytes)) => {
                        let output = match source {
                            Source::Stdout => &mut stdout,
                            Source::Stderr => &mut stderr,
                        };
                        if let Some(output) = output
                            && (output.write_all(&bytes).await.is_err()
                                || output.flush().await.is_err())
                        {
                            return;
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        Live {
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Says that no further stream will be captured, so that followers end with the last one.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.send_replace(());
    }

    fn complete(&self) -> bool {
        let inner = self.lock();
        inner.closed && inner.writers == 0
    }

    /// Waits until every captured stream has ended.
    pub(crate) async fn drained(&self) {
        let mut changed = self.changed.subscribe();
        // the sender lives in self, so this cannot fail
        let _ = changed.wait_for(|()| self.lock().writers == 0).await;
    }

    /// The last lines, at most `lines` of them and `bytes` in all, for a termination message.
    pub(crate) fn tail(&self, lines: usize, bytes: usize) -> String {
        let inner = self.lock();
        let skip = inner.lines.len().saturating_sub(lines);
        let text: Vec<u8> = inner
            .lines
            .iter()
            .skip(skip)
            .flat_map(|l| l.text.to_vec())
            .collect();
        let start = text.len().saturating_sub(bytes);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Lines from number `from` on, and the number of the next one.
    fn since(&self, from: u64) -> (Vec<Line>, u64) {
        let inner = self.lock();
        let skip = usize::try_from(from.saturating_sub(inner.dropped)).unwrap_or(usize::MAX);
        let lines: Vec<_> = inner.lines.iter().skip(skip).cloned().collect();
        (lines, inner.dropped + inner.lines.len() as u64)
    }

    fn first_wanted(&self, opts: &LogOptions, now: Timestamp) -> u64 {
        let inner = self.lock();
        let after = opts.since_time.or_else(|| {
            let seconds = i64::try_from(opts.since_seconds?).ok()?;
            now.checked_sub(jiff::SignedDuration::from_secs(seconds))
                .ok()
        });
        let by_time = after.map_or(0, |after| inner.lines.partition_point(|l| l.at < after));
        let by_count = opts.tail_lines.map_or(0, |n| {
            let n = usize::try_from(n).unwrap_or(usize::MAX);
            inner.lines.len().saturating_sub(n)
        });
        inner.dropped + by_time.max(by_count) as u64
    }

    /// What `kubectl logs` asks for.
    pub(crate) fn stream(
        self: Arc<Self>,
        opts: &LogOptions,
    ) -> BoxStream<'static, std::io::Result<Bytes>> {
        let state = Reader {
            next: self.first_wanted(opts, Timestamp::now()),
            changed: self.changed.subscribe(),
            follow: opts.follow,
            timestamps: opts.timestamps,
            left: opts.limit_bytes,
            buffer: self,
        };
        stream::unfold(state, |mut reader| async move {
            let chunk = reader.chunk().await?;
            Some((Ok(chunk), reader))
        })
        .boxed()
    }
}

/// A client's end of a stream.
pub(crate) type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// An attached client; detached when this is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    stop: watch::Sender<bool>,
    task: AbortOnDropHandle<()>,
}

impl Live {
    /// Delivers what is still underway, and detaches.
    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        // a panic in the task would be its own report
        let _ = self.task.await;
    }
}

struct Reader {
    buffer: Arc<LogBuffer>,
    next: u64,
    changed: watch::Receiver<()>,
    follow: bool,
    timestamps: bool,
    left: Option<u64>,
}

impl Reader {
    async fn chunk(&mut self) -> Option<Bytes> {
        if self.left == Some(0) {
            return None;
        }
        loop {
            self.changed.mark_unchanged();
            // asked before reading, so that nothing written in between is missed
            let complete = self.buffer.complete();
            let (lines, next) = self.buffer.since(self.next);
            self.next = next;
            if !lines.is_empty() {
                return Some(self.render(&lines));
            }
            if !self.follow || complete || self.changed.changed().await.is_err() {
                return None;
            }
        }
    }

    fn render(&mut self, lines: &[Line]) -> Bytes {
        let mut out = BytesMut::new();
        let mut line_start = true;
        for line in lines {
            if self.timestamps && line_start {
                out.extend_from_slice(format!("{:.9} ", line.at).as_bytes());
            }
            out.extend_from_slice(&line.text);
            line_start = line.text.ends_with(b"\n");
        }
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use kubeapi::LogOptions;
    use tokio::io::AsyncWriteExt;

    use super::{LogBuffer, Source};

    async fn text(buffer: &std::sync::Arc<LogBuffer>, opts: &LogOptions) -> String {
        let chunks: Vec<_> = std::sync::Arc::clone(buffer).stream(opts).collect().await;
        chunks
            .into_iter()
            .map(|c| String::from_utf8(c.unwrap().to_vec()).unwrap())
            .collect()
    }

    async fn filled(content: &'static [u8]) -> std::sync::Arc<LogBuffer> {
        let buffer = LogBuffer::new();
        buffer.capture(Source::Stdout, content);
        buffer.drained().await;
        buffer
    }

    #[tokio::test]
    async fn selects_the_tail_and_limits_bytes() {
        let buffer = filled(b"one\ntwo\nthree").await;
        let opts = LogOptions::default();
        assert_eq!(text(&buffer, &opts).await, "one\ntwo\nthree");
        let tail = LogOptions {
            tail_lines: Some(2),
            ..opts.clone()
        };
        assert_eq!(text(&buffer, &tail).await, "two\nthree");
        let limited = LogOptions {
            limit_bytes: Some(5),
            ..opts.clone()
        };
        assert_eq!(text(&buffer, &limited).await, "one\nt");
        let none = LogOptions {
            tail_lines: Some(0),
            ..opts
        };
        assert_eq!(text(&buffer, &none).await, "");
    }

    #[tokio::test]
    async fn prefixes_times() {
        let buffer = filled(b"one\n").await;
        let opts = LogOptions {
            timestamps: true,
            ..LogOptions::default()
        };
        let text = text(&buffer, &opts).await;
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(rest, "one\n");
        assert_eq!(time.len(), "2026-01-01T00:00:00.000000000Z".len());
        time.parse::<jiff::Timestamp>().unwrap();
    }

    #[tokio::test]
    async fn follows_until_the_streams_end() {
        let buffer = LogBuffer::new();
        let (mut input, output) = tokio::io::duplex(64);
        buffer.capture(Source::Stdout, output);
        let opts = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut stream = std::sync::Arc::clone(&buffer).stream(&opts);
        input.write_all(b"first\n").await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "first\n");
        input.write_all(b"second").await.unwrap();
        drop(input);
        buffer.close();
        assert_eq!(stream.next().await.unwrap().unwrap(), "second");
        assert!(stream.next().await.is_none());
    }
}
