//! What a cluster offers, found out without changing anything on it.

mod facts;
mod judge;
#[cfg(test)]
mod tests;

use std::fmt;

use kube::Client;
use trunkline_engine::Capabilities;
use trunkline_scenario::model::Scenario;

use crate::context::ContextError;

/// What there is on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    /// Held against what scenarios require. What we may not see counts as there: whoever needs it is told which right
    /// is missing, and not that the cluster lacks it.
    pub capabilities: Capabilities,
    pub version: ServerVersion,
    pub components: Vec<Found>,
    /// What our identity may not see.
    pub hidden: Vec<Hidden>,
}

/// The version of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// `v1.34.4`
    pub text: String,
    pub major: u32,
    pub minor: u32,
}

/// Something installed on a cluster that scenarios care for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    OvnKubernetes,
    KubeOvn,
    Multus,
    MultiNetworkPolicy,
    Nmstate,
    KubeVirt,
}

impl Component {
    pub const ALL: [Self; 6] = [
        Self::OvnKubernetes,
        Self::KubeOvn,
        Self::Multus,
        Self::MultiNetworkPolicy,
        Self::Nmstate,
        Self::KubeVirt,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::OvnKubernetes => "OVN-Kubernetes",
            Self::KubeOvn => "Kube-OVN",
            Self::Multus => "Multus",
            Self::MultiNetworkPolicy => "MultiNetworkPolicy",
            Self::Nmstate => "nmstate",
            Self::KubeVirt => "KubeVirt",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A component that is there, whole or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub component: Component,
    /// Where it says one.
    pub version: Option<String>,
    /// What is wrong with it, as far as it can be seen.
    pub trouble: Option<String>,
}

/// A kind of object that cannot be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    pub group: &'static str,
    pub resource: &'static str,
    /// The API's words.
    pub why: String,
}

impl Discovered {
    pub fn found(&self, component: Component) -> Option<&Found> {
        self.components
            .iter()
            .find(|found| found.component == component)
    }

    pub fn is_hidden(&self, resource: &str) -> bool {
        self.hidden.iter().any(|hidden| hidden.resource == resource)
    }

    /// What is half installed and this scenario builds on, in words.
    pub fn trouble(&self, scenario: &Scenario) -> Vec<String> {
        let needed = self
            .components
            .iter()
            .filter(|found| uses(scenario, found.component));
        needed
            .filter_map(|found| {
                let trouble = found.trouble.as_ref()?;
                Some(format!("{} is only half there: {trouble}", found.component))
            })
            .collect()
    }
}

/// Asks the cluster.
pub async fn discover(
    client: &Client,
    version: &k8s_openapi::apimachinery::pkg::version::Info,
) -> Result<Discovered, ContextError> {
    let facts = facts::gather(client).await?;
    Ok(judge::judge(&facts, version))
}

/// Whether a scenario builds on a component: it requires what the component gives, or applies its kinds of objects.
fn uses(scenario: &Scenario, component: Component) -> bool {
    let requires = &scenario.spec.requires;
    let on = |flag: &Option<trunkline_scenario::Located<bool>>| {
        flag.as_ref().is_some_and(|flag| flag.value)
    };
    let sdn = requires.sdn.as_ref().map(|sdn| sdn.as_str());
    let applies = |group: &str, kinds: &[&str]| {
        let objects = scenario
            .manifests
            .iter()
            .flat_map(|(_, file)| &file.objects);
        objects.into_iter().any(|object| {
            let version = object.value["apiVersion"].as_str().unwrap_or_default();
            version.split_once('/').is_some_and(|(own, _)| own == group)
                && (kinds.is_empty() || kinds.contains(&object.kind()))
        })
    };
    match component {
        Component::OvnKubernetes => {
            sdn == Some("ovn-kubernetes")
                || on(&requires.network_segmentation)
                || applies("k8s.ovn.org", &[])
        }
        Component::KubeOvn => sdn == Some("kube-ovn") || applies("kubeovn.io", &[]),
        Component::Multus => applies("k8s.cni.cncf.io", &["NetworkAttachmentDefinition"]),
        Component::MultiNetworkPolicy => {
            on(&requires.multi_network_policy)
                || applies("k8s.cni.cncf.io", &["MultiNetworkPolicy"])
        }
        Component::Nmstate => on(&requires.nmstate) || applies("nmstate.io", &[]),
        Component::KubeVirt => on(&requires.vms) || applies("kubevirt.io", &[]),
    }
}
