//! The serial line: one client at a time, the last one wins.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use super::unix;

/// As KubeVirt names the socket.
pub const SOCKET: &str = "virt-serial0";
/// Everything the guest wrote to it.
pub const LOG: &str = "virt-serial0-log";

/// How much of the log is looked at for its last lines.
const TAIL: u64 = 16 * 1024;

/// How a kernel's last words begin.
const LAST_WORDS: [&str; 4] = ["Kernel panic", "BUG:", "Oops", "general protection fault"];

/// The machine's first serial line.
#[derive(Debug)]
pub struct Console {
    directory: PathBuf,
    /// A second handle of the connection that was opened last.
    current: Mutex<Option<std::os::unix::net::UnixStream>>,
}

/// A client's connection. Dropping it frees the line.
#[derive(Debug)]
pub struct Line(UnixStream);

impl Console {
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            current: Mutex::new(None),
        }
    }

    /// Whoever was connected reads the end of the stream.
    pub async fn open(&self) -> io::Result<Line> {
        let mut current = self.current.lock().await;
        if let Some(former) = current.take() {
            // QEMU takes the next client when it sees this one leave. Whoever has left already is no error.
            let _ = former.shutdown(std::net::Shutdown::Both);
        }
        let stream = unix::connect(&self.directory, SOCKET).await?;
        *current = Some(stream.as_fd().try_clone_to_owned()?.into());
        Ok(Line(stream))
    }
}

/// What a guest wrote before it died: from its kernel's last words on, or else its last lines; at most `count` lines.
pub fn last_lines(directory: &Path, count: usize) -> Vec<String> {
    use std::io::{Read, Seek, SeekFrom};

    let read = || -> io::Result<Vec<u8>> {
        let mut log = std::fs::File::open(directory.join(LOG))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<_> = text
        .lines()
        .map(|line| line.trim_end_matches('\r').to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    let words = lines
        .iter()
        .position(|line| LAST_WORDS.iter().any(|words| line.contains(words)));
    let skipped = words.unwrap_or(lines.len().saturating_sub(count));
    lines.into_iter().skip(skipped).take(count).collect()
}

impl Drop for Line {
    fn drop(&mut self) {
        // The second handle must not keep the line busy. An end that is gone already is no error.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            // QEMU ended with something unread: an end like any other.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Poll::Ready(Ok(()))
            }
            result => result,
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::{Console, LOG, SOCKET, last_lines};

    /// Stands in for QEMU: serves one client after another.
    async fn echo(listener: UnixListener) {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut reader, mut writer) = client.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    }

    #[tokio::test]
    async fn the_last_client_wins() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
        let server = tokio::spawn(echo(listener));
        let console = Console::new(dir.path().to_owned());
        let mut buffer = [0; 5];

        let mut first = console.open().await.unwrap();
        first.write_all(b"first").await.unwrap();
        first.read_exact(&mut buffer).await.unwrap();

        let mut second = console.open().await.unwrap();
        assert_eq!(first.read(&mut buffer).await.unwrap(), 0);
        second.write_all(b"other").await.unwrap();
        second.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"other");

        // A client that leaves by itself frees the line too.
        drop(second);
        let mut third = console.open().await.unwrap();
        third.write_all(b"third").await.unwrap();
        third.read_exact(&mut buffer).await.unwrap();
        server.abort();
    }

    #[test]
    fn the_last_lines_tell_most() {
        let dir = tempfile::tempdir().unwrap();
        assert!(last_lines(dir.path(), 3).is_empty());
        let log = format!("{}\r\none\r\n\r\ntwo\r\nthree\r\n", "x".repeat(20_000));
        std::fs::write(dir.path().join(LOG), &log).unwrap();
        assert_eq!(last_lines(dir.path(), 2), ["two", "three"]);
        let panic = format!("{log}[7.2] BUG: kernel NULL pointer\r\nfour\r\nfive\r\n");
        std::fs::write(dir.path().join(LOG), panic).unwrap();
        assert_eq!(
            last_lines(dir.path(), 2),
            ["[7.2] BUG: kernel NULL pointer", "four"]
        );
    }
}
