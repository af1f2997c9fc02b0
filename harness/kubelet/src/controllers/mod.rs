//! What kube-scheduler and kube-controller-manager do for workloads, as ordinary kube-rs controllers.

mod common;
mod daemonset;
mod deployment;
mod endpoints;
mod informer;
mod job;
mod replicaset;
mod scheduler;
mod statefulset;
mod template;
pub(crate) mod volumes;

use kube::Client;
use std::path::PathBuf;
use tokio::task::JoinSet;

pub use endpoints::settled as endpoints_settled;

use crate::events::Recorder;

/// Running controllers; they end when this is dropped.
#[derive(Debug)]
pub struct Controllers {
    _tasks: JoinSet<()>,
}

/// Starts the scheduler and the controllers of ReplicaSets, Deployments, StatefulSets, DaemonSets, Jobs, the
/// endpoints of Services, and claims of the class `standard`, whose volumes are directories below `volumes`.
pub fn start(client: Client, volumes: PathBuf) -> Controllers {
    let recorder = Recorder::start(client.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(scheduler::run(client.clone(), recorder.clone()));
    tasks.spawn(replicaset::run(client.clone(), recorder.clone()));
    tasks.spawn(deployment::run(client.clone(), recorder.clone()));
    tasks.spawn(statefulset::run(client.clone(), recorder.clone()));
    tasks.spawn(daemonset::run(client.clone(), recorder.clone()));
    tasks.spawn(job::run(client.clone(), recorder.clone()));
    tasks.spawn(endpoints::run(client.clone(), recorder.clone()));
    tasks.spawn(volumes::run(client, recorder, volumes));
    Controllers { _tasks: tasks }
}
