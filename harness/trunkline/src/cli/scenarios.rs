//! The commands about scenarios.

use camino::Utf8PathBuf;
use clap::Args;

use super::sites::{Connection, LabArgs, SiteKind};

/// Which scenarios, and which of their cases.
#[derive(Debug, Args, Clone)]
pub struct Selection {
    /// Scenario files or directories
    #[arg(value_name = "PATH", default_value = "scenarios")]
    pub paths: Vec<Utf8PathBuf>,
    /// Only scenarios with this tag (repeat for any of several)
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Only scenarios or cases whose name contains this
    #[arg(long, short = 'k', value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only the case of exactly this name, as `trunkline list` prints it
    #[arg(long, value_name = "NAME")]
    pub case: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = RUN_HELP)]
pub struct Run {
    #[command(flatten)]
    pub selection: Selection,
    /// Where to run: every case on a lab of its own, or all on one cluster
    #[arg(long, value_enum, default_value_t = SiteKind::Lab)]
    pub site: SiteKind,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub lab: LabArgs,
    /// Write a JUnit report here
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    /// Write the event stream here, a JSON object per line
    #[arg(long, value_name = "FILE")]
    pub events: Option<Utf8PathBuf>,
    /// Append a summary in Markdown here, as for $GITHUB_STEP_SUMMARY
    #[arg(long, value_name = "FILE")]
    pub summary: Option<Utf8PathBuf>,
    /// Print failures and the summary only
    #[arg(long, short)]
    pub quiet: bool,
    /// How many cases may run side by side; on a cluster those that share names wait for each other
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Fail unless at least this many cases ran
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub require_ran: usize,
    /// Stop after the first case that does not pass
    #[arg(long)]
    pub fail_fast: bool,
}

const RUN_HELP: &str = "\
Sites:
  lab      a lab for every case, gone when the case ends; needs no cluster and no Docker
  kind     the kind cluster that `trunkline up kind` keeps
  context  the cluster of a kubeconfig; nothing is installed on it, what a run creates is labelled and removed

A scenario that requires what the site lacks is skipped, with the reason.";

/// Run scenarios on several sites and compare what came of every step
///
/// Every case is run on every site, and the outcomes are compared step by step, probe by probe, message by message. It
/// ends with 1 when they differ.
#[derive(Debug, Args)]
pub struct Parity {
    #[command(flatten)]
    pub selection: Selection,
    /// The sites to compare, two or more; the first is the one the others are held against
    #[arg(long, value_enum, value_name = "SITE,SITE", value_delimiter = ',', num_args = 1.., default_value = "lab,kind")]
    pub sites: Vec<SiteKind>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub lab: LabArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Print which scenarios to run on which profile, for a CI matrix
///
/// Computed from what the scenarios require and what the profiles of kind provide. A scenario that no profile can run is
/// named on standard error with the reason.
#[derive(Debug, Args)]
pub struct Matrix {
    #[command(flatten)]
    pub selection: Selection,
    /// Print the JSON that a GitHub Actions matrix is made from
    #[arg(long, required = true)]
    pub github: bool,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    pub selection: Selection,
    /// List the labs that are up instead
    #[arg(long)]
    pub labs: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Lint {
    #[command(flatten)]
    pub selection: Selection,
    /// Print one line per finding: `file:line:col: severity[code]: message`
    #[arg(long)]
    pub plain: bool,
    /// Treat warnings as errors
    #[arg(long)]
    pub deny_warnings: bool,
}
