//! `trunkline parity`: the same scenarios on several sites, compared.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trunkline_engine::events::{self, RunId};
use trunkline_report::{
    Palette,
    parity::{Observed, Parity as Comparison, Verdict, compare, table},
};
use trunkline_scenario::Scenario;

use crate::{
    cli::{Connection, Global, Parity, SiteKind},
    exit::{Exit, Failure, OrExit},
    interrupt, out,
    runner::{Pace, Runner},
    sites::Sites,
    suite,
};

pub async fn run(args: &Parity, global: &Global) -> Result<Exit, Failure> {
    if args.sites.len() < 2 {
        let message = anyhow::anyhow!("parity takes two sites or more, as in `--sites lab,kind`");
        return Err(Failure::new(Exit::Usage, message));
    }
    let stop = interrupt::token()?;
    let loaded = suite::load(&args.selection);
    suite::sound(&loaded)?;
    let selected = suite::select(&loaded, &args.selection);
    if selected.is_empty() {
        let message =
            anyhow::anyhow!("no scenario is selected; `trunkline list` shows those there are");
        return Err(Failure::new(Exit::NothingRan, message));
    }
    // Every site is reached before anything is run on one of them: half a comparison is none.
    let mut sites = Vec::new();
    for kind in &args.sites {
        let connection = of_site(*kind, &args.connection);
        sites.push(tokio::select! {
            site = Sites::open(*kind, &connection, &args.lab, global) => site?,
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        });
    }
    // One site after the other: side by side they would slow each other down, and time is part of what is judged.
    let mut observed = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        let name = unique(site.name(), &observed);
        eprintln!("{} of {}: {name}", index + 1, sites.len());
        observed.push(observe(site, name, &selected, &stop).await?);
    }
    if stop.is_cancelled() {
        return Ok(Exit::Interrupted);
    }
    let comparison = compare(&observed);
    show(&comparison, args.json)?;
    Ok(match comparison.verdict() {
        Verdict::Same => Exit::Ok,
        Verdict::Different => Exit::Failed,
        Verdict::Broken => Exit::Broken,
        Verdict::NothingCompared => Exit::NothingRan,
    })
}

/// The options that concern one site; those of the others would be refused.
fn of_site(kind: SiteKind, all: &Connection) -> Connection {
    let mut own = all.clone();
    if kind != SiteKind::Context {
        own.kubeconfig = None;
        own.context = None;
    }
    if kind != SiteKind::Kind {
        own.name = None;
    }
    own
}

/// Two sites may be of one kind; the second one gets a number.
fn unique(name: &str, others: &[Observed]) -> String {
    let same = others
        .iter()
        .filter(|other| other.site == name || other.site.starts_with(&format!("{name} ")))
        .count();
    match same {
        0 => name.to_owned(),
        earlier => format!("{name} {}", earlier + 1),
    }
}

/// What comes of the cases on a site. Each site's run has an id of its own: it labels what it creates.
async fn observe(
    site: &Sites,
    name: String,
    selected: &[Arc<Scenario>],
    stop: &CancellationToken,
) -> Result<Observed, Failure> {
    let (sender, mut receiver) = events::channel(RunId::random());
    let gathering = tokio::spawn(async move {
        let mut observed = Observed::new(name);
        while let Some(event) = receiver.recv().await {
            observed.event(&event);
        }
        observed
    });
    let pace = Pace {
        // A case on a cluster mostly waits, for pods and for namespaces to go.
        jobs: 4,
        fail_fast: false,
        stop: stop.clone(),
    };
    Runner::new(site, pace, sender).all(selected).await?;
    gathering.await.or_exit(Exit::Broken)
}

fn show(comparison: &Comparison, json: bool) -> Result<(), Failure> {
    if json {
        return out::line(serde_json::to_string_pretty(comparison).or_exit(Exit::Broken)?);
    }
    let colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let palette = if colour {
        Palette::coloured()
    } else {
        Palette::plain()
    };
    out::line(table(comparison, &palette).trim_end())
}
