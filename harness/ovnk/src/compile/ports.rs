//! Logical switch ports of pods (`pkg/ovn/base_network_controller_pods.go`).

use trunkline_fabric::NodeName;

use crate::nad::Network;
use crate::names::{DEFAULT_NETWORK, Key, default_port};
use crate::northbound::{Row, Value};
use crate::world::{Attachment, Pod};

use super::Context;
use super::cluster::switch_port;

/// What all ports of pods have.
pub(super) fn pod_port(
    name: String,
    key: &Key,
    pod: &Pod,
    node: &NodeName,
    attachment: &Attachment,
) -> Row {
    let address = attachment.port_address();
    Row::named(name)
        .with("addresses", address.as_str())
        .with("port_security", address)
        .with(
            "options",
            [
                ("iface-id-ver", pod.uid.as_str()),
                ("requested-chassis", node.as_str()),
            ],
        )
        .with(
            "external_ids",
            [("namespace", key.namespace.as_str()), ("pod", "true")],
        )
}

/// What tells which network and attachment a port is of.
pub(super) fn of_network(network: &Network, nad: &Key) -> Vec<(&'static str, String)> {
    let topology = network.conf.topology.as_str();
    vec![
        ("k8s.ovn.org/nad", nad.to_string()),
        ("k8s.ovn.org/network", network.conf.name.clone()),
        ("k8s.ovn.org/topology", topology.to_owned()),
    ]
}

pub(super) fn extend(row: &mut Row, column: &str, more: Vec<(&str, String)>) {
    let Some(Value::Map(mut map)) = row.remove(column) else {
        return row.set(column, Value::map(more));
    };
    map.extend(more.into_iter().map(|(k, v)| (k.to_owned(), v.into())));
    row.set(column, Value::Map(map));
}

/// Only the zone's own pods: others are behind the transit switch.
pub(super) fn default_network(cx: &mut Context) {
    let world = cx.world;
    for (key, pod, node) in world.running_pods() {
        if !cx.is_local(node) {
            continue;
        }
        if let Some(attachment) = pod.networks.get(DEFAULT_NETWORK) {
            let row = pod_port(default_port(key), key, pod, node, attachment);
            switch_port(cx, node.as_str(), row);
        }
    }
}
