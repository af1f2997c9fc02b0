//! Server-side apply of manifests with several documents.

use std::time::Duration;

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use tokio::time::Instant;

use super::ready;
use crate::component::Ready;

/// Between attempts at what a webhook that is just starting refused; there is no event to wait for.
const AGAIN: Duration = Duration::from_millis(500);

/// Applies every document: namespaces and definitions first, then the rest in its order.
pub(super) async fn apply(client: &Client, text: &str, deadline: Instant) -> Result<(), String> {
    let (first, rest): (Vec<_>, Vec<_>) = documents(text)?.into_iter().partition(goes_first);
    for object in &first {
        one(client, object, deadline).await?;
    }
    let definitions: Vec<Ready> = first
        .iter()
        .filter(|object| kind(object) == "CustomResourceDefinition")
        .map(|object| Ready {
            kind: kind(object).to_owned(),
            api: None,
            namespace: None,
            name: Some(object.name_any()),
            condition: None,
        })
        .collect();
    ready::all(client, &definitions, deadline).await?;
    for object in &rest {
        one(client, object, deadline).await?;
    }
    Ok(())
}

fn goes_first(object: &DynamicObject) -> bool {
    matches!(kind(object), "Namespace" | "CustomResourceDefinition")
}

fn kind(object: &DynamicObject) -> &str {
    object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str())
}

async fn one(client: &Client, object: &DynamicObject, deadline: Instant) -> Result<(), String> {
    loop {
        let Err(error) = once(client, object).await else {
            return Ok(());
        };
        if !passing(&error) || Instant::now() + AGAIN >= deadline {
            return Err(format!(
                "{}/{} was refused: {error}",
                kind(object).to_lowercase(),
                object.name_any()
            ));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What becomes right by itself while the component starts: its webhook, or a kind that the server is about to serve.
fn passing(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            (status.code == 500 && status.message.contains("failed calling webhook"))
                || matches!(status.code, 429 | 503)
        }
        kube::Error::Discovery(_) => true,
        _ => false,
    }
}

async fn once(client: &Client, object: &DynamicObject) -> Result<(), kube::Error> {
    let types = object.types.clone().unwrap_or_default();
    let (group, version) = types
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", &types.api_version));
    let gvk = GroupVersionKind::gvk(group, version, &types.kind);
    let (resource, capabilities) = pinned_kind(client, &gvk).await?;
    let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => {
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    let parameters = PatchParams::apply("trunkline").force();
    api.patch(&object.name_any(), &parameters, &Patch::Apply(object))
        .await
        .map(drop)
}

/// The objects of a manifest; empty documents are none.
fn documents(text: &str) -> Result<Vec<DynamicObject>, String> {
    let mut objects = Vec::new();
    for document in split(text) {
        let options = serde_yaml::options! { legacy_octal_numbers: true };
        let value: serde_json::Value = serde_yaml::from_str_with_options(&document, options)
            .map_err(|error| format!("a manifest is no YAML: {}", error.without_snippet()))?;
        if value.is_null() {
            continue;
        }
        let object = serde_json::from_value(value)
            .map_err(|error| format!("a manifest holds something else than objects: {error}"))?;
        objects.push(object);
    }
    Ok(objects)
}

/// A line of its own that begins with `---` ends a document, wherever it stands.
fn split(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|document| {
        document
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    });
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart() {
        let text = "# only a comment\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n--- # second\n\
                    apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata:\n  key: |\n    ---\n    text\n---\n";
        let objects = documents(text).unwrap();
        assert_eq!(
            objects
                .iter()
                .map(ResourceExt::name_any)
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(objects[1].data["data"]["key"], "---\ntext\n");
    }

    #[test]
    fn our_own_files_are_manifests() {
        for path in [
            "bridge-network/rbac.yaml",
            "kubevirt/kubevirt.yaml",
            "nmstate/nmstate.yaml",
        ] {
            let objects = documents(crate::component::file(path).unwrap()).unwrap();
            assert_eq!(objects.len(), 1, "{path}");
        }
    }

    #[test]
    fn what_is_no_object_is_said() {
        assert!(
            documents("[1, 2]")
                .unwrap_err()
                .contains("something else than objects")
        );
        assert!(documents("a: [").unwrap_err().contains("no YAML"));
    }
}
