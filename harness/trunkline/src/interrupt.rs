//! Ctrl-C.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure, OrExit};

/// Cancelled by the first Ctrl-C or SIGTERM, so that what runs is wound up; a second one ends the program at once.
pub fn token() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Broken)?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Broken)?;
    let token = stop.clone();
    tokio::spawn(async move {
        for attempt in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if attempt > 0 {
                // A lab's lifeline closes with this process, so even this leaves nothing of it behind.
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            eprintln!("\ninterrupted; winding up (once more to end at once)");
            token.cancel();
        }
    });
    Ok(stop)
}
