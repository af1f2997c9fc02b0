//! Whether a node can take a pod. The checks run in upstream's order; the first that fails speaks for the node.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::affinity;
use super::claims::Claims;
use super::resources::Amounts;
use super::tolerations;
use super::world::{NodeView, World};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reasons: Vec<String>,
    /// Removing pods from the node could help.
    pub preemptable: bool,
}

impl Refusal {
    fn hopeless(reason: &str) -> Self {
        Self {
            reasons: vec![reason.to_owned()],
            preemptable: false,
        }
    }

    fn crowded(reason: &str) -> Self {
        Self {
            reasons: vec![reason.to_owned()],
            preemptable: true,
        }
    }
}

pub(super) fn check(
    world: &World,
    node: &NodeView,
    pod: &Pod,
    claims: &Claims,
) -> Result<(), Refusal> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    schedulable(node, spec)?;
    taints(node, spec)?;
    if !affinity::matches_node(spec, &node.node) {
        return Err(Refusal::hopeless(
            "node(s) didn't match Pod's node affinity/selector",
        ));
    }
    ports(node, spec)?;
    resources(node, pod)?;
    if !claims.fit(&node.node) {
        return Err(Refusal::hopeless(
            "node(s) didn't match PersistentVolume's node affinity",
        ));
    }
    if !affinity::spreads(world, node, pod) {
        return Err(Refusal::crowded(
            "node(s) didn't match pod topology spread constraints",
        ));
    }
    affinity::pods_agree(world, node, pod).map_err(|reason| Refusal {
        preemptable: reason != affinity::NO_AFFINITY,
        reasons: vec![reason.to_owned()],
    })
}

const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

fn schedulable(node: &NodeView, spec: &PodSpec) -> Result<(), Refusal> {
    let cordoned = node.node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true);
    let tolerated = tolerations::tolerates(spec, UNSCHEDULABLE_TAINT, "", "NoSchedule");
    if cordoned && !tolerated {
        return Err(Refusal::hopeless("node(s) were unschedulable"));
    }
    Ok(())
}

fn taints(node: &NodeView, spec: &PodSpec) -> Result<(), Refusal> {
    let taints = node
        .node
        .spec
        .iter()
        .flat_map(|s| s.taints.iter().flatten());
    for taint in taints.filter(|t| t.effect != "PreferNoSchedule") {
        let value = taint.value.as_deref().unwrap_or_default();
        if !tolerations::tolerates(spec, &taint.key, value, &taint.effect) {
            return Err(Refusal::hopeless("node(s) had untolerated taint(s)"));
        }
    }
    Ok(())
}

fn host_ports(spec: &PodSpec) -> impl Iterator<Item = (i32, String, String)> {
    let host_network = spec.host_network == Some(true);
    spec.containers
        .iter()
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(move |p| {
            let port = p
                .host_port
                .filter(|p| *p > 0)
                .or(host_network.then_some(p.container_port))?;
            let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let ip = p
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty() && ip != "0.0.0.0");
            Some((port, protocol, ip.unwrap_or_default()))
        })
}

fn ports(node: &NodeView, spec: &PodSpec) -> Result<(), Refusal> {
    for (port, protocol, ip) in host_ports(spec) {
        let taken = node
            .pods
            .iter()
            .filter_map(|p| p.spec.as_ref())
            .any(|other| {
                host_ports(other).any(|(p, proto, i)| {
                    p == port && proto == protocol && (i == ip || i.is_empty() || ip.is_empty())
                })
            });
        if taken {
            return Err(Refusal::crowded(
                "node(s) didn't have free ports for the requested pod ports",
            ));
        }
    }
    Ok(())
}

fn resources(node: &NodeView, pod: &Pod) -> Result<(), Refusal> {
    let reasons = Amounts::lacking(&node.node, &node.used, &Amounts::requested(pod));
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Refusal {
            reasons,
            preemptable: true,
        })
    }
}
