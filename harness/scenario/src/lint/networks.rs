//! Network attachment definitions: the configuration is JSON inside a string, and nobody checks it before
//! a pod fails to start.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::ManifestObject;
use crate::model::{Action, Scenario};
use crate::node::{Kind, Node};
use crate::span::Span;
use crate::suggest;

const OVN_KUBERNETES: &str = "ovn-k8s-cni-overlay";
const TOPOLOGIES: &[&str] = &["layer2", "layer3", "localnet"];

/// Keys that OVN-Kubernetes reads.
const KEYS: &[&str] = &[
    "cniVersion",
    "name",
    "type",
    "netAttachDefName",
    "topology",
    "role",
    "subnets",
    "excludeSubnets",
    "reservedSubnets",
    "infrastructureSubnets",
    "defaultGatewayIPs",
    "joinSubnet",
    "transitSubnet",
    "mtu",
    "vlanID",
    "physicalNetworkName",
    "allowPersistentIPs",
    "transport",
    "outboundSNAT",
    "evpn",
    "uplink",
    "ipam",
    "dns",
    "capabilities",
    "runtimeConfig",
    "prevResult",
    "logFile",
    "logLevel",
    "logfile-maxsize",
    "logfile-maxbackups",
    "logfile-maxage",
    "deviceID",
];

/// Keys on which all attachments of one network must agree.
const SHARED: &[&str] = &[
    "topology",
    "role",
    "subnets",
    "excludeSubnets",
    "mtu",
    "vlanID",
    "physicalNetworkName",
    "allowPersistentIPs",
    "joinSubnet",
];

/// A definition that could be read.
struct Definition<'a> {
    at: Span,
    network: String,
    object: &'a ManifestObject,
    config: Map<String, Value>,
}

pub(crate) fn check(scenario: &Scenario) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut definitions: Vec<Definition<'_>> = Vec::new();
    for step in &scenario.spec.steps {
        let Action::Apply(apply) = &step.action else {
            continue;
        };
        if apply.rejected.is_some() {
            continue;
        }
        let namespace = apply
            .namespace
            .as_ref()
            .map_or("default", |one| one.value.as_str());
        for path in &apply.files {
            let Some(manifest) = scenario.manifests.get(path) else {
                continue;
            };
            for object in &manifest.objects {
                if object.kind() == "NetworkAttachmentDefinition" {
                    definitions.extend(definition(object, namespace, &mut found));
                }
            }
        }
    }
    found.extend(disagreements(&definitions));
    found
}

fn bad(at: &Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::BadNetwork, at, message)
}

fn definition<'a>(
    object: &'a ManifestObject,
    namespace: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<Definition<'a>> {
    let spec = object.node.get("spec");
    let Some(node) = spec.and_then(|spec| spec.get("config")) else {
        if object.node.get("config").is_some() {
            found.push(
                bad(
                    &object.locate("config"),
                    "`config` stands beside `spec`, not in it",
                )
                .help("indent it below `spec:`; as it is, the definition has no configuration"),
            );
        }
        return None;
    };
    let Kind::Text(text) = &node.kind else {
        found.push(
            bad(
                &node.at,
                format!("`config` is JSON in a text, not {}", node.describe()),
            )
            .help("write it after `config: |`, or in single quotes"),
        );
        return None;
    };
    let config: Map<String, Value> = match serde_json::from_str(text) {
        Ok(Value::Object(config)) => config,
        Ok(_) => {
            found.push(
                bad(&node.at, "`config` is not a JSON object").help("write `{\"cniVersion\": …}`"),
            );
            return None;
        }
        Err(error) => {
            found.push(not_json(node, text, &error));
            return None;
        }
    };
    if config.get("type").and_then(Value::as_str) != Some(OVN_KUBERNETES) {
        return None;
    }
    let namespace = object.namespace().unwrap_or(namespace);
    let checker = Checker {
        node,
        text,
        config: &config,
    };
    let before = found.len();
    checker.keys(found);
    checker.identity(&format!("{namespace}/{}", object.name()), found);
    checker.topology(found);
    checker.subnets(found);
    let network = config.get("name").and_then(Value::as_str)?.to_owned();
    (found.len() == before).then(|| Definition {
        at: node.at.clone(),
        network,
        object,
        config,
    })
}

/// The place that the JSON parser complains about, inside of the YAML string.
fn not_json(node: &Node, text: &str, error: &serde_json::Error) -> Diagnostic {
    let message = error.to_string();
    let why = message.split(" at line ").next().unwrap_or(&message);
    let line = text
        .lines()
        .nth(error.line().saturating_sub(1))
        .unwrap_or("");
    let at = place_of_line(node, error.line(), line, error.column());
    bad(&at, format!("`config` is not JSON: {why}"))
        .help("JSON wants double quotes around names and texts, a comma between entries and none after the last")
}

fn place_of_line(node: &Node, number: usize, line: &str, column: usize) -> Span {
    let written = node.at.text();
    let mut start = 0;
    for (index, candidate) in written.split_inclusive('\n').enumerate() {
        if index + 1 == number
            && let Some(offset) = candidate.find(line.trim_end())
        {
            let byte = start + offset + column.saturating_sub(1).min(line.len());
            return node.at.part(byte..byte + 1);
        }
        start += candidate.len();
    }
    node.at.clone()
}

struct Checker<'a> {
    node: &'a Node,
    text: &'a str,
    config: &'a Map<String, Value>,
}

impl Checker<'_> {
    /// Where the value of a key is written, as well as it can be told.
    fn place(&self, key: &str) -> Span {
        let written = self.node.at.text();
        let quoted = format!("\"{key}\"");
        match written.find(&quoted) {
            Some(start) => {
                let end = written[start..]
                    .find(['\n', ','])
                    .map_or(written.len(), |length| start + length);
                self.node.at.part(start..end.max(start + quoted.len()))
            }
            None => self.node.at.clone(),
        }
    }

    fn text_of(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }

    fn keys(&self, found: &mut Vec<Diagnostic>) {
        for key in self.config.keys() {
            if KEYS.contains(&key.as_str()) {
                continue;
            }
            let warning = Diagnostic::warning(
                Code::BadNetwork,
                &self.place(key),
                format!("OVN-Kubernetes does not read `{key}`"),
            );
            found.push(match suggest::closest(key, KEYS.iter().copied()) {
                Some(near) => warning.help(format!("did you mean `{near}`?")),
                None => warning.help("leave it out"),
            });
        }
        if self.config.get("ipam").is_some_and(|ipam| !is_empty(ipam)) {
            found.push(
                bad(
                    &self.place("ipam"),
                    "OVN-Kubernetes assigns addresses itself and refuses `ipam`",
                )
                .help("write `\"subnets\": \"192.168.200.0/24\"`"),
            );
        }
    }

    fn identity(&self, own: &str, found: &mut Vec<Diagnostic>) {
        match self.text_of("netAttachDefName") {
            None => found.push(
                bad(&self.node.at, "`config` does not say `netAttachDefName`")
                    .help(format!("write `\"netAttachDefName\": \"{own}\"`")),
            ),
            Some(name) if name != own => found.push(
                bad(
                    &self.place("netAttachDefName"),
                    format!("`netAttachDefName` is `{name}`, but the definition is `{own}`"),
                )
                .help(format!(
                    "write `\"netAttachDefName\": \"{own}\"`; pods are refused otherwise"
                )),
            ),
            Some(_) => {}
        }
        match self.text_of("name") {
            None | Some("") => found.push(
                bad(&self.node.at, "`config` does not name the network")
                    .help("write `\"name\": \"green-network\"`; attachments with the same name share a network"),
            ),
            Some("default") => found.push(
                bad(&self.place("name"), "`default` is the name of the pod network").help("take another name"),
            ),
            Some(_) => {}
        }
    }

    fn topology(&self, found: &mut Vec<Diagnostic>) {
        let topology = self.text_of("topology").unwrap_or("");
        if !TOPOLOGIES.contains(&topology) {
            let error = bad(
                &self.place("topology"),
                format!("`{topology}` is not a topology"),
            );
            found.push(
                match suggest::closest(topology, TOPOLOGIES.iter().copied()) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help("write `layer2`, `layer3` or `localnet`"),
                },
            );
        }
        let Some(vlan) = self.config.get("vlanID") else {
            return;
        };
        if topology != "localnet" {
            found.push(
                bad(
                    &self.place("vlanID"),
                    format!("a `{topology}` network has no VLAN"),
                )
                .help("leave `vlanID` out, or make the topology `localnet`"),
            );
        } else if !vlan.as_u64().is_some_and(|vlan| (1..=4094).contains(&vlan)) {
            found.push(
                bad(&self.place("vlanID"), format!("{vlan} is not a VLAN"))
                    .help("write a number from 1 to 4094"),
            );
        }
    }

    fn subnets(&self, found: &mut Vec<Diagnostic>) {
        let layer3 = self.text_of("topology") == Some("layer3");
        let subnets = self.list("subnets", layer3, found);
        let excluded = self.list("excludeSubnets", false, found);
        for (index, one) in subnets.iter().enumerate() {
            for other in &subnets[index + 1..] {
                if overlap(one, other) {
                    found.push(
                        bad(
                            &self.place("subnets"),
                            format!("the subnets {one} and {other} overlap"),
                        )
                        .help("give each its own range"),
                    );
                }
            }
        }
        for one in &excluded {
            if !subnets.iter().any(|subnet| subnet.contains(one)) {
                found.push(
                    bad(
                        &self.place("excludeSubnets"),
                        format!("{one} is not part of the network's subnets"),
                    )
                    .help("exclude only what would be assigned otherwise"),
                );
            }
        }
        for subnet in &subnets {
            let cluster = [
                ("10.244.0.0/16", "the pods"),
                ("10.96.0.0/16", "the services"),
                ("100.64.0.0/16", "OVN-Kubernetes' join switch"),
                ("100.88.0.0/16", "OVN-Kubernetes' transit switch"),
                ("169.254.0.0/17", "OVN-Kubernetes' masquerading"),
            ];
            // a localnet may even be the node's own network
            let taken = cluster
                .iter()
                .filter(|_| self.text_of("topology") != Some("localnet"))
                .find(|(range, _)| range.parse().is_ok_and(|range| overlap(subnet, &range)));
            if let Some((range, whose)) = taken {
                found.push(
                    Diagnostic::warning(
                        Code::BadNetwork,
                        &self.place("subnets"),
                        format!("{subnet} overlaps {range}, which is usually that of {whose}"),
                    )
                    .help("take another range"),
                );
            }
        }
    }

    /// The comma-separated CIDRs of a key; of layer 3, each may end in a host prefix as in `10.0.0.0/16/24`.
    fn list(&self, key: &str, layer3: bool, found: &mut Vec<Diagnostic>) -> Vec<IpNet> {
        let Some(value) = self.config.get(key) else {
            return Vec::new();
        };
        let Some(text) = value.as_str() else {
            found.push(
                bad(
                    &self.place(key),
                    format!("`{key}` is one text, not {value}"),
                )
                .help(format!("write `\"{key}\": \"192.168.200.0/24,fd00::/64\"`")),
            );
            return Vec::new();
        };
        let mut networks = Vec::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match cidr(one, layer3) {
                Ok(network) => networks.push(network),
                Err(help) => {
                    found.push(
                        bad(&self.place_of(key, one), format!("`{one}` is not a subnet"))
                            .help(help),
                    );
                }
            }
        }
        networks
    }

    fn place_of(&self, key: &str, value: &str) -> Span {
        let place = self.place(key);
        if self.text.matches(value).count() == 1
            && let Some(start) = self.node.at.text().find(value)
        {
            return self.node.at.part(start..start + value.len());
        }
        place
    }
}

fn cidr(text: &str, layer3: bool) -> Result<IpNet, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (network, host) = match parts.as_slice() {
        [address, prefix] => (format!("{address}/{prefix}"), None),
        [address, prefix, host] if layer3 => (format!("{address}/{prefix}"), Some(*host)),
        [address] if address.parse::<IpAddr>().is_ok() => {
            return Err(format!("add its length, as in `{address}/24`"));
        }
        _ => return Err("write an address and a length, as in `192.168.200.0/24`".to_owned()),
    };
    let parsed: IpNet = network
        .parse()
        .map_err(|_| "write an address and a length, as in `192.168.200.0/24`".to_owned())?;
    if let Some(host) = host {
        let fits = host
            .parse::<u8>()
            .is_ok_and(|host| host > parsed.prefix_len() && host < parsed.max_prefix_len());
        if !fits {
            return Err(format!(
                "the part of each node must be longer than /{}, as in `{network}/{}`",
                parsed.prefix_len(),
                parsed
                    .prefix_len()
                    .saturating_add(8)
                    .min(parsed.max_prefix_len() - 1)
            ));
        }
    }
    if parsed.addr() != parsed.network() {
        return Err(format!("the network itself is `{}`", parsed.trunc()));
    }
    Ok(parsed)
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Null) || value.as_object().is_some_and(Map::is_empty)
}

/// Attachments that share a network's name and differ in what makes the network.
fn disagreements(definitions: &[Definition<'_>]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (index, second) in definitions.iter().enumerate() {
        let first = definitions[..index]
            .iter()
            .find(|first| first.network == second.network);
        let Some(first) = first else { continue };
        for key in SHARED {
            let (one, other) = (first.config.get(*key), second.config.get(*key));
            if one == other {
                continue;
            }
            let place = |definition: &Definition<'_>| {
                let node = definition
                    .object
                    .node
                    .get("spec")
                    .and_then(|spec| spec.get("config"));
                node.map_or_else(
                    || definition.at.clone(),
                    |node| {
                        Checker {
                            node,
                            text: "",
                            config: &definition.config,
                        }
                        .place(key)
                    },
                )
            };
            found.push(
                Diagnostic::error(
                    Code::NetworkMismatch,
                    &place(second),
                    format!(
                        "the network `{}` has two different `{key}`: {} and {}",
                        second.network,
                        show(one),
                        show(other)
                    ),
                )
                .and(&place(first), "the first definition")
                .help("attachments with one name are one network: make them agree, or give them different names"),
            );
        }
    }
    found
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
