//! Where cases run: every case on a lab of its own, or all of them on one cluster.

mod claims;
mod labs;
mod shared;

use std::{collections::BTreeSet, sync::Arc};

use trunkline_engine::{Cleanup, Journal, Site, events::RunId};
use trunkline_scenario::Scenario;
use trunkline_userland::ImageSource;

use crate::{
    cli::{Connection, Global, LabArgs, SiteKind},
    exit::{Exit, Failure},
};

pub use claims::Claims;
use labs::{LabLease, Labs};
use shared::Shared;
pub use shared::{context_failure, context_options, kind_failure};

/// Where the cases of a run get their sites from.
#[derive(Debug)]
pub enum Sites {
    Labs(Box<Labs>),
    Shared(Box<Shared>),
}

/// A site for one case.
pub struct Lease {
    pub site: Arc<dyn Site>,
    /// What the engine does with what the case created.
    pub cleanup: Cleanup,
    /// Where what the case creates is remembered, when it does not vanish with the site.
    pub journal: Option<Arc<dyn Journal>>,
    /// The lab that is the case's own and ends with it.
    lab: Option<LabLease>,
}

/// A case did not get a site.
pub struct NoSite {
    pub reason: String,
    /// How the run ends when every other case would fare the same.
    pub for_all: Option<Failure>,
}

impl Sites {
    /// Makes ready what all cases need. Nothing is created on a cluster yet, and no lab is started.
    pub async fn open(
        kind: SiteKind,
        connection: &Connection,
        lab: &LabArgs,
        global: &Global,
    ) -> Result<Self, Failure> {
        Ok(match kind {
            SiteKind::Lab => Self::Labs(Box::new(Labs::prepare(lab, global).await?)),
            SiteKind::Kind => Self::Shared(Box::new(Shared::kind(connection).await?)),
            SiteKind::Context => Self::Shared(Box::new(Shared::context(connection).await?)),
        })
    }

    pub fn name(&self) -> &str {
        match self {
            Self::Labs(_) => labs::NAME,
            Self::Shared(shared) => shared.name(),
        }
    }

    /// Why a scenario cannot run here, as far as that is known before its site is there.
    pub fn lacks(&self, scenario: &Scenario) -> Option<String> {
        match self {
            Self::Labs(labs) => labs.lacks(scenario),
            // It is there already, and the engine looks.
            Self::Shared(_) => None,
        }
    }

    /// What no two cases may use at the same time.
    pub fn claims(&self, scenario: &Scenario) -> BTreeSet<String> {
        match self {
            Self::Labs(_) => BTreeSet::new(),
            Self::Shared(_) => claims::of(scenario),
        }
    }

    pub async fn lease(&self, scenario: &Scenario, run: &RunId) -> Result<Lease, NoSite> {
        match self {
            Self::Labs(labs) => labs.lease(scenario).await,
            Self::Shared(shared) => Ok(shared.lease(run)),
        }
    }
}

impl Lease {
    /// Gives the site back. `broken` when the case could not be judged: then what the site has to say is shown.
    pub async fn end(self, broken: bool) {
        if let Some(lab) = self.lab {
            lab.end(broken).await;
        }
    }
}

/// Options of one site say nothing to another; who gives them expects something that would not happen.
pub fn check(kind: SiteKind, connection: &Connection) -> Result<(), Failure> {
    let given = [
        (
            "--kubeconfig",
            connection.kubeconfig.is_some(),
            SiteKind::Context,
        ),
        ("--context", connection.context.is_some(), SiteKind::Context),
        ("--name", connection.name.is_some(), SiteKind::Kind),
    ];
    for (option, given, site) in given {
        if given && site != kind {
            let message = anyhow::anyhow!("{option} is for the site {site}, and this is {kind}");
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    Ok(())
}

/// The same of the options that shape labs.
pub fn check_lab(kind: SiteKind, lab: &LabArgs) -> Result<(), Failure> {
    let given = [
        ("--nodes", lab.nodes.is_some()),
        ("--catalogue", lab.catalogue.is_some()),
        ("--images", lab.images != ImageSource::Build),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((option, _)) if kind != SiteKind::Lab => {
            let message = anyhow::anyhow!("{option} is for the site lab, and this is {kind}");
            Err(Failure::new(Exit::Usage, message))
        }
        _ => Ok(()),
    }
}
