//! What is installed, remembered in the cluster itself: an annotation per component with a hash of what it was made from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::component::{Action, Component, ComponentName, Manifest, file};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "trunkline";
const PREFIX: &str = "installed.trunkline.dev/";

/// Hashes of the components that are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Installed(BTreeMap<ComponentName, String>);

impl Installed {
    pub(super) async fn read(client: &Client) -> Result<Self, kube::Error> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        let annotations = api
            .get_opt(NAME)
            .await?
            .and_then(|map| map.metadata.annotations)
            .unwrap_or_default();
        Ok(Self::from_annotations(&annotations))
    }

    fn from_annotations(annotations: &BTreeMap<String, String>) -> Self {
        Self(
            annotations
                .iter()
                .filter_map(|(key, hash)| Some((key.strip_prefix(PREFIX)?.into(), hash.clone())))
                .collect(),
        )
    }

    /// Installed, and from just this.
    pub(super) fn is_current(&self, component: &Component) -> bool {
        self.0.get(&component.name) == Some(&hash(component))
    }

    pub(super) fn has(&self, component: &ComponentName) -> bool {
        self.0.contains_key(component)
    }
}

/// Notes a component. Each is a field manager of its own, so that several at once do not undo each other.
pub(super) async fn note(client: &Client, component: &Component) -> Result<(), kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let key = format!("{PREFIX}{}", component.name);
    let patch = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "annotations": {key: hash(component)}},
    });
    let manager = format!("trunkline-{}", component.name);
    api.patch(
        NAME,
        &PatchParams::apply(&manager).force(),
        &Patch::Apply(patch),
    )
    .await
    .map(drop)
}

/// Of everything that decides what is installed: the data, and our own files that it names.
fn hash(component: &Component) -> String {
    let mut hash = Sha256::new();
    hash.update(serde_json::to_vec(component).unwrap_or_default());
    for action in &component.install {
        let paths = match action {
            Action::Apply(Manifest::File(path)) => vec![path],
            Action::InNodes(script) => vec![&script.run, &script.check],
            Action::Helm(helm) => vec![&helm.values],
            Action::Apply(Manifest::Source(_)) | Action::LabelNodes(_) => vec![],
        };
        for path in paths {
            hash.update(file(path).unwrap_or_default());
        }
    }
    hex::encode(hash.finalize())[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::component;

    #[test]
    fn what_changed_is_not_current() {
        let multus = component(&"multus".into()).unwrap();
        let mut annotations = BTreeMap::from([
            (format!("{PREFIX}multus"), hash(multus)),
            ("else".to_owned(), "x".to_owned()),
        ]);
        assert!(Installed::from_annotations(&annotations).is_current(multus));
        let mut newer = multus.clone();
        newer.version = "v9".into();
        let installed = Installed::from_annotations(&annotations);
        assert!(!installed.is_current(&newer) && installed.has(&newer.name));
        annotations.clear();
        assert!(!Installed::from_annotations(&annotations).is_current(multus));
    }
}
