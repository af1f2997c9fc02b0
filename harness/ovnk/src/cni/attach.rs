//! OVN-Kubernetes' CNI plugin: one interface.

use std::collections::BTreeMap;

use ovsdb::{Client, Condition, Transaction};
use trunkline_fabric::{Port, Route};

use super::delegate::Delegate;
use super::{CniError, Context, Request, wait};
use crate::names::{DEFAULT_NETWORK, default_port, nad_port};
use crate::world::Attachment;

/// Waits for the addresses, makes the interface, and waits until OVN has it.
pub(super) async fn attach(
    cx: &Context,
    request: &Request,
    delegate: &Delegate,
) -> Result<Attachment, CniError> {
    if !delegate.is_ours() {
        let plugin = &delegate.config.plugin;
        let message = format!("failed to find plugin {plugin:?} in path [/opt/cni/bin]");
        return Err(request.plugin_error(&delegate.network, message));
    }
    let refused = |error: String| {
        let who = who(request, delegate);
        let message = format!("CNI request failed with status 400: '{who} {who} {error}\n'");
        request.plugin_error(&delegate.network, message)
    };
    let attachment = wait::attachment(cx, request, &delegate.annotation_key())
        .await
        .map_err(|error| refused(error.to_string()))?;
    check_bridge_mapping(cx, request, delegate)
        .await
        .map_err(&refused)?;
    let port = port(cx, request, delegate, &attachment);
    let plugged = cx.fabric.plug(&port).await;
    plugged.map_err(|error| refused(error.to_string()))?;
    Ok(attachment)
}

/// How the plugin calls its request.
fn who(request: &Request, delegate: &Delegate) -> String {
    let (key, sandbox) = (&request.key, &request.sandbox);
    match &delegate.nad {
        Some(nad) => {
            let network = &delegate.network;
            format!("[{key} {sandbox} network {network} NAD {nad}]")
        }
        None => format!("[{key} {sandbox} network {DEFAULT_NETWORK} NAD {DEFAULT_NETWORK}]"),
    }
}

fn port(cx: &Context, request: &Request, delegate: &Delegate, attachment: &Attachment) -> Port {
    let mut external_ids = BTreeMap::new();
    let iface_id = match &delegate.nad {
        Some(nad) => {
            let ids = [
                ("k8s.ovn.org/network", delegate.network.clone()),
                ("k8s.ovn.org/nad", nad.to_string()),
            ];
            external_ids.extend(ids.map(|(key, value)| (key.to_owned(), value)));
            nad_port(nad, &request.key)
        }
        None => default_port(&request.key),
    };
    let routes = attachment.routes.iter().map(|route| Route {
        dest: route.dest,
        via: route.next_hop,
    });
    let mtu = delegate.config.mtu.filter(|mtu| *mtu > 0);
    Port {
        node: request.node.clone(),
        netns: request.netns.clone(),
        ifname: delegate.interface.clone(),
        mac: attachment.mac,
        addresses: attachment.addresses.clone(),
        gateways: attachment.gateways.clone(),
        routes: routes.collect(),
        mtu: mtu.unwrap_or_else(|| cx.worlds.borrow().world.config.mtu),
        iface_id,
        iface_id_ver: request.uid.clone(),
        sandbox: request.sandbox.clone(),
        external_ids,
    }
}

/// A localnet network needs a bridge on this node that leads to it.
async fn check_bridge_mapping(
    cx: &Context,
    request: &Request,
    delegate: &Delegate,
) -> Result<(), String> {
    let config = &delegate.config;
    if config.topology != "localnet" {
        return Ok(());
    }
    let network = match config.physical_network.as_str() {
        "" => delegate.network.as_str(),
        physical => physical,
    };
    let mappings = bridge_mappings(cx, request)
        .await
        .map_err(|error| format!("failed bridge mapping validation: {error}"))?;
    let mapped = mappings
        .split(',')
        .filter_map(|mapping| mapping.split_once(':'))
        .any(|(name, _)| name.trim() == network);
    if mapped {
        return Ok(());
    }
    Err(format!(
        "failed bridge mapping validation: failed to find OVN bridge-mapping for network: {network:?}"
    ))
}

async fn bridge_mappings(cx: &Context, request: &Request) -> Result<String, String> {
    let node = cx.fabric.node(&request.node);
    let node = node.ok_or_else(|| format!("no node {}", request.node))?;
    let read = async {
        let client = Client::connect(&node.vswitch, "Open_vSwitch").await?;
        let mut tx = Transaction::new();
        let rows = tx.select("Open_vSwitch", Condition::all(), ["external_ids"]);
        let outcome = client.transact(tx).await?;
        let row = outcome.rows(rows).first();
        let mappings = row.and_then(|(_, row)| row.key("external_ids", "ovn-bridge-mappings"));
        Ok(mappings.unwrap_or_default().to_owned())
    };
    read.await.map_err(|error: ovsdb::Error| error.to_string())
}
