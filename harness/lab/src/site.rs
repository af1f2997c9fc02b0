//! The lab as the engine sees it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use async_trait::async_trait;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use trunkline_engine::{
    AgentDelivery, Capabilities, EvidenceRequest, Site, SiteError,
    events::{Convergence, Evidence},
};

use crate::{Lab, LabError, barrier, host::Life};

/// Where the kubelet shows the probe agent to every container.
const AGENT: &str = "/.trunkline/agent";

/// A running lab, for the engine.
#[derive(Clone)]
pub struct LabSite {
    client: kube::Client,
    capabilities: Capabilities,
    life: Life,
}

impl std::fmt::Debug for LabSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LabSite")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

impl LabSite {
    /// What a lab of this shape offers, before it is started.
    pub fn capabilities_of(spec: &crate::LabSpec) -> Capabilities {
        Capabilities {
            sdn: Some("ovn-kubernetes".to_owned()),
            storage: true,
            vms: true,
            workers: spec.workers(),
            ..Capabilities::default()
        }
    }

    pub async fn new(lab: &Lab) -> Result<Self, LabError> {
        Ok(Self {
            client: lab.client().await?,
            capabilities: Self::capabilities_of(lab.spec()),
            life: lab.life(),
        })
    }
}

#[async_trait]
impl Site for LabSite {
    fn name(&self) -> &'static str {
        "lab"
    }

    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn agent(&self) -> AgentDelivery {
        AgentDelivery::Present(PathBuf::from(AGENT))
    }

    async fn barrier(&self) -> Result<Option<Convergence>, SiteError> {
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk(barrier::GROUP, barrier::VERSION, "Barrier"),
            "barriers",
        );
        let barriers: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind);
        let passed = barriers
            .create(&PostParams::default(), &DynamicObject::new("now", &kind))
            .await
            .map_err(|error| SiteError::with_source("the lab's barrier", error))?;
        let status = &passed.data["status"];
        let took = |value: &serde_json::Value| {
            Duration::from_secs_f64(value["tookMilliseconds"].as_f64().unwrap_or_default() / 1000.0)
        };
        let zones: BTreeMap<_, _> = status["zones"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|zone| Some((zone["name"].as_str()?.to_owned(), took(zone))))
            .collect();
        Ok(Some(Convergence {
            took: took(status),
            zones,
        }))
    }

    /// Nothing yet: the deadline decides, and the report says so.
    async fn evidence(&self, _question: &EvidenceRequest) -> Result<Option<Evidence>, SiteError> {
        Ok(None)
    }

    async fn gone(&self) -> SiteError {
        SiteError::new(self.life.failure().await.to_string())
    }
}
