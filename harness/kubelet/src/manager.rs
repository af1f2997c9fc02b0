//! All nodes of the cluster: one watch over pods, one worker per pod.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::events::{Recorder, Reporter};
use crate::node;
use crate::oci::{TTY_GROUP, available};
use crate::pod::{Desired, NodeContext, Shared, Worker};
use crate::runtime::{Runc, adopt_orphans, cgroup};
use crate::volumes::Interest;

/// How many changes of ConfigMaps and Secrets a slow worker may miss before it looks at all of its volumes.
const CHANGES: usize = 256;

/// The kubelets of all nodes. Dropping it stops them; containers run on until the lab ends.
#[derive(Debug)]
pub struct Kubelet {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Kubelet {
    /// Registers the nodes and starts running pods. This process becomes the parent of all containers.
    ///
    /// # Errors
    /// When cgroups are mounted writable, a node cannot be registered, or the state directory cannot be made.
    pub async fn start(config: Config) -> Result<Self> {
        cgroup::shield()?;
        adopt_orphans()?;
        let state = config.paths.state.clone();
        for dir in ["pods", "sandboxes", "containers"] {
            let dir = state.join(dir);
            std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        }
        let shared = Arc::new(Shared {
            recorder: Recorder::start(config.client.clone()),
            runc: Runc::new(&config.paths.runc, &state).await?,
            client: config.client,
            images: config.images,
            cni: config.cni,
            connector: config.connector,
            state,
            agent: config.paths.agent,
            dns: config.dns,
            capabilities: available().map_err(|e| Error::Io {
                action: "read our capabilities",
                source: std::io::Error::other(e),
            })?,
            tty_group: group_is_mapped(TTY_GROUP),
            changes: broadcast::Sender::new(CHANGES),
        });
        let resources = node::machine_resources()?;
        let registrations = config
            .nodes
            .iter()
            .map(|node| node::register(&shared.client, node, &config.version, resources));
        futures::future::try_join_all(registrations).await?;
        let nodes: HashMap<String, Arc<NodeContext>> = config
            .nodes
            .into_iter()
            .map(|node| {
                let name = node.name.to_string();
                let context = NodeContext {
                    shared: Arc::clone(&shared),
                    reporter: Reporter {
                        component: "kubelet",
                        host: Some(name.clone()),
                    },
                    config: node,
                    cpu: resources.cpu,
                    memory: resources.memory,
                };
                (name, Arc::new(context))
            })
            .collect();
        let kubelet = Self {
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        kubelet.spawn(pods(shared.client.clone(), nodes));
        kubelet.spawn(objects::<ConfigMap>(
            Arc::clone(&shared),
            Interest::ConfigMap,
        ));
        kubelet.spawn(objects::<Secret>(shared, Interest::Secret));
        Ok(kubelet)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(work).await });
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// In a user namespace with few groups, terminals cannot belong to the usual one.
fn group_is_mapped(gid: u32) -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        match (fields.next(), fields.next(), fields.next()) {
            (Some(Ok(first)), Some(_), Some(Ok(count))) => {
                (first..first + count).contains(&u64::from(gid))
            }
            _ => false,
        }
    })
}

/// A pod that a worker was started for, until its object is gone.
struct Known {
    desired: watch::Sender<Desired>,
}

async fn pods(client: kube::Client, nodes: HashMap<String, Arc<NodeContext>>) {
    let api: Api<Pod> = Api::all(client);
    let mut known: HashMap<String, Known> = HashMap::new();
    // what a relist did not mention is gone
    let mut unseen: Option<HashSet<String>> = None;
    let stream = watcher(api, watcher::Config::default()).default_backoff();
    let mut stream = std::pin::pin!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                unseen = Some(known.keys().cloned().collect());
            }
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => {
                let uid = pod.uid().unwrap_or_default();
                if let Some(unseen) = &mut unseen {
                    unseen.remove(&uid);
                }
                apply(&nodes, &mut known, uid, pod);
            }
            Ok(Event::InitDone) => {
                for uid in unseen.take().into_iter().flatten() {
                    forget(&mut known, &uid);
                }
            }
            Ok(Event::Delete(pod)) => forget(&mut known, &pod.uid().unwrap_or_default()),
            Err(error) => tracing::warn!(%error, "watching pods"),
        }
    }
}

fn apply(
    nodes: &HashMap<String, Arc<NodeContext>>,
    known: &mut HashMap<String, Known>,
    uid: String,
    pod: Pod,
) {
    let Some(node) = pod
        .spec
        .as_ref()
        .and_then(|s| s.node_name.as_ref())
        .and_then(|name| nodes.get(name))
    else {
        return;
    };
    let pod = Arc::new(pod);
    if let Some(known) = known.get(&uid) {
        // a worker that has finished does not mind
        known.desired.send_if_modified(|desired| {
            let changed = !matches!(desired, Desired::Present(old) if same_wish(old, &pod));
            if changed {
                *desired = Desired::Present(pod);
            }
            changed
        });
        return;
    }
    let (desired, wishes) = watch::channel(Desired::Present(Arc::clone(&pod)));
    let worker = Worker::new(Arc::clone(node), pod, wishes);
    tokio::spawn(worker.run());
    known.insert(uid, Known { desired });
}

/// A worker's own status writes come back as changes of the pod; conditions of others matter to readiness gates.
fn same_wish(old: &Pod, new: &Pod) -> bool {
    let foreign = |pod: &Pod| -> Vec<(String, String)> {
        pod.status
            .iter()
            .flat_map(|s| s.conditions.iter().flatten())
            .filter(|c| !KUBELETS_CONDITIONS.contains(&c.type_.as_str()))
            .map(|c| (c.type_.clone(), c.status.clone()))
            .collect()
    };
    old.spec == new.spec
        && old.metadata.labels == new.metadata.labels
        && old.metadata.annotations == new.metadata.annotations
        && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp
        && old.metadata.deletion_grace_period_seconds == new.metadata.deletion_grace_period_seconds
        && foreign(old) == foreign(new)
}

const KUBELETS_CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

fn forget(known: &mut HashMap<String, Known>, uid: &str) {
    if let Some(known) = known.remove(uid) {
        known.desired.send_replace(Desired::Gone);
    }
}

/// Tells workers which ConfigMaps and Secrets changed.
async fn objects<K>(shared: Arc<Shared>, interest: fn(String) -> Interest)
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<K> = Api::all(shared.client.clone());
    let stream = watcher(api, watcher::Config::default())
        .default_backoff()
        .touched_objects();
    let mut stream = std::pin::pin!(stream);
    loop {
        match stream.try_next().await {
            Ok(Some(object)) => {
                let change = (
                    object.namespace().unwrap_or_default(),
                    interest(object.name_any()),
                );
                // nobody may be listening
                let _ = shared.changes.send(change);
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "watching objects of volumes"),
        }
    }
}
