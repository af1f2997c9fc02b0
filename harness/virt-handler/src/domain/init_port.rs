//! Talking with the init of our own guests: a machine that was woken from a template is told who it is.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use trunkline_guest::init::{FromGuest, Go, ToGuest, to_line};

/// What the guest must wait for.
#[derive(Debug, Clone, Copy)]
pub struct Devices {
    pub nics: u32,
    /// Beside the one with its root.
    pub disks: u32,
}

/// Says `go` whenever a guest that waits for it opens the channel, after a reboot too. Tells through `up` when the guest
/// is configured.
pub async fn serve(
    stream: UnixStream,
    mut open: watch::Receiver<bool>,
    devices: Option<Devices>,
    up: watch::Sender<bool>,
) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut told = false;
    loop {
        let is_open = *open.borrow_and_update();
        if !is_open {
            told = false;
        }
        if let (true, false, Some(devices)) = (is_open, told, devices) {
            let line = to_line(&ToGuest::Go(go(devices)));
            if writer.write_all(line.as_bytes()).await.is_err() {
                return;
            }
            told = true;
        }
        tokio::select! {
            changed = open.changed() => if changed.is_err() {
                return;
            },
            line = lines.next_line() => match line {
                Ok(Some(line)) => match serde_json::from_str(&line) {
                    Ok(FromGuest::Up(_)) => {
                        up.send_replace(true);
                    }
                    Ok(FromGuest::Ready(_)) => {}
                    Err(error) => tracing::debug!(%error, line, "the guest's init said something else"),
                },
                Ok(None) | Err(_) => return,
            },
        }
    }
}

fn go(devices: Devices) -> Go {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seed = rand::random::<[u8; 64]>();
    Go {
        epoch_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
        seed: seed.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        }),
        nics: devices.nics,
        disks: devices.disks,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixStream;
    use tokio::sync::watch;

    use super::{Devices, serve};

    #[tokio::test]
    async fn every_opening_is_answered_once() {
        let (here, guest) = UnixStream::pair().unwrap();
        let open = watch::Sender::new(false);
        let up = watch::Sender::new(false);
        let mut came_up = up.subscribe();
        let devices = Devices { nics: 2, disks: 1 };
        let serving = tokio::spawn(serve(here, open.subscribe(), Some(devices), up));
        let (reader, mut writer) = guest.into_split();
        let mut lines = BufReader::new(reader).lines();
        let mut seeds = Vec::new();
        for _ in 0..2 {
            open.send_replace(true);
            let line = tokio::time::timeout(Duration::from_secs(5), lines.next_line());
            let line = line.await.unwrap().unwrap().unwrap();
            let go: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(go["go"]["nics"], 2);
            assert_eq!(go["go"]["disks"], 1);
            assert!(go["go"]["epoch_ns"].as_u64().unwrap() > 1_700_000_000_000_000_000);
            seeds.push(go["go"]["seed"].as_str().unwrap().to_owned());
            writer
                .write_all(b"{\"up\":{\"after_ms\":83}}\n")
                .await
                .unwrap();
            came_up.wait_for(|up| *up).await.unwrap();
            open.send_replace(false);
            tokio::task::yield_now().await;
        }
        assert_eq!(seeds[0].len(), 128);
        assert_ne!(seeds[0], seeds[1]);
        drop(writer);
        drop(lines);
        serving.await.unwrap();
    }
}
