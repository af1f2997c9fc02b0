//! `trunkline run`: every selected case on a lab of its own, reported as it goes.

use std::{
    io::{Read, Seek},
    sync::{Arc, OnceLock},
    time::Instant,
};

use camino::Utf8Path;
use futures::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use trunkline_engine::{
    Cleanup, ExitClass, RunOptions,
    events::{self, CaseId, CaseOutcome, EventKind, EventSender, RunId},
};
use trunkline_lab::{Lab, LabOptions, LabSite, LabSpec, boot::LogTo};
use trunkline_report::{ReportOptions, Reports, Tally, Terminal};
use trunkline_scenario::Scenario;
use trunkline_userland::{Cache, RootFs};

use crate::{
    cli::{Global, Run},
    exit::{Exit, Failure, OrExit},
    host, suite,
};

pub async fn run(args: &Run, global: &Global) -> Result<Exit, Failure> {
    let stop = interruptible()?;
    let loaded = suite::load(&args.selection);
    suite::sound(&loaded)?;
    let selected = suite::select(&loaded, &args.selection);
    if selected.is_empty() {
        let message =
            anyhow::anyhow!("no scenario is selected; `trunkline list` shows those there are");
        return Err(Failure::new(Exit::NothingRan, message));
    }
    let reports = Reports::new(&report_options(args, global)).or_exit(Exit::Broken)?;
    let spec = host::lab_spec(&args.lab)?;
    let cache = host::cache(global)?;
    let rootfs = tokio::select! {
        rootfs = host::prepare(&cache, &spec) => rootfs?,
        () = stop.cancelled() => return Ok(Exit::Interrupted),
    };

    let started = Instant::now();
    let (sender, receiver) = events::channel(RunId::random());
    let reporting = tokio::spawn(reports.drain(receiver));
    sender.send(EventKind::RunStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        site: "lab".to_owned(),
        cases: selected.len(),
    });
    let runner = Runner {
        args,
        spec,
        cache,
        rootfs,
        verbose: global.verbose > 0,
        events: sender.clone(),
        stop,
        lacking: OnceLock::new(),
    };
    runner.all(&selected).await;
    let interrupted = runner.stop.is_cancelled();
    let lacking = runner.lacking.into_inner();
    drop(runner.events);
    sender.send(EventKind::RunFinished {
        took: started.elapsed(),
    });
    drop(sender);

    let tally = reporting
        .await
        .or_exit(Exit::Broken)?
        .or_exit(Exit::Broken)?;
    if let Some(error) = lacking {
        return Err(Failure::new(
            Exit::Host,
            error.context("no lab can start on this machine; `trunkline doctor` says all it lacks"),
        ));
    }
    for (what, path) in [
        ("JUnit report", &args.junit),
        ("event stream", &args.events),
    ] {
        if let Some(path) = path
            && !args.quiet
        {
            eprintln!("{what}: {path}");
        }
    }
    if interrupted {
        return Ok(Exit::Interrupted);
    }
    verdict(&tally, args.require_ran)
}

fn report_options(args: &Run, global: &Global) -> ReportOptions {
    let owned = |path: &Option<camino::Utf8PathBuf>| {
        path.as_deref().map(Utf8Path::as_std_path).map(Into::into)
    };
    ReportOptions {
        terminal: if args.quiet {
            Terminal::Quiet
        } else {
            Terminal::Auto
        },
        verbose: global.verbose > 0,
        junit: owned(&args.junit),
        json_lines: owned(&args.events),
    }
}

/// Cancelled by the first Ctrl-C or SIGTERM, so that what runs is wound up; a second one ends the program at once.
fn interruptible() -> Result<CancellationToken, Failure> {
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
                // The lifeline closes with this process, so even this leaves nothing behind.
                std::process::exit(i32::from(Exit::Interrupted as u8));
            }
            eprintln!("\ninterrupted; winding up (once more to end at once)");
            token.cancel();
        }
    });
    Ok(stop)
}

fn verdict(tally: &Tally, require_ran: usize) -> Result<Exit, Failure> {
    let exit = match tally.exit_class() {
        ExitClass::Skipped => Exit::NothingRan,
        ExitClass::Success => Exit::Ok,
        ExitClass::Failure => Exit::Failed,
        ExitClass::Broken => Exit::Broken,
        ExitClass::Cancelled => Exit::Interrupted,
    };
    let ran = tally.cases.ran();
    if exit == Exit::Ok && ran < require_ran {
        let message = anyhow::anyhow!("only {ran} of at least {require_ran} cases ran");
        return Err(Failure::new(Exit::NothingRan, message));
    }
    Ok(exit)
}

struct Runner<'a> {
    args: &'a Run,
    spec: LabSpec,
    cache: Cache,
    rootfs: RootFs,
    verbose: bool,
    events: EventSender,
    stop: CancellationToken,
    /// What this machine lacks for any lab.
    lacking: OnceLock<anyhow::Error>,
}

impl Runner<'_> {
    async fn all(&self, selected: &[Arc<Scenario>]) {
        let enough = CancellationToken::new();
        futures::stream::iter(selected)
            .take_until(self.stop.cancelled())
            .take_until(enough.cancelled())
            .for_each_concurrent(self.args.jobs.max(1), |scenario| async {
                let outcome = self.case(scenario).await;
                let failed = outcome.exit_class() > ExitClass::Success;
                if (failed && self.args.fail_fast) || self.lacking.get().is_some() {
                    enough.cancel();
                }
            })
            .await;
    }

    /// One case on a lab of its own.
    async fn case(&self, scenario: &Scenario) -> CaseOutcome {
        let log = Log::new(self.verbose);
        let lab = tokio::select! {
            lab = self.lab(scenario, &log) => lab,
            () = self.stop.cancelled() => return CaseOutcome::Cancelled,
        };
        let (lab, site) = match lab {
            Ok(started) => started,
            Err(error) => {
                let outcome =
                    self.broken(scenario, &format!("the lab did not start: {error:#}"), &log);
                if host::is_lacking(&error) {
                    // The same for every other case; whoever comes second says nothing new.
                    let _ = self.lacking.set(error);
                }
                return outcome;
            }
        };
        let options = RunOptions {
            cancel: self.stop.child_token(),
            // Everything goes with the lab.
            cleanup: Cleanup::Leave,
            ..RunOptions::default()
        };
        let outcome = trunkline_engine::run(scenario, Arc::new(site), options, &self.events).await;
        if let Err(error) = lab.shutdown().await {
            tracing::error!("the lab did not end well: {error}");
        }
        if matches!(outcome, CaseOutcome::Broken { .. }) {
            log.show();
        }
        outcome
    }

    async fn lab(&self, scenario: &Scenario, log: &Log) -> anyhow::Result<(Lab, LabSite)> {
        let mut spec = self.spec.clone();
        if self.args.lab.nodes.is_none()
            && let Some(workers) = &scenario.spec.requires.workers
        {
            spec.nodes = spec
                .nodes
                .max(u8::try_from(workers.value.saturating_add(1)).unwrap_or(u8::MAX));
        }
        let listener = host::listen(None).map_err(|failure| failure.report)?;
        let options = LabOptions {
            spec,
            rootfs: self.rootfs.clone(),
            cache: self.cache.clone(),
            listener,
            log: log.target(),
        };
        let lab = Lab::start(options).await?;
        host::ready(&lab).await?;
        let site = LabSite::new(&lab).await?;
        Ok((lab, site))
    }

    /// Tells of a case that could not even begin.
    fn broken(&self, scenario: &Scenario, reason: &str, log: &Log) -> CaseOutcome {
        let outcome = CaseOutcome::Broken {
            reason: reason.to_owned(),
        };
        let case = self.events.case(CaseId(scenario.full_name()));
        case.send(EventKind::CaseFinished {
            outcome: outcome.clone(),
            took: std::time::Duration::ZERO,
        });
        log.show();
        outcome
    }
}

/// The lab's log: shown as it comes, or kept in memory for the case that something breaks.
struct Log(Option<std::fs::File>);

/// More of it would hide what matters.
const LAST_LINES: usize = 40;

impl Log {
    fn new(verbose: bool) -> Self {
        if verbose {
            return Self(None);
        }
        let name = c"lab-log";
        let file = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC).ok();
        Self(file.map(Into::into))
    }

    fn target(&self) -> LogTo {
        use std::os::fd::AsRawFd;
        match &self.0 {
            Some(file) => LogTo::File(format!("/proc/self/fd/{}", file.as_raw_fd()).into()),
            None => LogTo::Stderr,
        }
    }

    /// Prints the end of it.
    fn show(&self) {
        let Some(file) = &self.0 else { return };
        let mut text = String::new();
        let mut file = file;
        if file.rewind().is_err() || file.read_to_string(&mut text).is_err() || text.is_empty() {
            return;
        }
        let lines: Vec<_> = text.lines().collect();
        eprintln!("the lab's log ends with:");
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            eprintln!("  {line}");
        }
    }
}
