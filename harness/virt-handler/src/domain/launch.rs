//! From a scheduled VirtualMachineInstance to a running QEMU.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use trunkline_kubevirt::types::{InterfaceBindingPlugin, VirtualMachineInstance};
use trunkline_qemu::{Events, GuestAgent, Machine, Qmp, QmpError, command_line, plug, restore};
use trunkline_userland::machine::Template;

use super::Domain;
use super::agent::{Guest, Watcher};
use super::channels::Channels;
use super::console::Console;
use super::disks::{self, DiskError, Prepared};
use super::early::Early;
use super::facts::Facts;
use super::init_port::{self, Devices};
use super::launcher::{Launcher, LauncherError};
use super::machine::{Ends, MachineError, Parts};
use super::place::{Place, PlaceError};
use super::shape::{self, ShapeError};
use crate::handler::Context;
use crate::network::{self, Attached, NetworkError};

/// Until QEMU speaks; it does so in a fraction of a second, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a machine does not run, in KubeVirt's words where it has some.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("failed to configure vmi network: setup failed, err: Critical network error: {0}")]
    Network(#[from] NetworkError),
    #[error("{0}")]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("{0}")]
    Template(String),
    #[error("{0}")]
    Launcher(#[from] LauncherError),
    #[error("server error. command SyncVMI failed: \"{0}\"")]
    Qmp(#[from] QmpError),
    #[error("QEMU says nothing")]
    Silent,
    #[error("cannot make a socket pair: {0}")]
    Sockets(io::Error),
}

/// QEMU runs; the guest does not yet.
#[derive(Debug)]
pub struct Launched {
    pub launcher: Launcher,
    pub domain: Domain,
    pub events: Events,
    machine: Machine,
    /// Of the template that is to be woken.
    state: Option<PathBuf>,
}

/// Starts QEMU in the machine's pod.
pub async fn launch(
    context: &Context,
    vmi: &VirtualMachineInstance,
    node: &str,
    plugins: &BTreeMap<String, InterfaceBindingPlugin>,
    early: impl Future<Output = Early>,
) -> Result<Launched, LaunchError> {
    let shape = shape::shape(vmi)?;
    let place = Place::find(context.client.clone(), context.connector.clone(), vmi, node).await?;
    let request = network::Request {
        netns: &place.netns,
        pod: &place.pod,
        vmi,
        resolv_conf: &place.resolv_conf,
        plugins,
        nft: &["nft"],
    };
    let network = timed("network", async {
        Ok::<_, LaunchError>(network::attach(&request).await?)
    });
    let storage = timed("storage", storage(vmi, &place, early));
    let launcher = timed("launcher", async {
        Ok(Launcher::connect(&place.sockets).await?)
    });
    let (attached, (disks, template), launcher) = tokio::try_join!(network, storage, launcher)?;
    let accelerator = match &template {
        Some(template) => template.accelerator,
        None => context.images.accelerator().await,
    };
    let (ends, ours) = socket_pairs().map_err(LaunchError::Sockets)?;
    let assembled = Parts {
        vmi,
        shape,
        disks: &disks,
        attached: &attached,
        template: template.as_ref(),
        accelerator,
        ends,
        private: place.private_in_pod.clone(),
    }
    .assemble()?;
    let start = Start {
        launcher,
        machine: assembled.machine,
        state: assembled.state,
        facts: Facts::of(vmi, &attached, &disks),
        attached,
        private: place.private,
    };
    start.run(assembled.files, ours).await
}

/// Tells how long a part of it took.
async fn timed<T>(part: &'static str, work: impl Future<Output = T>) -> T {
    let begun = tokio::time::Instant::now();
    let done = work.await;
    tracing::debug!(part, took = ?begun.elapsed(), "a machine is started");
    done
}

/// The disks, and the template if there is one for such a machine.
async fn storage(
    vmi: &VirtualMachineInstance,
    place: &Place,
    early: impl Future<Output = Early>,
) -> Result<(Vec<Prepared>, Option<Template>), LaunchError> {
    let mut early = early.await;
    let template = early.template();
    let disks = disks::prepare(vmi, place, early).await?;
    Ok((disks, template.map_err(LaunchError::Template)?))
}

/// Our ends of the socket pairs.
struct Ours {
    monitor: UnixStream,
    agent: UnixStream,
    init: UnixStream,
}

fn socket_pairs() -> io::Result<(Ends, Ours)> {
    let pair = || -> io::Result<(OwnedFd, UnixStream)> {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        Ok((theirs.into(), UnixStream::from_std(ours)?))
    };
    let (monitor, our_monitor) = pair()?;
    let (agent, our_agent) = pair()?;
    let (init, our_init) = pair()?;
    let theirs = Ends {
        monitor,
        agent,
        init,
    };
    let ours = Ours {
        monitor: our_monitor,
        agent: our_agent,
        init: our_init,
    };
    Ok((theirs, ours))
}

struct Start {
    launcher: Launcher,
    machine: Machine,
    state: Option<PathBuf>,
    facts: Facts,
    attached: Attached,
    private: PathBuf,
}

impl Start {
    async fn run(
        mut self,
        files: super::files::Files,
        ours: Ours,
    ) -> Result<Launched, LaunchError> {
        let started = self.launcher.start(command_line(&self.machine), files);
        timed("start", started).await?;
        let monitor = timed("monitor", Qmp::connect(ours.monitor));
        let connected = tokio::time::timeout(PATIENCE, monitor).await;
        let qmp = match connected {
            Ok(Ok(qmp)) => qmp,
            // What QEMU wrote before it ended says more.
            Ok(Err(_)) => return Err(self.launcher.exit().await.into()),
            Err(_) => return Err(LaunchError::Silent),
        };
        let events = qmp.events();
        let channels = Channels::default();
        let look = Arc::new(Notify::new());
        let agent = Arc::new(GuestAgent::new(ours.agent));
        let guest = watch::Sender::new(Guest::default());
        let up = watch::Sender::new(false);
        let watcher = Watcher {
            agent: Arc::clone(&agent),
            open: channels.agent.subscribe(),
            up: self.state.is_some().then(|| up.subscribe()),
            look: Arc::clone(&look),
            guest: guest.clone(),
        };
        let devices = self.state.is_some().then(|| Devices {
            nics: count(self.machine.nics.len()),
            disks: count(self.machine.disks.len().saturating_sub(1)),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(watcher.run());
        tasks.spawn(init_port::serve(
            ours.init,
            channels.init.subscribe(),
            devices,
            up,
        ));
        let domain = Domain {
            qmp,
            agent,
            facts: self.facts,
            guest: guest.subscribe(),
            console: Console::new(self.private.clone()),
            look,
            channels,
            rebooting: AtomicBool::new(false),
            private: self.private,
            _attached: self.attached,
            _tasks: tasks,
        };
        Ok(Launched {
            launcher: self.launcher,
            domain,
            events,
            machine: self.machine,
            state: self.state,
        })
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Launched {
    /// Lets the guest run, unless it is to start paused.
    pub async fn boot(&mut self, paused: bool) -> Result<(), LaunchError> {
        match self.begin(paused).await {
            Err(QmpError::Gone | QmpError::Io(_)) => Err(self.launcher.exit().await.into()),
            result => Ok(result?),
        }
    }

    async fn begin(&self, paused: bool) -> Result<(), QmpError> {
        let qmp = &self.domain.qmp;
        if let Some(state) = &self.state {
            timed("restore", restore(qmp, state)).await?;
        }
        timed("plug", plug(qmp, &self.machine)).await?;
        if !paused {
            qmp.run("cont", json!({})).await?;
        }
        self.domain.channels.look(qmp).await
    }
}
