//! What makes a configuration acceptable, checked in upstream's order and refused in its words
//! (OVN-Kubernetes' `pkg/util/multi_network.go`, `ValidateNetConf`).

use ipnet::IpNet;

use super::conf::{NetConf, Topology, Wire};
use super::subnets;
use crate::config::ClusterConfig;

pub(crate) const OUR_TYPE: &str = "ovn-k8s-cni-overlay";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NadError {
    /// Another plugin's; nothing to complain about.
    #[error("net-attach-def not managed by OVN")]
    NotOurs,
    #[error("{0}")]
    Invalid(String),
}

impl NadError {
    pub(super) fn invalid(message: impl Into<String>) -> NadError {
        NadError::Invalid(message.into())
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, NadError> {
    Err(NadError::invalid(message))
}

/// Checked twice upstream: while parsing, and again.
pub(super) fn check_names(wire: &Wire) -> Result<(), NadError> {
    if wire.topology.is_empty() {
        return Ok(());
    }
    if wire.net_attach_def_name.is_empty() {
        let name = &wire.name;
        return refuse(format!(
            "missing NADName in secondary network netconf {name}"
        ));
    }
    if matches!(wire.name.as_str(), "" | "default" | "ovn-kubernetes") {
        let name = &wire.name;
        return refuse(format!(
            "invalid name in in secondary network netconf ({name})"
        ));
    }
    Ok(())
}

pub(super) fn check(config: &ClusterConfig, nad: &str, wire: &Wire) -> Result<NetConf, NadError> {
    // Without a topology it would be the default network's own NAD, which exists only once.
    if wire.topology.is_empty() {
        return Err(NadError::NotOurs);
    }
    if wire.net_attach_def_name != nad {
        let other = &wire.net_attach_def_name;
        return refuse(format!(
            "net-attach-def name ({nad}) is inconsistent with config ({other})"
        ));
    }
    let topology = wire.topology.as_str();
    let role = wire.role.as_str();
    if wire.allow_persistent_ips && topology == "layer3" {
        return refuse("layer3 topology does not allow persistent IPs");
    }
    if !matches!(role, "" | "secondary") && topology == "localnet" {
        return refuse(format!(
            "unexpected network field \"role\" {role} for \"localnet\" topology, localnet topology does not allow \
             network roles to be set since its always a secondary network"
        ));
    }
    if !matches!(role, "" | "primary" | "secondary") {
        return refuse(format!("invalid network role value {role}"));
    }
    if !wire.ipam.kind.is_empty() {
        return refuse(format!(
            "error parsing Network Attachment Definition {nad}: IPAM key is not supported. Use OVN-K provided IPAM \
             via the `subnets` attribute"
        ));
    }
    if !wire.join_subnet.is_empty() && topology == "localnet" {
        return refuse(
            "localnet topology does not allow specifying join-subnet as services are not supported",
        );
    }
    if role == "primary" && wire.subnets.is_empty() && topology == "layer2" {
        return refuse(
            "the subnet attribute must be defined for layer2 primary user defined networks",
        );
    }
    let only_layer2 = [
        ("infrastructureSubnets", &wire.infrastructure_subnets),
        ("reservedSubnets", &wire.reserved_subnets),
        ("defaultGatewayIPs", &wire.default_gateway_ips),
    ];
    for (field, value) in only_layer2 {
        if !value.is_empty() && topology != "layer2" {
            return refuse(format!("{field} is only supported for layer2 topology"));
        }
    }
    let conf = build(config, wire);
    if topology == "localnet" {
        return conf.map_err(NadError::Invalid);
    }
    let conf = conf.map_err(|error| {
        NadError::invalid(format!(
            "invalid subnet configuration: error while parsing subnets: {error}"
        ))
    })?;
    check_overlaps(config, wire, &conf)?;
    Ok(conf)
}

fn build(config: &ClusterConfig, wire: &Wire) -> Result<NetConf, String> {
    let (name, text) = (&wire.name, &wire.topology);
    let topology = match text.as_str() {
        "layer2" => Topology::Layer2,
        "layer3" => Topology::Layer3,
        "localnet" => Topology::Localnet,
        other => return Err(format!("topology {other} not supported")),
    };
    let subnets::Subnets {
        nets: subnets,
        shares,
    } = subnets::parse_network(&wire.subnets, topology == Topology::Layer3)
        .map_err(|error| format!("invalid network subnets for {text} netconf {name}: {error}"))?;
    let excluded = subnets::parse(&wire.exclude_subnets)
        .map_err(|error| format!("invalid exclude subnets for {text} netconf {name}: {error}"))?;
    let contained = |inner: &&IpNet| subnets.iter().any(|outer| outer.contains(*inner));
    if let Some(stray) = excluded.iter().find(|net| !contained(net)) {
        return Err(format!(
            "the provided network subnets do not contain excluded subnets {stray}"
        ));
    }
    let number = |value: i64, what: &str| {
        u16::try_from(value).map_err(|_| {
            format!("json: cannot unmarshal number {value} into Go struct field NetConf.{what}")
        })
    };
    let mtu = match wire.mtu {
        None | Some(0) => config.mtu,
        Some(mtu) => number(mtu, "mtu")?,
    };
    Ok(NetConf {
        name: name.clone(),
        topology,
        primary: wire.role == "primary",
        subnets,
        shares,
        excluded,
        mtu,
        vlan: number(wire.vlan_id, "vlanID")?,
        physical_network: (!wire.physical_network_name.is_empty())
            .then(|| wire.physical_network_name.clone()),
        persistent_ips: wire.allow_persistent_ips,
    })
}

/// No range may overlap an earlier one: the cluster's own first, then the network's.
fn check_overlaps(config: &ClusterConfig, wire: &Wire, conf: &NetConf) -> Result<(), NadError> {
    let mut ranges = config.reserved();
    if conf.topology == Topology::Layer3 {
        ranges.push(("transit switch subnet", config.transit.into()));
    }
    ranges.extend(conf.subnets.iter().map(|net| ("user defined subnet", *net)));
    let join = if wire.join_subnet.is_empty() {
        vec![config.udn_join.into(), config.udn_join6.into()]
    } else {
        subnets::parse(&wire.join_subnet).map_err(|error| {
            NadError::invalid(format!(
                "invalid subnet configuration: error while parsing subnets: {error}"
            ))
        })?
    };
    ranges.extend(
        join.into_iter()
            .map(|net| ("user defined join subnet", net)),
    );
    // Ranges that are wholly excluded do no harm.
    ranges.retain(|(_, range)| !conf.excluded.iter().any(|net| net.contains(range)));
    for (i, (kind, range)) in ranges.iter().enumerate() {
        for (earlier_kind, earlier) in &ranges[..i] {
            if subnets::overlap(range, earlier) {
                return refuse(format!(
                    "invalid subnet configuration: pod or join subnet overlaps with already configured internal \
                     subnets: {kind} \"{range}\" overlaps {earlier_kind} \"{earlier}\""
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
