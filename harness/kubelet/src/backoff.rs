//! The kubelet's back-off: 10 s after the second failure in a row, doubling to five minutes, forgotten after ten
//! minutes without one.

use std::time::Duration;

use tokio::time::Instant;

/// How a series of failures is slowed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub first: Duration,
    pub longest: Duration,
}

impl Schedule {
    /// Crashed containers and images that cannot be pulled.
    pub(crate) const CONTAINERS: Self = Self {
        first: Duration::from_secs(10),
        longest: Duration::from_secs(300),
    };
    /// Volumes that cannot be set up.
    pub(crate) const VOLUMES: Self = Self {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(122),
    };
    /// Sandboxes without a network: the next sync of the pod, never much later.
    pub(crate) const SANDBOXES: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(10),
    };
}

/// One thing's failures. The first failure costs nothing: it is retried at once.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    schedule: Schedule,
    delay: Option<Duration>,
    last: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            delay: None,
            last: None,
        }
    }

    /// Until when the next attempt after a failure at `failed` has to wait, or None if it may be made at once.
    pub(crate) fn wait_until(&self, failed: Instant, now: Instant) -> Option<(Instant, Duration)> {
        let delay = self.delay?;
        let until = failed + delay;
        (until > now).then_some((until, delay))
    }

    /// Notes that another attempt is made now.
    pub(crate) fn attempt(&mut self, now: Instant) {
        let calm = self
            .last
            .is_some_and(|last| now.duration_since(last) > 2 * self.schedule.longest);
        self.delay = Some(match self.delay {
            Some(delay) if !calm => (delay * 2).min(self.schedule.longest),
            _ => self.schedule.first,
        });
        self.last = Some(now);
    }

    /// A success ends the series.
    pub(crate) fn reset(&mut self) {
        self.delay = None;
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Backoff, Schedule};

    #[test]
    fn doubles_to_five_minutes() {
        let mut backoff = Backoff::new(Schedule::CONTAINERS);
        let mut now = Instant::now();
        assert_eq!(
            backoff.wait_until(now, now),
            None,
            "the first restart is immediate"
        );
        let mut delays = Vec::new();
        for _ in 0..7 {
            backoff.attempt(now);
            let (until, delay) = backoff.wait_until(now, now).unwrap();
            delays.push(delay.as_secs());
            assert_eq!(until, now + delay);
            now = until;
            assert_eq!(backoff.wait_until(now - delay, now), None);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn forgets_after_ten_calm_minutes() {
        let mut backoff = Backoff::new(Schedule::CONTAINERS);
        let start = Instant::now();
        backoff.attempt(start);
        backoff.attempt(start + Duration::from_secs(10));
        let later = start + Duration::from_secs(611);
        backoff.attempt(later);
        assert_eq!(
            backoff.wait_until(later, later).map(|(_, delay)| delay),
            Some(Duration::from_secs(10))
        );
    }
}
