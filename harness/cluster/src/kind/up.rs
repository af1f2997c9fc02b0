//! `up`: from whatever is there to a cluster with all it should have.

use std::collections::BTreeSet;

use tokio::{sync::OnceCell, time::Instant};
use trunkline_userland::archive::{self, Archives};

use super::{
    Cluster, Home, KindError, Phase, Progress, UpOptions,
    bring::Bringer,
    create,
    installed::Installed,
    make::{Maker, fresh, make},
    node_facts::awake,
    order::in_order,
    situation::{Situation, situation},
    state::ClusterDir,
};
use crate::{
    component::{Component, ComponentName, NodeImage, Nodes, Plan, Sources, plan},
    docker::{Docker, NodeContainer, NodeRole},
    images::{ImageError, Wanted, on, whole},
};

impl Home {
    pub async fn up(
        &self,
        options: UpOptions,
        progress: impl Fn(Progress) + Sync,
    ) -> Result<Cluster, KindError> {
        let nodes = options
            .node_image
            .as_deref()
            .map(NodeImage::read)
            .transpose()?;
        let plan = plan(options.profile, &options.needs, options.workers, nodes)?;
        self.up_as_planned(&plan, &options, progress).await
    }

    /// The same for components that somebody else chose.
    pub async fn up_as_planned(
        &self,
        plan: &Plan,
        options: &UpOptions,
        progress: impl Fn(Progress) + Sync,
    ) -> Result<Cluster, KindError> {
        let archives = read_archives(options)?;
        let archives = archives.as_ref();
        let sources = Sources::new(&options.cache, options.images.as_deref());
        let docker = Docker::connect().await?;
        let dir = self.cluster(&options.name)?;
        let lock = dir.lock().await?;

        let record = dir.record()?;
        let nodes = docker.nodes(dir.name()).await?;
        let situation = situation(dir.name(), record.as_ref(), &nodes, &dir.owner(), plan)
            .inspect_err(|_| {
                // A directory made only to find out that the name is somebody else's.
                if record.is_none() {
                    let _ = dir.forget();
                }
            })?;
        let mut record = match situation {
            Situation::Made => record.unwrap_or_else(|| fresh(&dir, plan)),
            Situation::Nothing | Situation::HalfMade => {
                let maker = Maker {
                    docker: &docker,
                    dir: &dir,
                    lock: &lock,
                    plan,
                    archives,
                    sources: &sources,
                };
                make(&maker, situation == Situation::HalfMade, &progress).await?
            }
        };
        record.components = merged(&record.components, &plan.components);
        record.phase = Phase::Installing;
        dir.save(&record)?;

        let nodes = docker.nodes(dir.name()).await?;
        let client = create::client(dir.name(), &dir.kubeconfig()).await?;
        start_stopped(&docker, &client, dir.name(), &nodes, &progress).await?;
        let bringer = Bringer {
            dir: &dir,
            lock: &lock,
            docker: &docker,
            installed: installed(&dir, &client).await?,
            client,
            nodes: &nodes,
            sources: &sources,
            archives,
            environments: OnceCell::new(),
        };
        let components = in_order(&plan.components, |component| {
            bring(&bringer, component, &progress)
        });
        let pods = images_for_pods(&bringer, plan, &progress);
        let (components, pods) = tokio::join!(components, pods);
        components?;
        pods?;
        record.phase = Phase::Ready;
        dir.save(&record)?;
        Ok(dir.cluster(&record))
    }
}

fn read_archives(options: &UpOptions) -> Result<Option<Archives>, KindError> {
    options
        .images
        .as_deref()
        .map(archive::read_dir)
        .transpose()
        .map_err(|error| ImageError::from(error).into())
}

/// What was installed before stays.
fn merged(before: &[ComponentName], now: &[Component]) -> Vec<ComponentName> {
    let mut all: Vec<ComponentName> = before.to_vec();
    for component in now {
        if !all.contains(&component.name) {
            all.push(component.name.clone());
        }
    }
    all
}

/// As after a restart of the machine. Until a node speaks, what the cluster says of it is from before.
async fn start_stopped(
    docker: &Docker,
    client: &kube::Client,
    name: &str,
    nodes: &[NodeContainer],
    progress: &(impl Fn(Progress) + Sync),
) -> Result<(), KindError> {
    let since = jiff::Timestamp::now();
    let mut started = BTreeSet::new();
    for node in nodes.iter().filter(|node| !node.running) {
        progress(Progress::Note(format!(
            "{} was stopped; it is started",
            node.name
        )));
        docker.start_node(node).await?;
        if node.role != NodeRole::LoadBalancer {
            started.insert(node.name.clone());
        }
    }
    if started.is_empty() {
        return Ok(());
    }
    awake(client, &started, since)
        .await
        .map_err(|asleep| KindError::Asleep {
            name: name.to_owned(),
            nodes: asleep.join(", "),
        })
}

async fn installed(dir: &ClusterDir, client: &kube::Client) -> Result<Installed, KindError> {
    Installed::read(client)
        .await
        .map_err(|error| KindError::Unreachable {
            name: dir.name().to_owned(),
            kubeconfig: dir.kubeconfig(),
            source: error.into(),
        })
}

async fn bring(
    bringer: &Bringer<'_>,
    component: &Component,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<(), KindError> {
    // The nodes themselves are there already.
    if component.nodes.is_some() {
        return Ok(());
    }
    let begun = Instant::now();
    let name = component.name.clone();
    progress(Progress::Begun {
        component: name.clone(),
    });
    let already = bringer.bring(component, progress).await?;
    progress(Progress::Done {
        component: name,
        already,
        took: begun.elapsed(),
    });
    Ok(())
}

/// What the directory holds for the scenarios' own pods goes to the nodes that take ordinary pods.
async fn images_for_pods(
    bringer: &Bringer<'_>,
    plan: &Plan,
    progress: &(impl Fn(Progress) + Sync),
) -> Result<(), KindError> {
    let Some(archives) = bringer.archives else {
        return Ok(());
    };
    let images = for_pods(plan, &archives.names());
    if images.is_empty() {
        return Ok(());
    }
    progress(Progress::Images(images.clone()));
    let nodes = on(Nodes::Workers, bringer.nodes);
    let wanted: Vec<Wanted> = images
        .into_iter()
        .map(|reference| Wanted {
            reference,
            nodes: nodes.clone(),
        })
        .collect();
    Ok(bringer.load(archives, &wanted, progress).await?)
}

/// The images that scenarios name, or everything that is no component's when they name none.
fn for_pods(plan: &Plan, archived: &[&str]) -> BTreeSet<String> {
    if !plan.images.is_empty() {
        return plan.images.clone();
    }
    let of_components: BTreeSet<String> = plan
        .components
        .iter()
        .flat_map(|component| &component.images)
        .map(|image| whole(&image.reference))
        .collect();
    let node_image = plan.nodes.image.split('@').next().unwrap_or_default();
    archived
        .iter()
        .filter(|name| !of_components.contains(**name) && **name != whole(node_image))
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Needs, Profile};

    #[test]
    fn pods_get_what_their_scenarios_name_or_all_that_is_no_components() {
        let mut plan = plan(Profile::OvnKubernetes, &Needs::default(), 2, None).unwrap();
        let archived = [
            "docker.io/library/db:1",
            "ghcr.io/k8snetworkplumbingwg/multus-cni:v4.2.3",
        ];
        assert_eq!(
            for_pods(&plan, &archived),
            BTreeSet::from(["docker.io/library/db:1".to_owned()])
        );
        plan.images.insert("db:1".into());
        assert_eq!(
            for_pods(&plan, &archived),
            BTreeSet::from(["db:1".to_owned()])
        );
    }
}
