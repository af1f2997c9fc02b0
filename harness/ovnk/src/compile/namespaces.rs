//! What every user-defined network knows of every namespace: the addresses and ports of its pods.

use crate::nad::Network;
use crate::names::controller;
use crate::northbound::RowRef;
use crate::world::Attachment;

use super::Context;
use super::groups::{Family, address_set, namespace_group, namespace_sets, port_group};

/// A pod's attachment, as the namespace's groups see it.
pub(super) struct Member {
    pub(super) namespace: String,
    /// Where the zone has one for it.
    pub(super) port: Option<RowRef>,
    pub(super) attachment: Attachment,
}

/// Without IPAM nobody knows the pods' addresses, so there are no address sets, and the port
/// groups stay empty.
pub(super) fn namespaces(cx: &mut Context, network: &Network, members: &[Member]) {
    let controller = controller(&network.conf.name);
    let mut families = Vec::new();
    for subnet in &network.conf.subnets {
        let family = Family::of(subnet.addr());
        if !families.contains(&family) {
            families.push(family);
        }
    }
    for namespace in &cx.world.namespaces {
        let own = || members.iter().filter(|m| m.namespace == *namespace);
        for family in &families {
            let addresses: Vec<String> = own()
                .flat_map(|member| &member.attachment.addresses)
                .filter(|net| Family::of(net.addr()) == *family)
                .map(|net| net.addr().to_string())
                .collect();
            address_set(
                cx,
                &namespace_sets(&controller, namespace, *family),
                addresses,
            );
        }
        let ports = if families.is_empty() {
            Vec::new()
        } else {
            own().filter_map(|member| member.port.clone()).collect()
        };
        port_group(cx, &namespace_group(&controller, namespace), ports);
    }
}
