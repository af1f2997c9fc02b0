//! What the chosen scenarios need of a cluster.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use trunkline_scenario::model::{Requires, Sdn};

use super::{Profile, profile};

/// Something a component brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Pods reach each other, and Services work.
    DefaultNetwork,
    /// A default storage class.
    Storage,
    /// NetworkAttachmentDefinitions are acted on.
    SecondaryNetworks,
    OvnKubernetes,
    KubeOvn,
    NetworkSegmentation,
    MultiNetworkPolicy,
    PersistentIps,
    Nmstate,
    Vms,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DefaultNetwork => "a default network",
            Self::Storage => "a default storage class",
            Self::SecondaryNetworks => "secondary networks",
            Self::OvnKubernetes => "OVN-Kubernetes",
            Self::KubeOvn => "Kube-OVN",
            Self::NetworkSegmentation => "primary user defined networks",
            Self::MultiNetworkPolicy => "MultiNetworkPolicy",
            Self::PersistentIps => "persistent addresses",
            Self::Nmstate => "nmstate",
            Self::Vms => "virtual machines",
        })
    }
}

/// What must be there beyond what the profile always has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub features: BTreeSet<Feature>,
    /// What nothing brings is left out in place of being refused.
    pub where_possible: bool,
    /// Nodes that take ordinary pods.
    pub workers: u32,
    /// Images of the scenarios' own pods.
    pub images: BTreeSet<String>,
}

impl Needs {
    /// What these scenarios require, taken together.
    pub fn of<'a>(requires: impl IntoIterator<Item = &'a Requires>) -> Self {
        let mut needs = Self::default();
        for requires in requires {
            needs.add(requires);
        }
        needs
    }

    /// Everything that a cluster of this profile can have; a node image may lack some of it.
    pub fn everything(of: Profile) -> Self {
        Self {
            features: profile(of)
                .iter()
                .flat_map(|component| component.provides.iter().copied())
                .collect(),
            where_possible: true,
            ..Self::default()
        }
    }

    fn add(&mut self, requires: &Requires) {
        if let Some(sdn) = &requires.sdn {
            self.features.insert(match sdn.value {
                Sdn::OvnKubernetes => Feature::OvnKubernetes,
                Sdn::KubeOvn => Feature::KubeOvn,
            });
        }
        let features = [
            (&requires.vms, Feature::Vms),
            (&requires.nmstate, Feature::Nmstate),
            (&requires.storage, Feature::Storage),
            (&requires.network_segmentation, Feature::NetworkSegmentation),
            (&requires.multi_network_policy, Feature::MultiNetworkPolicy),
        ];
        for (required, feature) in features {
            if required.as_ref().is_some_and(|required| required.value) {
                self.features.insert(feature);
            }
        }
        if let Some(workers) = &requires.workers {
            self.workers = self.workers.max(workers.value);
        }
    }
}
