//! virt-handler: one life for every VirtualMachineInstance that is scheduled to one of its nodes.

mod ending;
mod life;
mod machines;
mod running;
mod status;
mod writer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use trunkline_fabric::{NetNs, NodeName};
use trunkline_kubelet::{Connector, Recorder, Reporter, Severity};
use trunkline_kubevirt::types::{InterfaceBindingPlugin, KubeVirt, VirtualMachineInstance};
use trunkline_userland::machine::MachineImages;

use crate::domain::Domain;
use life::Life;

/// What a handler works with.
pub struct Config {
    pub client: kube::Client,
    /// That of the nodes' kubelets.
    pub connector: Connector,
    pub images: Arc<dyn MachineImages>,
    pub nodes: Vec<Node>,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// A node whose machines are handled.
#[derive(Debug, Clone)]
pub struct Node {
    pub name: NodeName,
    /// Where connections to machines are made from.
    pub netns: NetNs,
}

/// Runs machines until it is dropped; they all end with it.
#[derive(Debug)]
pub struct VirtHandler {
    context: Arc<Context>,
    _watching: AbortOnDropHandle<()>,
}

/// What all lives share.
pub(crate) struct Context {
    pub client: kube::Client,
    pub connector: Connector,
    pub images: Arc<dyn MachineImages>,
    nodes: HashMap<String, NetNs>,
    recorder: Recorder,
    domains: Mutex<HashMap<String, Running>>,
}

/// A running machine, as others reach it.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub domain: Arc<Domain>,
    pub node: NetNs,
    pub vmi: watch::Receiver<Arc<VirtualMachineInstance>>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

impl VirtHandler {
    /// Begins to watch. Must be called within a runtime.
    pub fn start(config: Config) -> Arc<Self> {
        let context = Arc::new(Context {
            recorder: Recorder::start(config.client.clone()),
            client: config.client,
            connector: config.connector,
            images: config.images,
            nodes: config
                .nodes
                .into_iter()
                .map(|node| (node.name.to_string(), node.netns))
                .collect(),
            domains: Mutex::default(),
        });
        let watching = tokio::spawn(watch_instances(Arc::clone(&context)));
        Arc::new(Self {
            context,
            _watching: AbortOnDropHandle::new(watching),
        })
    }
}

impl Context {
    pub(crate) fn node(&self, name: &str) -> Option<&NetNs> {
        self.nodes.get(name)
    }

    fn domains(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        // Every change is one insertion or removal.
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn event(
        &self,
        vmi: &VirtualMachineInstance,
        node: &str,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        let reporter = Reporter {
            component: "virt-handler",
            host: Some(node.to_owned()),
        };
        let about = ObjectReference {
            // Events are about one object, whatever version of it.
            resource_version: None,
            ..vmi.object_ref(&())
        };
        self.recorder
            .record(&reporter, about, severity, reason, message);
    }

    /// The binding plugins that the installation registers.
    pub(crate) async fn plugins(
        &self,
    ) -> Result<BTreeMap<String, InterfaceBindingPlugin>, kube::Error> {
        let installations: Api<KubeVirt> = Api::all(self.client.clone());
        let installed = installations
            .list(&kube::api::ListParams::default())
            .await?;
        Ok(installed
            .into_iter()
            .find_map(|kubevirt| kubevirt.spec.configuration.network)
            .map(|network| network.binding)
            .unwrap_or_default())
    }
}

/// One life per instance, by its uid: a new instance with an old name is another one.
#[derive(Default)]
struct Lives {
    known: HashMap<String, watch::Sender<Arc<VirtualMachineInstance>>>,
    tasks: JoinSet<()>,
}

async fn watch_instances(context: Arc<Context>) {
    let instances: Api<VirtualMachineInstance> = Api::all(context.client.clone());
    let events = watcher(instances, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut lives = Lives::default();
    let mut listed = HashSet::new();
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "the watch of instances broke and begins again");
                continue;
            }
        };
        match event {
            watcher::Event::Init => listed.clear(),
            watcher::Event::InitApply(vmi) => {
                listed.insert(vmi.uid().unwrap_or_default());
                lives.take(&context, vmi);
            }
            watcher::Event::InitDone => lives.known.retain(|uid, _| listed.contains(uid)),
            watcher::Event::Apply(vmi) => lives.take(&context, vmi),
            watcher::Event::Delete(vmi) => {
                lives.known.remove(&vmi.uid().unwrap_or_default());
            }
        }
        // Those that are over.
        while lives.tasks.try_join_next().is_some() {}
    }
}

impl Lives {
    fn take(&mut self, context: &Arc<Context>, vmi: VirtualMachineInstance) {
        let uid = vmi.uid().unwrap_or_default();
        let vmi = Arc::new(vmi);
        if let Some(known) = self.known.get(&uid) {
            known.send_replace(vmi);
            return;
        }
        let (sender, receiver) = watch::channel(vmi);
        self.known.insert(uid, sender);
        self.tasks
            .spawn(Life::new(Arc::clone(context), receiver).live());
    }
}
