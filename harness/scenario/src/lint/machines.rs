//! Virtual machines: what Kubernetes and KubeVirt would take in silence and nobody wants, and what KubeVirt refuses.

use serde_json::Value;

use super::attachments::qualified;
use super::machine_fields;
use super::world::{Key, World};
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::ManifestObject;
use crate::node::{Kind, Node};
use crate::suggest;

/// Everything about one object that is applied.
pub(super) fn check(world: &World<'_>, key: &Key, object: &ManifestObject) -> Vec<Diagnostic> {
    let kubevirt = object.value["apiVersion"]
        .as_str()
        .is_some_and(|version| version.starts_with("kubevirt.io/"));
    let kind = object.kind();
    if !kubevirt {
        return Vec::new();
    }
    let instance = match kind {
        "VirtualMachine" => descend(&object.node, &["spec", "template", "spec"]),
        "VirtualMachineInstance" => object.node.get("spec"),
        "VirtualMachineInstanceMigration" => None,
        _ => return Vec::new(),
    };
    let mut found = machine_fields::unknown(&object.node, kind);
    let (Some(instance), Some(namespace)) = (instance, &key.namespace) else {
        return found;
    };
    let machine = Machine {
        name: format!("{}/{namespace}/{}", key.kind, key.name),
        interfaces: items(descend(instance, &["domain", "devices", "interfaces"])),
        networks: items(instance.get("networks")),
    };
    machine.pairs(&mut found);
    for interface in &machine.interfaces {
        machine.interface(world, namespace, interface, &mut found);
    }
    found
}

struct Machine<'a> {
    name: String,
    interfaces: Vec<&'a Node>,
    networks: Vec<&'a Node>,
}

impl Machine<'_> {
    /// Interfaces and networks belong together by their names.
    fn pairs(&self, found: &mut Vec<Diagnostic>) {
        for (ones, others, what, other) in [
            (&self.interfaces, &self.networks, "interface", "networks"),
            (&self.networks, &self.interfaces, "network", "interfaces"),
        ] {
            for one in ones {
                let Some((name, at)) = text(one, "name") else {
                    continue;
                };
                let mut names = others.iter().filter_map(|node| text(node, "name"));
                if names.clone().any(|(other, _)| other == name) {
                    continue;
                }
                let error = Diagnostic::error(
                    Code::BadMachine,
                    &at.at,
                    format!(
                        "the {what} `{name}` of {} has no namesake among its {other}",
                        self.name
                    ),
                );
                let there: Vec<String> = names.by_ref().map(|(name, _)| name).collect();
                let near = suggest::closest(&name, there.iter().map(String::as_str));
                found.push(match near {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help(format!(
                        "add `{name}` to the {other}: `domain.devices.interfaces` and `networks` belong together by name"
                    )),
                });
            }
        }
    }

    fn interface(
        &self,
        world: &World<'_>,
        namespace: &str,
        interface: &Node,
        found: &mut Vec<Diagnostic>,
    ) {
        let Some((name, at)) = text(interface, "name") else {
            return;
        };
        let mac = text(interface, "macAddress");
        if let Some((mac, at)) = &mac
            && !is_mac(mac)
        {
            found.push(
                Diagnostic::error(
                    Code::BadMachine,
                    &at.at,
                    format!("`{mac}` is not a MAC address"),
                )
                .help("write six bytes, as in `02:00:00:00:00:01`"),
            );
        }
        let network = self
            .networks
            .iter()
            .find(|node| text(node, "name").is_some_and(|(other, _)| other == name));
        let Some(multus) = network.and_then(|network| network.get("multus")) else {
            return;
        };
        if let Some(masquerade) = interface.get("masquerade") {
            found.push(
                Diagnostic::error(
                    Code::BadMachine,
                    &masquerade.at,
                    format!(
                        "`masquerade` is for the pod network only, and `{name}` is a secondary one"
                    ),
                )
                .help("write `bridge: {}`"),
            );
        }
        let definition = text(multus, "networkName").map(|(name, _)| qualified(&name, namespace));
        if interface.get("bridge").is_some()
            && mac.is_none()
            && definition.is_some_and(|definition| assigns_nothing(world, &definition))
        {
            found.push(
                Diagnostic::warning(
                    Code::BadMachine,
                    &at.at,
                    format!(
                        "the interface `{name}` of {} has no `macAddress`, on a network that assigns no addresses: it is dead after a live migration",
                        self.name
                    ),
                )
                .help("write `macAddress: 02:…`; without, every launcher pod gets another one and the network drops what the guest sends"),
            );
        }
    }
}

/// Whether a definition that the scenario creates is a network of OVN-Kubernetes without subnets.
fn assigns_nothing(world: &World<'_>, definition: &str) -> bool {
    let Some((namespace, name)) = definition.split_once('/') else {
        return false;
    };
    let key = Key {
        kind: "nad".to_owned(),
        namespace: Some(namespace.to_owned()),
        name: name.to_owned(),
    };
    let config = world
        .object(&key)
        .and_then(|object| object.value["spec"]["config"].as_str())
        .and_then(|config| serde_json::from_str::<Value>(config).ok());
    config.is_some_and(|config| {
        config["type"] == "ovn-k8s-cni-overlay"
            && config["subnets"].as_str().unwrap_or_default().is_empty()
    })
}

fn is_mac(text: &str) -> bool {
    let bytes: Vec<&str> = text.split([':', '-']).collect();
    bytes.len() == 6
        && bytes
            .iter()
            .all(|byte| byte.len() == 2 && byte.chars().all(|c| c.is_ascii_hexdigit()))
}

fn items(list: Option<&Node>) -> Vec<&Node> {
    match list.map(|list| &list.kind) {
        Some(Kind::List(items)) => items.iter().collect(),
        _ => Vec::new(),
    }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<(String, &'a Node)> {
    let value = node.get(key)?;
    match value.to_json() {
        Value::String(text) => Some((text, value)),
        _ => None,
    }
}

fn descend<'a>(node: &'a Node, path: &[&str]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, key| node.get(key))
}
