//! What can be typed: the grammar of the command line and the words of its help.

mod scenarios;
mod sites;
#[cfg(test)]
mod tests;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};
use trunkline_userland::{ImageSource, RootKind};

pub use scenarios::{Lint, List, Matrix, Parity, Run, Selection};
pub use sites::{
    Connection, Doctor, Down, DownSite, Gc, KindDown, KindStatus, KindUp, LabArgs, LabDown, LabUp,
    MOST_WORKERS, SiteKind, Status, StatusSite, Up, UpSite,
};

/// End-to-end scenario tests for Kubernetes secondary networks and virtual machines.
///
/// A scenario is one YAML file that is test, demo and documentation at once. trunkline runs it on an embedded lab: a
/// Kubernetes API in front of real OVN, Open vSwitch and containers, in private namespaces of this machine. The same
/// file runs on a kind cluster that trunkline provisions, and on any cluster of a kubeconfig.
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
  trunkline up kind && trunkline run --site kind     the same scenarios on a cluster of containers
  trunkline run --site context --context staging     the same on a cluster that is there already
  trunkline doctor                                   what this machine lacks, and how to fix it

Exit codes:
  0  everything that ran passed          5  nothing ran (nothing selected, or all skipped)
  1  a scenario failed                   6  this machine lacks something the site needs
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
    /// Run scenarios: each on a lab of its own, or all on a cluster
    Run(Run),
    /// Start a lab or a kind cluster and keep it; prints the line that points kubectl at it
    Up(Up),
    /// End what `up` started
    Down(Down),
    Status(Status),
    /// List scenarios and their cases, or the labs that are up
    List(List),
    /// Check scenario files and their manifests without running them
    Lint(Lint),
    Parity(Parity),
    Matrix(Matrix),
    Gc(Gc),
    /// Print the JSON Schema of scenario files, for editors
    Schema,
    Doctor(Doctor),
    /// Build images of the catalogue into archives, or list them
    #[command(subcommand)]
    Images(Images),
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

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Supervise {
    #[command(flatten)]
    pub up: Up,
}

#[derive(Debug, Subcommand)]
pub enum Rootfs {
    /// Build what is missing (minutes the first time, nothing afterwards)
    Build {
        /// Which of them [default: those that every lab needs, lab and workload]
        #[arg(value_name = "NAME", value_parser = root_kind)]
        kinds: Vec<RootKind>,
    },
    /// Say what is there, and check it
    Status,
}

fn root_kind(name: &str) -> Result<RootKind, String> {
    let found = RootKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let all = RootKind::ALL.map(RootKind::name).join(", ");
        format!("there is no such root file system; there are {all}")
    })
}

#[derive(Debug, Subcommand)]
pub enum Images {
    /// Build images of the catalogue into archives that `--images DIR`, docker and containerd load
    Build(ImagesBuild),
    /// List the images of the catalogue, or those in a directory of archives
    List(ImagesList),
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where to").required(true).multiple(true).args(["out", "load"]))]
pub struct ImagesBuild {
    /// References to build [default: all images that the catalogue can build]
    #[arg(value_name = "REFERENCE")]
    pub references: Vec<String>,
    /// The directory to write archives into, one file an image
    #[arg(long, value_name = "DIR")]
    pub out: Option<Utf8PathBuf>,
    /// Load the images into Docker or Podman
    #[arg(long)]
    pub load: bool,
    /// Where images come from: `build` them from Debian packages, `pull` them, or a directory of archives
    #[arg(long, value_name = "build|pull|DIR", default_value_t = ImageSource::Build)]
    pub images: ImageSource,
    /// A catalogue of images to use instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
pub struct ImagesList {
    /// A directory of archives to list instead
    #[arg(long, value_name = "DIR")]
    pub images: Option<Utf8PathBuf>,
    /// A catalogue of images to use instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub catalogue: Option<Utf8PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
