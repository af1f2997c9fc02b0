//! Logical switch ports of pods (`pkg/ovn/base_network_controller_pods.go`).

use trunkline_fabric::NodeName;

use crate::names::{DEFAULT_NETWORK, Key, default_port};
use crate::northbound::Row;
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
