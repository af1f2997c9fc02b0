//! `trunkline run`: every selected case, reported as it goes.

use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use trunkline_engine::{
    ExitClass,
    events::{self, EventKind, RunId},
};
use trunkline_report::{ReportOptions, Reports, Tally, Terminal};

use crate::{
    cli::{Global, Run},
    exit::{Exit, Failure, OrExit},
    interrupt,
    runner::{Pace, Runner},
    sites::{self, Sites},
    suite,
};

pub async fn run(args: &Run, global: &Global) -> Result<Exit, Failure> {
    sites::check(args.site, &args.connection)?;
    sites::check_lab(args.site, &args.lab)?;
    let stop = interrupt::token()?;
    let loaded = suite::load(&args.selection);
    suite::sound(&loaded)?;
    let selected = suite::select(&loaded, &args.selection);
    if selected.is_empty() {
        let message =
            anyhow::anyhow!("no scenario is selected; `trunkline list` shows those there are");
        return Err(Failure::new(Exit::NothingRan, message));
    }
    let reports = Reports::new(&report_options(args, global)).or_exit(Exit::Broken)?;
    let sites = tokio::select! {
        sites = Sites::open(args.site, &args.connection, &args.lab, global) => sites?,
        () = stop.cancelled() => return Ok(Exit::Interrupted),
    };

    let started = Instant::now();
    let (sender, receiver) = events::channel(RunId::random());
    let reporting = tokio::spawn(reports.drain(receiver));
    sender.send(EventKind::RunStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        site: sites.name().to_owned(),
        cases: selected.len(),
    });
    let pace = Pace {
        jobs: args.jobs,
        fail_fast: args.fail_fast,
        stop: stop.clone(),
    };
    let ran = Runner::new(&sites, pace, sender.clone())
        .all(&selected)
        .await;
    sender.send(EventKind::RunFinished {
        took: started.elapsed(),
    });
    drop(sender);

    let tally = reporting
        .await
        .or_exit(Exit::Broken)?
        .or_exit(Exit::Broken)?;
    ran?;
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
    if stop.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    verdict(&tally, args.require_ran)
}

fn report_options(args: &Run, global: &Global) -> ReportOptions {
    let owned =
        |path: &Option<Utf8PathBuf>| path.as_deref().map(Utf8Path::as_std_path).map(Into::into);
    ReportOptions {
        terminal: if args.quiet {
            Terminal::Quiet
        } else {
            Terminal::Auto
        },
        verbose: global.verbose > 0,
        junit: owned(&args.junit),
        markdown: owned(&args.summary),
        json_lines: owned(&args.events),
    }
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
