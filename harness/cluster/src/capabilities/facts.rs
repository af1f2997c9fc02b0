//! What can be seen of a cluster.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Node, storage::v1::StorageClass};
use kube::{
    Client,
    api::{Api, ApiResource, DynamicObject, ListParams},
};
use serde::de::DeserializeOwned;
use trunkline_engine::api_message;

use crate::context::ContextError;

/// The groups whose kinds tell what is installed.
const GROUPS: [&str; 5] = [
    "k8s.cni.cncf.io",
    "k8s.ovn.org",
    "kubeovn.io",
    "nmstate.io",
    "kubevirt.io",
];

#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Group and plural of every kind of the groups above.
    pub kinds: BTreeSet<(String, String)>,
    pub daemon_sets: Seen<DaemonSet>,
    pub nodes: Seen<Node>,
    pub storage_classes: Seen<StorageClass>,
    /// The custom resources that stand for a whole installation; empty where their kind is not served.
    pub kubevirts: Seen<DynamicObject>,
    pub nmstates: Seen<DynamicObject>,
}

/// A list, or why we may not have it.
#[derive(Clone, Debug)]
pub(super) enum Seen<T> {
    Yes(Vec<T>),
    Hidden(String),
}

impl<T> Seen<T> {
    pub fn list(&self) -> Option<&[T]> {
        match self {
            Self::Yes(list) => Some(list),
            Self::Hidden(_) => None,
        }
    }
}

impl Facts {
    pub fn serves(&self, group: &str, plural: &str) -> bool {
        self.kinds.contains(&(group.to_owned(), plural.to_owned()))
    }

    pub fn serves_group(&self, group: &str) -> bool {
        self.kinds.iter().any(|(own, _)| own == group)
    }
}

pub(super) async fn gather(client: &Client) -> Result<Facts, ContextError> {
    let kinds = kinds(client).await?;
    let all = |group: &str, version: &str, kind: &str, plural: &str| {
        let served = kinds.contains(&(group.to_owned(), plural.to_owned()));
        let kind = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: format!("{group}/{version}"),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        async move {
            if served {
                list(&api, &kind.plural).await
            } else {
                Ok(Seen::Yes(Vec::new()))
            }
        }
    };
    let (daemon_sets, nodes, classes) = (
        Api::<DaemonSet>::all(client.clone()),
        Api::<Node>::all(client.clone()),
        Api::<StorageClass>::all(client.clone()),
    );
    let (daemon_sets, nodes, storage_classes, kubevirts, nmstates) = futures::try_join!(
        list(&daemon_sets, "daemonsets"),
        list(&nodes, "nodes"),
        list(&classes, "storageclasses"),
        all("kubevirt.io", "v1", "KubeVirt", "kubevirts"),
        all("nmstate.io", "v1", "NMState", "nmstates"),
    )?;
    Ok(Facts {
        kinds,
        daemon_sets,
        nodes,
        storage_classes,
        kubevirts,
        nmstates,
    })
}

/// What is served is told to everybody the cluster knows.
async fn kinds(client: &Client) -> Result<BTreeSet<(String, String)>, ContextError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: kube::Error| ContextError::Api {
            what,
            why: api_message(&error),
        }
    };
    let groups = client
        .list_api_groups()
        .await
        .map_err(failed("which groups of kinds it serves"))?;
    let mut kinds = BTreeSet::new();
    for group in groups.groups {
        if !GROUPS.contains(&group.name.as_str()) {
            continue;
        }
        for version in &group.versions {
            let list = client
                .list_api_group_resources(&version.group_version)
                .await
                .map_err(failed(&format!(
                    "which kinds are in {}",
                    version.group_version
                )))?;
            let whole = list
                .resources
                .into_iter()
                .filter(|kind| !kind.name.contains('/'));
            kinds.extend(whole.map(|kind| (group.name.clone(), kind.name)));
        }
    }
    Ok(kinds)
}

async fn list<K>(api: &Api<K>, what: &str) -> Result<Seen<K>, ContextError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Seen::Yes(list.items)),
        Err(error) => match &error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404) => {
                Ok(Seen::Hidden(api_message(&error)))
            }
            _ => Err(ContextError::Api {
                what: format!("which {what} there are"),
                why: api_message(&error),
            }),
        },
    }
}
