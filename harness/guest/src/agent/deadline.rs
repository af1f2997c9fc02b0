//! The time a probe has.

use std::io;
use std::time::{Duration, Instant};

/// Counts from the moment the request was read.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    started: Instant,
    at: Instant,
}

impl Deadline {
    pub fn in_ms(timeout_ms: u64) -> Self {
        let started = Instant::now();
        // A century is as good as for ever and cannot overflow the clock.
        let timeout = Duration::from_millis(timeout_ms.min(3_155_760_000_000));
        Self {
            started,
            at: started + timeout,
        }
    }

    /// What is left, or an error of kind `TimedOut`. Never zero: zero means «no limit» to sockets.
    pub fn left(&self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            Err(io::ErrorKind::TimedOut.into())
        } else {
            Ok(left)
        }
    }

    /// The same start, but an earlier end: `share` of what is left.
    #[must_use]
    pub fn share(&self, share: u32) -> Self {
        let left = self.at.saturating_duration_since(Instant::now());
        Self {
            started: self.started,
            at: Instant::now() + left / share.max(1),
        }
    }

    /// The same start, but at most `limit` from now.
    #[must_use]
    pub fn at_most(&self, limit: Duration) -> Self {
        Self {
            started: self.started,
            at: self.at.min(Instant::now() + limit),
        }
    }

    pub fn elapsed_ms(&self) -> f64 {
        milliseconds(self.started.elapsed())
    }
}

pub fn milliseconds(duration: Duration) -> f64 {
    // Microseconds are as fine as these clocks deserve.
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
