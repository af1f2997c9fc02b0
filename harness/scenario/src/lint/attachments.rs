//! What the objects of manifests refer to: networks, config maps, secrets, claims.

use serde_json::Value;

use super::world::{Key, Presence, World};
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::ManifestObject;
use crate::span::Span;
use crate::suggest;

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const POLICY_FOR: &str = "k8s.v1.cni.cncf.io/policy-for";

/// An attachment definition that an object names, as `namespace/name`.
pub(crate) struct Attachment {
    pub(crate) name: String,
    at: Span,
}

/// `name` in `namespace`, unless it says another.
pub(crate) fn qualified(name: &str, namespace: &str) -> String {
    if name.contains('/') {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

/// The attachment definitions that an object's pods want, by annotation or as a virtual machine's networks.
pub(crate) fn networks(object: &ManifestObject, namespace: &str) -> Vec<Attachment> {
    let mut found = Vec::new();
    for path in [&["metadata"][..], &["spec", "template", "metadata"]] {
        let metadata = descend(object, path);
        let annotation = metadata
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(|annotations| annotations.get(NETWORKS));
        if let Some(annotation) = annotation
            && let Value::String(text) = annotation.to_json()
        {
            found.extend(selected(&text).into_iter().map(|name| Attachment {
                name: qualified(&name, namespace),
                at: annotation.at.clone(),
            }));
        }
    }
    for path in [&["spec"][..], &["spec", "template", "spec"]] {
        let list = descend(object, path).and_then(|spec| spec.get("networks"));
        let Some(crate::node::Kind::List(items)) = list.map(|list| &list.kind) else {
            continue;
        };
        for item in items {
            let name = item
                .get("multus")
                .and_then(|multus| multus.get("networkName"));
            if let Some(name) = name
                && let Value::String(text) = name.to_json()
            {
                found.push(Attachment {
                    name: qualified(&text, namespace),
                    at: name.at.clone(),
                });
            }
        }
    }
    found
}

/// Names in a network selection annotation, in both of its forms.
fn selected(text: &str) -> Vec<String> {
    if !text.trim_start().starts_with('[') {
        return text
            .split(',')
            .map(|one| one.trim().split('@').next().unwrap_or("").to_owned())
            .filter(|name| !name.is_empty())
            .collect();
    }
    let Ok(Value::Array(elements)) = serde_json::from_str(text) else {
        // not JSON: the API takes it, and the pod says so
        return Vec::new();
    };
    elements
        .iter()
        .filter_map(|element| {
            let name = element["name"].as_str()?;
            Some(match element["namespace"].as_str() {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name.to_owned(),
            })
        })
        .collect()
}

/// Everything that one created object names and nobody created.
pub(crate) fn check(world: &World<'_>, key: &Key, object: &ManifestObject) -> Vec<Diagnostic> {
    let Some(namespace) = &key.namespace else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut wanted = networks(object, namespace);
    wanted.extend(policy_networks(object, namespace));
    for attachment in wanted {
        let Some((of, name)) = attachment.name.split_once('/') else {
            continue;
        };
        found.extend(missing(world, "nad", of, name, &attachment.at));
    }
    for (kind, name, at) in volumes(object) {
        found.extend(missing(world, kind, namespace, &name, &at));
    }
    found
}

fn policy_networks(object: &ManifestObject, namespace: &str) -> Vec<Attachment> {
    let annotation =
        descend(object, &["metadata", "annotations"]).and_then(|all| all.get(POLICY_FOR));
    let Some(annotation) = annotation else {
        return Vec::new();
    };
    let Value::String(text) = annotation.to_json() else {
        return Vec::new();
    };
    selected(&text)
        .into_iter()
        .map(|name| Attachment {
            name: qualified(&name, namespace),
            at: annotation.at.clone(),
        })
        .collect()
}

fn volumes(object: &ManifestObject) -> Vec<(&'static str, String, Span)> {
    let mut found = Vec::new();
    for path in [&["spec"][..], &["spec", "template", "spec"]] {
        let list = descend(object, path).and_then(|spec| spec.get("volumes"));
        let Some(crate::node::Kind::List(items)) = list.map(|list| &list.kind) else {
            continue;
        };
        for item in items {
            for (kind, volume, field) in [
                ("configmap", "configMap", "name"),
                ("secret", "secret", "secretName"),
                ("pvc", "persistentVolumeClaim", "claimName"),
            ] {
                let source = item.get(volume);
                let optional = source
                    .and_then(|source| source.get("optional"))
                    .is_some_and(|optional| optional.to_json() == Value::Bool(true));
                if let Some(name) = source.and_then(|source| source.get(field))
                    && let Value::String(text) = name.to_json()
                    && !optional
                {
                    found.push((kind, text, name.at.clone()));
                }
            }
        }
    }
    found
}

fn missing(
    world: &World<'_>,
    kind: &str,
    namespace: &str,
    name: &str,
    at: &Span,
) -> Option<Diagnostic> {
    let key = Key {
        kind: kind.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    };
    let what = match kind {
        "nad" => "network attachment definition",
        "configmap" => "config map",
        "pvc" => "persistent volume claim",
        other => other,
    };
    let made_by_network = kind == "nad"
        && (world.of_kind("udn", Some(namespace)).next().is_some()
            || world.of_kind("cudn", None).next().is_some());
    let made_by_cluster = kind == "configmap" && name == "kube-root-ca.crt";
    match world.presence(&key) {
        Some(Presence::Here) => None,
        Some(Presence::Deleted(by)) => Some(
            Diagnostic::error(
                Code::UnknownObject,
                at,
                format!("the {what} `{namespace}/{name}` is deleted by then"),
            )
            .and(by, "deleted here")
            .help("apply it again first"),
        ),
        None if made_by_network || made_by_cluster => None,
        None => {
            let error = Diagnostic::error(
                Code::UnknownObject,
                at,
                format!("no step up to this one creates the {what} `{namespace}/{name}`"),
            );
            let there: Vec<String> = world
                .of_kind(kind, None)
                .map(|(key, _)| format!("{}/{}", key.namespace.as_deref().unwrap_or(""), key.name))
                .collect();
            let wanted = format!("{namespace}/{name}");
            Some(
                match suggest::closest(&wanted, there.iter().map(String::as_str)) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => {
                        error.help("apply a manifest that holds it, in this step or an earlier one")
                    }
                },
            )
        }
    }
}

fn descend<'a>(object: &'a ManifestObject, path: &[&str]) -> Option<&'a crate::node::Node> {
    path.iter()
        .try_fold(&object.node, |node, key| node.get(key))
}
