//! From single results to verdicts.

use k8s_openapi::api::core::v1::Probe;

use super::{Outcome, ProbeKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Healthy,
    Unhealthy,
}

/// Counts equal results in a row against the thresholds.
#[derive(Debug, Clone)]
pub(super) struct Counter {
    successes: u32,
    failures: u32,
    last: Option<Verdict>,
    run: u32,
    verdict: Option<Verdict>,
}

impl Counter {
    pub(super) fn new(probe: &Probe, kind: ProbeKind) -> Self {
        let threshold = |value: Option<i32>, default| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(default)
        };
        Self {
            successes: threshold(probe.success_threshold, 1),
            failures: threshold(probe.failure_threshold, 3),
            last: None,
            run: 0,
            // what a container counts as before anything is known
            verdict: match kind {
                ProbeKind::Startup => None,
                ProbeKind::Readiness => Some(Verdict::Unhealthy),
                ProbeKind::Liveness => Some(Verdict::Healthy),
            },
        }
    }

    /// The new verdict, if this result changes it.
    pub(super) fn observe(&mut self, outcome: &Outcome) -> Option<Verdict> {
        let seen = match outcome {
            Outcome::Success => Verdict::Healthy,
            Outcome::Failure(_) => Verdict::Unhealthy,
        };
        if self.last == Some(seen) {
            self.run = self.run.saturating_add(1);
        } else {
            self.last = Some(seen);
            self.run = 1;
        }
        let needed = match seen {
            Verdict::Healthy => self.successes,
            Verdict::Unhealthy => self.failures,
        };
        if self.run < needed || self.verdict == Some(seen) {
            return None;
        }
        self.verdict = Some(seen);
        Some(seen)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// `+` and `-` are results; the verdict after each is `.` where nothing changes, `H` or `U`.
    #[rstest]
    #[case(ProbeKind::Readiness, 1, 3, "+---+", "H..UH")]
    #[case(ProbeKind::Readiness, 2, 1, "+-++-", "...HU")]
    #[case(ProbeKind::Readiness, 1, 3, "------", "......")]
    #[case(ProbeKind::Liveness, 1, 3, "+--+---", "......U")]
    #[case(ProbeKind::Startup, 1, 3, "--+", "..H")]
    #[case(ProbeKind::Startup, 1, 3, "---", "..U")]
    fn thresholds(
        #[case] kind: ProbeKind,
        #[case] successes: i32,
        #[case] failures: i32,
        #[case] results: &str,
        #[case] expected: &str,
    ) {
        let probe = Probe {
            success_threshold: Some(successes),
            failure_threshold: Some(failures),
            ..Probe::default()
        };
        let mut counter = Counter::new(&probe, kind);
        let verdicts: String = results
            .chars()
            .map(|c| {
                let outcome = match c {
                    '+' => Outcome::Success,
                    _ => Outcome::Failure(String::new()),
                };
                match counter.observe(&outcome) {
                    None => '.',
                    Some(Verdict::Healthy) => 'H',
                    Some(Verdict::Unhealthy) => 'U',
                }
            })
            .collect();
        assert_eq!(verdicts, expected);
    }
}
