//! The network of a virt-launcher pod, changed so that a machine can live in it.
//!
//! Everything happens in the pod's own network namespace and vanishes with it. Names, addresses and rules are those that
//! KubeVirt's virt-handler gives; a tap's descriptor takes the place of its persistent, named tap.

mod dhcp;
mod error;
mod names;
mod nft;
mod plan;
mod pod;
mod resolver;
mod wanted;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use trunkline_fabric::NetNs;
use trunkline_kubevirt::types::{InterfaceBindingPlugin, VirtualMachineInstance};

pub use error::NetworkError;

use dhcp::Server;
use plan::Surroundings;

/// What is to be attached to what.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The pod's.
    pub netns: &'a NetNs,
    pub pod: &'a Pod,
    pub vmi: &'a VirtualMachineInstance,
    /// The pod's `/etc/resolv.conf`: machines are told the same.
    pub resolv_conf: &'a str,
    /// `spec.configuration.network.binding` of the KubeVirt object.
    pub plugins: &'a BTreeMap<String, InterfaceBindingPlugin>,
    /// The command that runs `nft`, usually just that.
    pub nft: &'a [&'a str],
}

/// The machine's interfaces, and the servers that answer it.
///
/// Dropping it ends the servers. They, and the taps as long as they are here, keep the pod's namespace alive.
#[derive(Debug)]
pub struct Attached {
    /// In the order of the machine's specification.
    pub interfaces: Vec<Interface>,
    _servers: Vec<Server>,
}

/// An interface of the machine.
#[derive(Debug)]
pub struct Interface {
    /// Of the specification's network.
    pub name: String,
    /// Frames to and from the machine, each behind a `virtio_net_hdr`.
    pub tap: OwnedFd,
    pub tap_name: String,
    /// The machine's.
    pub mac: [u8; 6],
    pub mtu: u32,
    /// As the CNI plugin named it.
    pub pod_interface: String,
    pub binding: Binding,
    /// What the CNI plugin assigned, without link-local ones.
    pub addresses: Vec<IpNet>,
}

/// How an interface of a machine is connected with the pod's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Behind the pod's address.
    Masquerade,
    /// With the pod's address.
    Bridge,
    /// A plugin that wants a tap and nothing more.
    Plugin(String),
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Masquerade => "masquerade",
            Self::Bridge => "bridge",
            Self::Plugin(name) => name,
        })
    }
}

/// Connects the machine with its pod's networks. After a failure the pod is of no more use.
pub async fn attach(request: &Request<'_>) -> Result<Attached, NetworkError> {
    let wanted = wanted::interfaces(request.vmi, request.plugins)?;
    let present = pod::look(request.netns).await?;
    let surroundings = Surroundings::of(request);
    let plans = plan::make(&wanted, &present, &surroundings)?;
    let mut interfaces = Vec::with_capacity(plans.len());
    let mut servers = Vec::new();
    for plan in plans {
        let tap = wire::connect(request, &plan).await?;
        servers.extend(dhcp::serve(request.netns, &plan).await?);
        interfaces.push(plan.into_interface(tap));
    }
    Ok(Attached {
        interfaces,
        _servers: servers,
    })
}
