//! A lab for every case.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use trunkline_engine::{Cleanup, missing};
use trunkline_lab::{Lab, LabOptions, LabSite, LabSpec, boot::LogTo};
use trunkline_scenario::Scenario;
use trunkline_userland::{Cache, RootFs};

use crate::{
    cli::{Global, LabArgs},
    exit::{Exit, Failure},
    host,
    sites::{Lease, NoSite},
};

pub const NAME: &str = "lab";

/// As many as `--nodes` takes; a scenario that requires more is skipped.
const MOST_NODES: u8 = 16;

/// What every lab is started from.
#[derive(Debug)]
pub struct Labs {
    spec: LabSpec,
    /// The number of nodes was asked for and is not a scenario's to change.
    fixed: bool,
    cache: Cache,
    rootfs: RootFs,
    verbose: bool,
}

/// The lab of one case.
pub struct LabLease {
    lab: Lab,
    log: Log,
}

impl Labs {
    pub async fn prepare(args: &LabArgs, global: &Global) -> Result<Self, Failure> {
        let spec = host::lab_spec(args)?;
        let cache = host::cache(global)?;
        let rootfs = host::prepare(&cache, &spec).await?;
        Ok(Self {
            spec,
            fixed: args.nodes.is_some(),
            cache,
            rootfs,
            verbose: global.verbose > 0,
        })
    }

    pub fn lacks(&self, scenario: &Scenario) -> Option<String> {
        let offered = LabSite::capabilities_of(&self.spec_for(scenario));
        missing(&scenario.spec.requires, NAME, &offered)
    }

    pub async fn lease(&self, scenario: &Scenario) -> Result<Lease, NoSite> {
        let log = Log::new(self.verbose);
        match self.start(scenario, &log).await {
            Ok((lab, site)) => Ok(Lease {
                site: Arc::new(site),
                // Everything goes with the lab.
                cleanup: Cleanup::Leave,
                journal: None,
                lab: Some(LabLease { lab, log }),
            }),
            Err(error) => {
                log.show();
                let reason = format!("the lab did not start: {error:#}");
                let for_all = host::is_lacking(&error).then(|| {
                    let hint =
                        "no lab can start on this machine; `trunkline doctor` says all it lacks";
                    Failure::new(Exit::Host, error.context(hint))
                });
                Err(NoSite { reason, for_all })
            }
        }
    }

    /// As large as the scenario requires.
    fn spec_for(&self, scenario: &Scenario) -> LabSpec {
        let mut spec = self.spec.clone();
        if !self.fixed
            && let Some(workers) = &scenario.spec.requires.workers
        {
            let nodes = u8::try_from(workers.value.saturating_add(1)).unwrap_or(u8::MAX);
            spec.nodes = spec.nodes.max(nodes.min(MOST_NODES));
        }
        spec
    }

    async fn start(&self, scenario: &Scenario, log: &Log) -> anyhow::Result<(Lab, LabSite)> {
        let listener = host::listen(None).map_err(|failure| failure.report)?;
        let options = LabOptions {
            spec: self.spec_for(scenario),
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
}

impl LabLease {
    pub async fn end(self, broken: bool) {
        if let Err(error) = self.lab.shutdown().await {
            tracing::error!("the lab did not end well: {error}");
        }
        if broken {
            self.log.show();
        }
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
