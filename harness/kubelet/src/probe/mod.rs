//! Startup, readiness and liveness probes.

mod check;
mod http;
mod state;

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

pub(crate) use check::Target;
pub(crate) use http::get as http_get;
use state::{Counter, Verdict};

/// What a probe decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProbeKind {
    Startup,
    Readiness,
    Liveness,
}

impl ProbeKind {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

/// One attempt's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure(String),
}

/// What probes tell the pod's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// An attempt failed; only worth an event.
    Failed { kind: ProbeKind, text: String },
    /// A threshold was reached.
    Changed { kind: ProbeKind, healthy: bool },
}

/// On a real node it takes the kubelet up to a second to see that a container runs, so a server has that long to
/// come up before its first probe. Here it is probed at once; failures within this time are not counted.
const WARM_UP: Duration = Duration::from_secs(1);
const WARM_UP_STEP: Duration = Duration::from_millis(25);

/// The probing tasks of one run of a container; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Probes {
    _tasks: JoinSet<()>,
    started: watch::Sender<bool>,
}

impl Probes {
    /// Starts the probes of a container that just started. Readiness and liveness wait for startup.
    pub(crate) fn start(
        target: &Target,
        report: impl Fn(Report) + Clone + Send + Sync + 'static,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let container = &target.container;
        let started = watch::Sender::new(container.startup_probe.is_none());
        let probes = [
            (ProbeKind::Startup, &container.startup_probe),
            (ProbeKind::Readiness, &container.readiness_probe),
            (ProbeKind::Liveness, &container.liveness_probe),
        ];
        for (kind, probe) in probes {
            let Some(probe) = probe.clone() else { continue };
            let gate = (kind != ProbeKind::Startup).then(|| started.subscribe());
            tasks.spawn(run(kind, probe, target.clone(), gate, report.clone()));
        }
        Self {
            _tasks: tasks,
            started,
        }
    }

    /// The startup probe has succeeded.
    pub(crate) fn set_started(&self) {
        self.started.send_replace(true);
    }
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    let value = value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0);
    Duration::from_secs(value.unwrap_or(default))
}

async fn run(
    kind: ProbeKind,
    probe: Probe,
    target: Target,
    gate: Option<watch::Receiver<bool>>,
    report: impl Fn(Report) + Send + Sync,
) {
    let period = seconds(probe.period_seconds, 10);
    let timeout = seconds(probe.timeout_seconds, 1);
    let since = Instant::now();
    let mut counter = Counter::new(&probe, kind);
    if let Some(mut gate) = gate
        && gate.wait_for(|started| *started).await.is_err()
    {
        return;
    }
    let delay = u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
    let first = since + Duration::from_secs(delay);
    sleep_until(first).await;
    let warm = Instant::now() + WARM_UP;
    let mut step = WARM_UP_STEP;
    loop {
        let began = Instant::now();
        let outcome = target.check(&probe, timeout).await;
        let warming = delay == 0 && Instant::now() < warm;
        if let (Outcome::Failure(_), true) = (&outcome, warming) {
            sleep_until((Instant::now() + step).min(warm)).await;
            step *= 2;
            continue;
        }
        if let Outcome::Failure(text) = &outcome {
            report(Report::Failed {
                kind,
                text: text.clone(),
            });
        }
        if let Some(verdict) = counter.observe(&outcome) {
            report(Report::Changed {
                kind,
                healthy: verdict == Verdict::Healthy,
            });
            let over = match kind {
                ProbeKind::Startup => true,
                // the container is being killed for it
                ProbeKind::Liveness => verdict == Verdict::Unhealthy,
                ProbeKind::Readiness => false,
            };
            if over {
                return;
            }
        }
        sleep_until(began + period).await;
    }
}
