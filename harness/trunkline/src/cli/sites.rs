//! The commands about sites: labs, kind clusters, clusters of a kubeconfig.

use std::fmt;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use trunkline_cluster::component;
use trunkline_userland::ImageSource;

/// More nodes than that are no help to a scenario, and no machine holds them.
pub const MOST_WORKERS: u8 = 15;

/// The name of the kind cluster when none is given.
const KIND_NAME: &str = "trunkline";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum SiteKind {
    Lab,
    Kind,
    Context,
}

impl fmt::Display for SiteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lab => "lab",
            Self::Kind => "kind",
            Self::Context => "context",
        })
    }
}

/// Which cluster is meant.
#[derive(Debug, Args, Clone, Default)]
pub struct Connection {
    /// The kubeconfig of the site `context` [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, help_heading = "Clusters", value_name = "FILE")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// The context of the site `context` [default: the kubeconfig's current one]
    #[arg(long, help_heading = "Clusters", value_name = "NAME")]
    pub context: Option<String>,
    /// The cluster of the site `kind` [default: trunkline]
    #[arg(long, help_heading = "Clusters", value_name = "NAME")]
    pub name: Option<String>,
    /// An image with a shell, already at hand on the nodes, for probes from containers that have no shell
    #[arg(long, help_heading = "Clusters", value_name = "IMAGE")]
    pub helper_image: Option<String>,
}

impl Connection {
    /// The kind cluster that is meant.
    pub fn kind_name(&self) -> &str {
        self.name.as_deref().unwrap_or(KIND_NAME)
    }
}

/// The shape of the lab.
#[derive(Debug, Args, Clone)]
pub struct LabArgs {
    /// Nodes of the lab: one control plane and the rest workers [default: 3; a scenario may require more]
    #[arg(long, help_heading = "Labs", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: Option<u8>,
    /// Where images come from: `build` them from Debian packages, `pull` them, or a directory of archives
    #[arg(long, help_heading = "Labs", value_name = "build|pull|DIR", default_value_t = ImageSource::Build)]
    pub images: ImageSource,
    /// A catalogue of images to use instead of the built-in one
    #[arg(long, help_heading = "Labs", value_name = "FILE")]
    pub catalogue: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = UP_HELP)]
pub struct Up {
    #[command(subcommand)]
    pub site: Option<UpSite>,
    #[command(flatten)]
    pub lab: LabUp,
}

const UP_HELP: &str = "\
Without a site it is a lab: `trunkline up` is `trunkline up lab`.
See `trunkline up kind --help` for the options of a kind cluster.";

#[derive(Debug, Subcommand)]
pub enum UpSite {
    /// Start a lab: up in about a second, needs neither Docker nor a network
    Lab(LabUp),
    Kind(KindUp),
}

#[derive(Debug, Args)]
pub struct LabUp {
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

/// What a kind cluster is furnished with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Profile {
    /// Kubernetes as kind brings it, for what needs no secondary network
    Plain,
    /// OVN-Kubernetes in place of kind's network, Multus, nmstate, KubeVirt
    OvnKubernetes,
}

impl From<Profile> for component::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Plain => Self::Plain,
            Profile::OvnKubernetes => Self::OvnKubernetes,
        }
    }
}

/// Start or complete a kind cluster with what a profile installs
///
/// A second call with the same name completes what is missing and takes seconds; after a failed or interrupted one it
/// goes on from there.
#[derive(Debug, Args)]
pub struct KindUp {
    /// What to furnish the cluster with
    #[arg(long, value_enum, default_value_t = Profile::Plain)]
    pub profile: Profile,
    /// Nodes beside the control plane
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=i64::from(MOST_WORKERS)))]
    pub workers: u8,
    /// A directory with archives of images (docker or OCI), for machines without a registry
    #[arg(long, value_name = "DIR")]
    pub images: Option<Utf8PathBuf>,
    /// The description of a node image to use in place of the pinned one (YAML: image, lacks, kubeadm-patches)
    #[arg(long, value_name = "FILE")]
    pub node_image: Option<Utf8PathBuf>,
    /// Install only what these scenarios need (files or directories) [default: all of the profile]
    #[arg(long = "for", value_name = "PATH", num_args = 1..)]
    pub scenarios: Vec<Utf8PathBuf>,
    /// The cluster's name
    #[arg(long, default_value = KIND_NAME)]
    pub name: String,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Down {
    #[command(subcommand)]
    pub site: Option<DownSite>,
    #[command(flatten)]
    pub lab: LabDown,
}

#[derive(Debug, Subcommand)]
pub enum DownSite {
    /// End a lab (this is also what `trunkline down` does)
    Lab(LabDown),
    /// Remove a kind cluster that `up kind` made
    Kind(KindDown),
}

#[derive(Debug, Args)]
pub struct LabDown {
    /// The lab's name
    #[arg(long, default_value = "lab", conflicts_with = "all")]
    pub name: String,
    /// End every lab of this user
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct KindDown {
    /// The cluster's name
    #[arg(long, default_value = KIND_NAME)]
    pub name: String,
}

/// Say what is up, and in which state
///
/// About a kind cluster it ends with 0 when it is complete, and with 4 when it is not.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Status {
    #[command(subcommand)]
    pub site: Option<StatusSite>,
    #[command(flatten)]
    pub lab: LabStatus,
}

#[derive(Debug, Subcommand)]
pub enum StatusSite {
    /// The labs that are up (this is also what `trunkline status` does)
    Lab(LabStatus),
    /// A kind cluster: its nodes, and each component of its profile
    Kind(KindStatus),
}

#[derive(Debug, Args)]
pub struct LabStatus {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct KindStatus {
    /// The cluster's name
    #[arg(long, default_value = KIND_NAME)]
    pub name: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Remove from a cluster what runs that died have left there
///
/// Only what carries the label of a run, stands in the journal of that run on this machine, and belongs to no run that
/// is alive.
#[derive(Debug, Args)]
pub struct Gc {
    /// The kubeconfig of the cluster [default: $KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<Utf8PathBuf>,
    /// The context of the cluster [default: the kubeconfig's current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Check what this machine or a cluster has and lacks for a site
///
/// Every finding says what is there, what does not work without it, and the one command that mends it.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The site to check for
    #[arg(value_enum, default_value_t = SiteKind::Lab)]
    pub site: SiteKind,
    /// For a context: the scenarios whose rights to check (files or directories)
    #[arg(long = "for", value_name = "PATH", num_args = 1.., default_value = "scenarios")]
    pub scenarios: Vec<Utf8PathBuf>,
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
