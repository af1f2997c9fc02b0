//! One cluster for all cases.

use std::sync::{Arc, OnceLock};

use trunkline_cluster::{
    ClusterSite, ConnectOptions, ContextError, agent,
    journal::{FileJournal, Journals},
    kind::{self, KindError},
};
use trunkline_engine::{Cleanup, HelperImage, Site, events::RunId};

use crate::{
    cli::Connection,
    exit::{Exit, Failure, OrExit},
    sites::Lease,
};

/// What reports call the cluster that `up kind` made.
const KIND: &str = "kind";

/// A cluster that is there before the run and after it.
#[derive(Debug)]
pub struct Shared {
    site: ClusterSite,
    journals: Journals,
    /// One for all cases of the run.
    journal: OnceLock<Arc<FileJournal>>,
}

impl Shared {
    /// The kind cluster of this name.
    pub async fn kind(connection: &Connection) -> Result<Self, Failure> {
        let name = connection.kind_name();
        let Some(cluster) = kind::find(name).map_err(kind_failure)? else {
            return Err(not_up(name).await);
        };
        Self::connect(ConnectOptions {
            kubeconfig: Some(cluster.kubeconfig),
            context: None,
            name: KIND.to_owned(),
            helper: match helper(connection) {
                Some(given) => Some(given),
                None => agent(name).await,
            },
        })
        .await
    }

    /// The cluster of a kubeconfig.
    pub async fn context(connection: &Connection) -> Result<Self, Failure> {
        Self::connect(context_options(connection)).await
    }

    async fn connect(options: ConnectOptions) -> Result<Self, Failure> {
        let journals = Journals::locate().or_exit(Exit::Broken)?;
        let site = ClusterSite::connect(options)
            .await
            .map_err(context_failure)?;
        Ok(Self {
            site,
            journals,
            journal: OnceLock::new(),
        })
    }

    pub fn name(&self) -> &str {
        self.site.name()
    }

    pub fn lease(&self, run: &RunId) -> Lease {
        let journal = self
            .journal
            .get_or_init(|| self.site.journal(&self.journals, run));
        Lease {
            site: Arc::new(self.site.clone()),
            cleanup: Cleanup::Remove,
            journal: Some(journal.clone()),
            lab: None,
        }
    }
}

/// The cluster that the options of the site `context` mean.
pub fn context_options(connection: &Connection) -> ConnectOptions {
    ConnectOptions {
        kubeconfig: connection.kubeconfig.clone().map(Into::into),
        context: connection.context.clone(),
        // The context's own.
        name: String::new(),
        helper: helper(connection),
    }
}

fn helper(connection: &Connection) -> Option<HelperImage> {
    connection
        .helper_image
        .clone()
        .map(|reference| HelperImage {
            reference,
            agent: None,
        })
}

/// The image of the agent, brought into the nodes. Without it only containers without a shell cannot be probed, so that
/// it cannot be brought stops nobody.
async fn agent(cluster: &str) -> Option<HelperImage> {
    match agent::ensure(cluster).await {
        Ok(helper) => Some(helper),
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!("probes from containers without a shell will fail: {error:#}");
            None
        }
    }
}

/// There is none of this name, or one that is not whole.
async fn not_up(name: &str) -> Failure {
    match kind::unfinished(name).await {
        Ok(Some(unfinished)) => Failure::new(Exit::Broken, anyhow::anyhow!(unfinished)),
        Ok(None) => Failure::new(
            Exit::Usage,
            anyhow::anyhow!(
                "no kind cluster {name:?} is up; make it with `trunkline up kind --name {name}`, or give another with --name"
            ),
        ),
        Err(error) => kind_failure(error),
    }
}

/// How a run ends that cannot use a cluster: 2 when the command line names nothing that exists, 4 when what it names
/// does not work.
pub fn context_failure(error: ContextError) -> Failure {
    use ContextError as E;
    let exit = match &error {
        E::NoKubeconfig
        | E::Unreadable { .. }
        | E::NotAKubeconfig { .. }
        | E::NoCurrentContext { .. }
        | E::NoSuchContext { .. } => Exit::Usage,
        E::Unusable { .. }
        | E::Unreachable { .. }
        | E::Unauthorized { .. }
        | E::NotKubernetes { .. }
        | E::Api { .. } => Exit::Broken,
    };
    Failure::new(exit, error)
}

/// How a command about kind clusters ends: 6 when this machine cannot have one, 2 when what is asked for cannot be, 7
/// when images or files cannot be had, else 4.
pub fn kind_failure(error: KindError) -> Failure {
    use KindError as E;
    if error.is_lacking() {
        let hint =
            "no kind cluster can be had on this machine; `trunkline doctor kind` says all it lacks";
        return Failure::new(Exit::Host, anyhow::Error::new(error).context(hint));
    }
    let exit = match &error {
        E::BadName(_)
        | E::NameTaken { .. }
        | E::OtherProfile { .. }
        | E::TooFewWorkers { .. }
        | E::OtherNodeImage { .. }
        | E::Plan(_)
        | E::NodeImage(_) => Exit::Usage,
        E::Image(_) | E::Source(_) => Exit::Userland,
        _ => Exit::Broken,
    };
    Failure::new(exit, error)
}
