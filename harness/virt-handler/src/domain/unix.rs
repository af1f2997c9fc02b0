//! Unix sockets in directories whose paths may be longer than a socket's address can be.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// A listener has its name before it listens: after a refusal it is a matter of microseconds.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// Connects to a socket that exists.
pub async fn connect(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let directory = File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())).await
}

/// Connects to a socket as soon as somebody listens on it.
pub async fn await_listener(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    // Watched before the first look, so nothing is missed.
    inotify::add_watch(
        &watch,
        directory,
        inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO,
    )?;
    // All that matters is that it is read from, and readable at times.
    let watch = pipe::Receiver::from_owned_fd_unchecked(watch)?;
    loop {
        match connect(directory, name).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                watch.readable().await?;
                let mut events = [0; 4096];
                // What was created does not matter: the next look tells.
                match watch.try_read(&mut events) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::UnixListener;

    use super::{await_listener, connect};

    #[tokio::test]
    async fn a_socket_with_a_long_path_is_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("d".repeat(120));
        std::fs::create_dir(&directory).unwrap();
        assert!(connect(&directory, "sock").await.is_err());
        let waiting = tokio::spawn({
            let directory = directory.clone();
            async move { await_listener(&directory, "sock").await.map(drop) }
        });
        tokio::task::yield_now().await;
        std::fs::write(directory.join("something-else"), "").unwrap();
        let other = base.path().join("sock");
        let listener = UnixListener::bind(&other).unwrap();
        std::fs::rename(&other, directory.join("sock")).unwrap();
        let both = async { tokio::join!(listener.accept(), waiting) };
        let (accepted, connected) = tokio::time::timeout(Duration::from_secs(10), both)
            .await
            .unwrap();
        accepted.unwrap();
        connected.unwrap().unwrap();
    }
}
