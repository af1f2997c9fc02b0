//! A cluster as the engine sees it: kind, or whatever a kubeconfig leads to.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Client, api::Api};
use trunkline_engine::{
    AgentDelivery, Capabilities, EvidenceRequest, HelperImage, Site, SiteError, Upload,
    events::{Convergence, Evidence, RunId},
    rights::{self, Need, Right, Verb},
};
use trunkline_scenario::model::Scenario;
use trunkline_userland::programs;

use crate::{
    capabilities::{self, Discovered},
    context::{self, ConnectOptions, ContextError, Review},
    evidence,
    journal::{ClusterId, FileJournal, Journals},
};

/// A cluster that is there already. Nothing is ever installed on it; what scenarios create there carries the run's
/// label and is in the run's journal.
#[derive(Clone)]
pub struct ClusterSite {
    name: String,
    client: Client,
    id: ClusterId,
    discovered: Discovered,
    helper: Option<HelperImage>,
}

impl fmt::Debug for ClusterSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSite")
            .field("name", &self.name)
            .field("id", &self.id)
            .field("discovered", &self.discovered)
            .finish_non_exhaustive()
    }
}

impl ClusterSite {
    /// Reaches the cluster and finds out what it offers.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ContextError> {
        let connection = context::connect(&options).await?;
        let discovered = capabilities::discover(&connection.client, &connection.version).await?;
        let id = ClusterId {
            uid: cluster_uid(&connection.client).await,
            server: connection.server,
            context: connection.context.clone(),
        };
        Ok(Self {
            name: if options.name.is_empty() {
                connection.context
            } else {
                options.name
            },
            client: connection.client,
            id,
            discovered,
            helper: options.helper,
        })
    }

    pub fn discovered(&self) -> &Discovered {
        &self.discovered
    }

    pub fn id(&self) -> &ClusterId {
        &self.id
    }

    /// The journal of a run on this cluster, for [`trunkline_engine::RunOptions`].
    pub fn journal(&self, journals: &Journals, run: &RunId) -> Arc<FileJournal> {
        journals.open(run, self.id.clone())
    }

    /// The rights a scenario needs here and we do not have.
    pub async fn review(&self, scenario: &Scenario) -> Result<Review, SiteError> {
        let mut needed = rights::needed(scenario, &self.client, self.exec()).await?;
        needed.extend(self.unseen(scenario));
        context::review(&self.client, needed)
            .await
            .map_err(|error| SiteError::new(error.to_string()))
    }

    /// `pods/exec` over a WebSocket is a GET; from 1.35 on the right to create is asked for as well.
    fn exec(&self) -> &'static [Verb] {
        let version = &self.discovered.version;
        if (version.major, version.minor) >= (1, 35) {
            &[Verb::Get, Verb::Create]
        } else {
            &[Verb::Get]
        }
    }

    fn has_ovn_kubernetes(&self) -> bool {
        self.discovered.capabilities.sdn.as_deref() == Some("ovn-kubernetes")
    }

    /// What the scenario requires and we may not even look at, and what evidence takes.
    fn unseen(&self, scenario: &Scenario) -> Vec<(Right, Need)> {
        let requires = &scenario.spec.requires;
        let list = |group: &str, resource: &str, need: Need| {
            let right = Right {
                namespace: None,
                group: group.to_owned(),
                resource: resource.to_owned(),
                subresource: None,
                verb: Verb::List,
                name: None,
            };
            (right, need)
        };
        let mut unseen = Vec::new();
        if requires.workers.is_some() && self.discovered.is_hidden("nodes") {
            unseen.push(list("", "nodes", Need::Must));
        }
        if requires.storage.is_some() && self.discovered.is_hidden("storageclasses") {
            unseen.push(list("storage.k8s.io", "storageclasses", Need::Must));
        }
        if self.has_ovn_kubernetes() {
            unseen.push(list("", "pods", Need::Helps));
        }
        unseen
    }
}

/// What tells this cluster from every other one.
async fn cluster_uid(client: &Client) -> Option<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.get("kube-system").await.ok()?.metadata.uid
}

#[async_trait]
impl Site for ClusterSite {
    fn name(&self) -> &str {
        &self.name
    }

    fn client(&self) -> Client {
        self.client.clone()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.discovered.capabilities
    }

    fn agent(&self) -> AgentDelivery {
        AgentDelivery::Upload(Upload {
            program: Bytes::from_static(programs::agent()),
            helper: self.helper.clone(),
        })
    }

    /// Everything in the way in one message, so that nobody has to ask for rights one at a time.
    async fn admit(&self, scenario: &Scenario) -> Result<Vec<String>, SiteError> {
        let mut obstacles = self.discovered.trouble(scenario);
        let review = self.review(scenario).await?;
        if !review.missing.is_empty() {
            let who = context::whoami(&self.client).await;
            let who = who.as_deref().unwrap_or("this identity");
            obstacles.push(format!("{who} cannot {}", review.sentence()));
        }
        if !obstacles.is_empty() {
            return Err(SiteError::new(obstacles.join("; ")));
        }
        let missed = rights::sentences(&review.missed);
        Ok(missed
            .into_iter()
            .map(|what| format!("reports have less to tell: we cannot {what}"))
            .collect())
    }

    /// Clusters give no word of when their network has taken a change in: conditions of objects are all there is.
    async fn barrier(&self) -> Result<Option<Convergence>, SiteError> {
        Ok(None)
    }

    async fn evidence(&self, question: &EvidenceRequest) -> Result<Option<Evidence>, SiteError> {
        if !self.has_ovn_kubernetes() {
            return Ok(None);
        }
        Ok(evidence::ask(&self.client, question).await)
    }
}
