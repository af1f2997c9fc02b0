//! What can be typed: the grammar of the command line and the words of its help.

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// End-to-end scenario tests for Kubernetes secondary networks and virtual machines.
///
/// A scenario is one YAML file that is test, demo and documentation at once. trunkline runs it on an embedded lab: a
/// Kubernetes API in front of real OVN, Open vSwitch and containers, in private namespaces of this machine.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, propagate_version = true, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

const AFTER_HELP: &str = "\
Examples:
  trunkline run scenarios/overlay/ipam-pods.yaml     run one scenario on a lab of its own
  trunkline run --tag overlay --junit out.xml        run everything tagged overlay, write JUnit
  eval \"$(trunkline up)\" && kubectl get nodes        keep a lab and look around with kubectl
  trunkline doctor                                   what this machine lacks, and how to fix it

Exit codes:
  0  everything that ran passed          5  nothing ran (nothing selected, or all skipped)
  1  a scenario failed                   6  this machine lacks something the lab needs
  2  the command line is wrong           7  a root file system or an image could not be provided
  3  a scenario or manifest is wrong   130  interrupted
  4  the environment broke";

#[derive(Debug, Args)]
pub struct Global {
    /// Say more on standard error (-v: progress of the lab, -vv: everything)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Use colours: on a terminal, always or never (NO_COLOR is honoured)
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true, hide_possible_values = false)]
    pub color: Color,
    /// Where root file systems, images and programs are kept [default: the user's cache directory]
    #[arg(long, env = "TRUNKLINE_CACHE", value_name = "DIR", global = true)]
    pub cache: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run scenarios, each on a lab of its own
    Run(Run),
    /// Start a lab and keep it; prints the line that points kubectl at it
    Up(Up),
    /// End a lab that `up` started
    Down(Down),
    /// List scenarios and their cases, or the labs that are up
    List(List),
    /// Check scenario files and their manifests without running them
    Lint(Lint),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
    /// Check what this machine has and lacks for the lab
    Doctor(Doctor),
    /// Build or check the lab's root file systems
    #[command(subcommand)]
    Rootfs(Rootfs),
    /// Print a completion script for a shell
    Completion {
        /// The shell to write it for
        shell: clap_complete::Shell,
    },
    /// The background half of `up`
    #[command(name = "__supervise", hide = true)]
    Supervise(Supervise),
}

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

/// The shape of the lab.
#[derive(Debug, Args, Clone)]
pub struct LabArgs {
    /// Nodes of the lab: one control plane and the rest workers [default: 3; a scenario may require more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: Option<u8>,
    /// Where images come from: built from Debian packages, or pulled from their registries
    #[arg(long, value_enum, default_value_t = Images::Build)]
    pub images: Images,
    /// A catalogue of images to use instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Images {
    Build,
    Pull,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub selection: Selection,
    #[command(flatten)]
    pub lab: LabArgs,
    /// Write a JUnit report here
    #[arg(long, value_name = "FILE")]
    pub junit: Option<Utf8PathBuf>,
    /// Write the event stream here, a JSON object per line
    #[arg(long, value_name = "FILE")]
    pub events: Option<Utf8PathBuf>,
    /// Print failures and the summary only
    #[arg(long, short)]
    pub quiet: bool,
    /// How many labs may run side by side
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Fail unless at least this many cases ran
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub require_ran: usize,
    /// Stop after the first case that does not pass
    #[arg(long)]
    pub fail_fast: bool,
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub lab: LabArgs,
    /// The lab's name
    #[arg(long, default_value = "lab")]
    pub name: String,
    /// The port of 127.0.0.1 to serve the API on [default: any free one]
    #[arg(long)]
    pub port: Option<u16>,
    /// Stay in the foreground until Ctrl-C
    #[arg(long)]
    pub foreground: bool,
}

#[derive(Debug, Args)]
pub struct Supervise {
    #[command(flatten)]
    pub up: Up,
}

#[derive(Debug, Args)]
pub struct Down {
    /// The lab's name
    #[arg(long, default_value = "lab", conflicts_with = "all")]
    pub name: String,
    /// End every lab of this user
    #[arg(long)]
    pub all: bool,
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

#[derive(Debug, Args)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Rootfs {
    /// Build what is missing (minutes the first time, nothing afterwards)
    Build,
    /// Say what is there, and check it
    Status,
}
