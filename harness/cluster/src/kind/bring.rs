//! Brings one component to where it should be: does what is not so yet, and waits until it is ready.

use std::{collections::BTreeMap, path::PathBuf};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};
use trunkline_userland::archive::Archives;

use super::{
    ComponentFailure, KindError, Progress,
    apply::apply,
    config::{POD_NETWORK, SERVICE_NETWORK},
    explain,
    installed::{self, Installed},
    node_facts::{environments, facts},
    ready,
    state::{ClusterDir, Lock},
    tool::Tool,
};
use crate::{
    component::{Action, Component, Helm, Manifest, NodeLabel, NodeScript, Source, Sources, file},
    docker::{Docker, NodeContainer, NodeRole, Stdin, chain},
    images,
};

/// Everything that bringing a component takes.
pub(super) struct Bringer<'a> {
    pub(super) dir: &'a ClusterDir,
    pub(super) lock: &'a Lock,
    pub(super) docker: &'a Docker,
    pub(super) client: Client,
    pub(super) nodes: &'a [NodeContainer],
    pub(super) sources: &'a Sources,
    pub(super) archives: Option<&'a Archives>,
    pub(super) installed: Installed,
    /// The environment of scripts, per node; known once all nodes have joined.
    pub(super) environments: OnceCell<BTreeMap<String, Vec<String>>>,
}

impl Bringer<'_> {
    /// Whether there was nothing to do.
    pub(super) async fn bring(
        &self,
        component: &Component,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<bool, KindError> {
        let deadline = Instant::now() + component.deadline();
        match self.try_bring(component, deadline, progress).await {
            Ok(already) => Ok(already),
            Err(why) => Err(self.failure(component, why).await),
        }
    }

    async fn failure(&self, component: &Component, why: String) -> KindError {
        Box::new(ComponentFailure {
            component: component.name.clone(),
            title: component.title.clone(),
            cluster: self.dir.name().to_owned(),
            why,
            findings: explain::findings(&self.client, component).await,
            kubeconfig: self.dir.kubeconfig(),
        })
        .into()
    }

    async fn try_bring(
        &self,
        component: &Component,
        deadline: Instant,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<bool, String> {
        if self.is_so(component, deadline).await? {
            return Ok(true);
        }
        self.load_images(component, progress).await?;
        for action in &component.install {
            timeout_at(deadline, self.perform(component, action, deadline))
                .await
                .unwrap_or_else(|_| Err("it took longer than its time".to_owned()))?;
        }
        tokio::select! {
            done = ready::all(&self.client, &component.ready, deadline) => done?,
            why = explain::doomed(&self.client, component, self.archives.is_some()) => return Err(why),
        }
        installed::note(&self.client, component)
            .await
            .map_err(|error| format!("it cannot be noted in the cluster: {error}"))?;
        Ok(false)
    }

    /// Installed from just this data, ready, and every node as its script leaves it.
    async fn is_so(&self, component: &Component, deadline: Instant) -> Result<bool, String> {
        if !self.installed.is_current(component) {
            return Ok(false);
        }
        for one in &component.ready {
            let lacks = ready::now(&self.client, one)
                .await
                .map_err(|error| format!("{one} cannot be looked at: {error}"))?;
            if lacks.is_some() {
                return Ok(false);
            }
        }
        for action in &component.install {
            if let Action::InNodes(script) = action
                && !self.nodes_that_need(script, deadline).await?.is_empty()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn load_images(
        &self,
        component: &Component,
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<(), String> {
        let Some(archives) = self.archives else {
            return Ok(());
        };
        if component.images.is_empty() {
            return Ok(());
        }
        let wanted = images::wanted(&component.images, self.nodes);
        self.load(archives, &wanted, progress)
            .await
            .map_err(|error| chain(&error))
    }

    /// Loads what the nodes lack of these images.
    pub(super) async fn load(
        &self,
        archives: &Archives,
        wanted: &[images::Wanted],
        progress: &(impl Fn(Progress) + Sync),
    ) -> Result<(), images::ImageError> {
        let present = images::present(self.docker, &self.kubernetes_nodes()).await?;
        let loads = images::loads(wanted, &present, archives)?;
        let done = |loaded| progress(Progress::Image(loaded));
        images::load(self.docker, archives, loads, &done).await
    }

    fn kubernetes_nodes(&self) -> Vec<NodeContainer> {
        self.nodes
            .iter()
            .filter(|node| node.role != NodeRole::LoadBalancer)
            .cloned()
            .collect()
    }

    async fn perform(
        &self,
        component: &Component,
        action: &Action,
        deadline: Instant,
    ) -> Result<(), String> {
        match action {
            Action::Apply(Manifest::File(path)) => {
                let text = file(path).ok_or_else(|| format!("there is no file {path}"))?;
                apply(&self.client, text, deadline).await
            }
            Action::Apply(Manifest::Source(name)) => {
                let text = self.sources.text(source(component, name)?).await;
                apply(
                    &self.client,
                    &text.map_err(|error| chain(&error))?,
                    deadline,
                )
                .await
            }
            Action::InNodes(script) => self.in_nodes(script, deadline).await,
            Action::LabelNodes(label) => self.label(label).await,
            Action::Helm(helm) => self.helm(component, helm, deadline).await,
        }
    }

    async fn environments(
        &self,
        deadline: Instant,
    ) -> Result<&BTreeMap<String, Vec<String>>, String> {
        let known = self.environments.get_or_init(|| async {
            environments(&facts(&self.client, self.kubernetes_nodes().len()).await)
        });
        timeout_at(deadline, known).await.map_err(|_| {
            "not every node joined the cluster and got a network for its pods".to_owned()
        })
    }

    /// Runs the script where its check says that it is needed, in all such nodes at once.
    async fn in_nodes(&self, script: &NodeScript, deadline: Instant) -> Result<(), String> {
        let nodes = self.nodes_that_need(script, deadline).await?;
        let environments = self.environments(deadline).await?;
        let text = file(&script.run).ok_or_else(|| format!("there is no file {}", script.run))?;
        let runs = nodes.iter().map(|node| {
            let environment = environments.get(node).map_or(&[][..], Vec::as_slice);
            self.docker.must_run(
                node,
                &["bash", "-s"],
                environment,
                Stdin::Text(text.to_owned()),
            )
        });
        try_join_all(runs).await.map_err(|error| chain(&error))?;
        Ok(())
    }

    async fn nodes_that_need(
        &self,
        script: &NodeScript,
        deadline: Instant,
    ) -> Result<Vec<String>, String> {
        let environments = self.environments(deadline).await?;
        let check =
            file(&script.check).ok_or_else(|| format!("there is no file {}", script.check))?;
        let nodes = self.kubernetes_nodes();
        let checks = nodes.iter().map(|node| async {
            let environment = environments.get(&node.name).map_or(&[][..], Vec::as_slice);
            let ran = self
                .docker
                .run(
                    &node.name,
                    &["bash", "-s"],
                    environment,
                    Stdin::Text(check.to_owned()),
                )
                .await?;
            Ok::<_, crate::docker::DockerError>((ran.code != 0).then(|| node.name.clone()))
        });
        let needing = try_join_all(checks).await.map_err(|error| chain(&error))?;
        Ok(needing.into_iter().flatten().collect())
    }

    async fn label(&self, label: &NodeLabel) -> Result<(), String> {
        let api: Api<Node> = Api::all(self.client.clone());
        let patches = images::on(label.on, self.nodes).into_iter().map(|node| {
            let value = label.value.replace("${node}", &node);
            let patch = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"labels": {&label.label: value}},
            });
            let api = api.clone();
            // Its own field manager: several labels are applied one by one.
            let manager = format!("trunkline-{}", label.label.replace('/', "-"));
            async move {
                let parameters = PatchParams::apply(&manager).force();
                api.patch(&node, &parameters, &Patch::Apply(patch))
                    .await
                    .map_err(|error| format!("node/{node} could not be labelled: {error}"))
            }
        });
        try_join_all(patches).await.map(drop)
    }

    async fn helm(
        &self,
        component: &Component,
        helm: &Helm,
        deadline: Instant,
    ) -> Result<(), String> {
        let chart: PathBuf = self
            .sources
            .path(source(component, &helm.chart)?)
            .await
            .map_err(|error| chain(&error))?;
        let values =
            file(&helm.values).ok_or_else(|| format!("there is no file {}", helm.values))?;
        let values = self.substitute(values).await?;
        let name = format!("{}-values.yaml", helm.release);
        self.dir
            .write(&name, &values)
            .map_err(|error| chain(&error))?;
        let seconds = deadline.saturating_duration_since(Instant::now()).as_secs();
        Tool::new("helm")
            .arg("upgrade")
            .arg("--install")
            .arg(&helm.release)
            .path(&chart)
            .arg("--values")
            .path(&chart.join(&helm.base))
            .arg("--values")
            .path(&self.dir.path().join(name))
            .arg("--kubeconfig")
            .path(&self.dir.kubeconfig())
            .arg("--timeout")
            .arg(format!("{}s", seconds.max(1)))
            .run(self.lock, |line| tracing::debug!("helm: {line}"))
            .await
            .map_err(|error| chain(&error))
    }

    async fn substitute(&self, text: &str) -> Result<String, String> {
        let control_plane = self
            .nodes
            .iter()
            .find(|node| node.role == NodeRole::ControlPlane)
            .ok_or("the cluster has no control plane")?;
        let address = self
            .docker
            .address(&control_plane.name, crate::outside::NETWORK)
            .await
            .map_err(|error| chain(&error))?;
        Ok(text
            .replace("${api-server}", &format!("https://{address}:6443"))
            .replace("${pod-network}", POD_NETWORK)
            .replace("${service-network}", SERVICE_NETWORK))
    }
}

fn source<'c>(component: &'c Component, name: &str) -> Result<&'c Source, String> {
    component
        .sources
        .iter()
        .find(|source| source.name == name)
        .ok_or_else(|| format!("{} has no source {name}", component.name))
}
