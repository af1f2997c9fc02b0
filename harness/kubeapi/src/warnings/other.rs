//! Everything that has no pods.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::fraction;
use crate::object;

const STORAGE_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";

fn annotation<'a>(object: &'a Value, key: &str) -> &'a Value {
    object::at(object, &["metadata", "annotations", key])
}

pub fn workload(plural: &str, spec: &Value) -> Vec<String> {
    let history = object::integer(spec, &["revisionHistoryLimit"]);
    let forever = plural == "statefulsets" && history.is_some_and(|limit| limit < 0);
    let warning = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
    forever.then(|| warning.to_owned()).into_iter().collect()
}

pub fn service(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if !annotation(service, "service.kubernetes.io/topology-aware-hints").is_null() {
        warnings.push(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use \
             service.kubernetes.io/topology-mode instead"
                .to_owned(),
        );
    }
    let spec = object::at(service, &["spec"]);
    if object::text(spec, &["clusterIP"]) == "None" {
        let fields = [
            (
                "spec.loadBalancerIP",
                !object::text(spec, &["loadBalancerIP"]).is_empty(),
            ),
            (
                "spec.externalIPs",
                !object::list(spec, &["externalIPs"]).is_empty(),
            ),
            (
                "spec.SessionAffinity",
                !matches!(object::text(spec, &["sessionAffinity"]), "" | "None"),
            ),
        ];
        let ignored = fields.iter().filter(|(_, set)| *set);
        warnings
            .extend(ignored.map(|(field, _)| format!("{field} is ignored for headless services")));
    }
    for (at, address) in object::list(spec, &["externalIPs"]).iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        if let Some(plain) = without_zeros(address) {
            warnings.push(format!(
                "spec.externalIPs[{at}]: non-standard IP address {address:?} will be considered invalid in a future \
                 Kubernetes release: use \"{plain}\""
            ));
        }
    }
    warnings
}

pub fn node(node: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    if !object::text(node, &["spec", "externalID"]).is_empty() {
        warnings.push(
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
        );
    }
    for (at, cidr) in object::list(node, &["spec", "podCIDRs"]).iter().enumerate() {
        warnings.extend(odd_network(
            cidr.as_str().unwrap_or_default(),
            &format!("spec.podCIDRs[{at}]"),
        ));
    }
    warnings
}

pub fn volume(volume: &Value) -> Vec<String> {
    let mut warnings = old_storage_class(volume);
    if object::text(volume, &["spec", "persistentVolumeReclaimPolicy"]) == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended \
             approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    let capacity = object::at(volume, &["spec", "capacity"]);
    warnings.extend(fraction(capacity, "storage", "spec.capacity"));
    warnings
}

pub fn claim(claim: &Value) -> Vec<String> {
    let mut warnings = old_storage_class(claim);
    let requests = object::at(claim, &["spec", "resources", "requests"]);
    warnings.extend(fraction(requests, "storage", "spec.resources.requests"));
    warnings
}

fn old_storage_class(object: &Value) -> Vec<String> {
    let old = !annotation(object, STORAGE_CLASS).is_null();
    old.then(|| {
        format!(
            "metadata.annotations[{STORAGE_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        )
    })
    .into_iter()
    .collect()
}

pub fn ingress(ingress: &Value) -> Vec<String> {
    let old = !annotation(ingress, INGRESS_CLASS).is_null();
    old.then(|| {
        format!(
            "annotation {INGRESS_CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"
        )
    })
    .into_iter()
    .collect()
}

pub fn network_policy(spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for (r, rule) in object::list(spec, &[rules]).iter().enumerate() {
            for (p, peer) in object::list(rule, &[peers]).iter().enumerate() {
                let cidr = object::text(peer, &["ipBlock", "cidr"]);
                let path = format!("spec.{rules}[{r}].{peers}[{p}].ipBlock.cidr");
                warnings.extend(ambiguous_network(cidr, &path));
                warnings.extend(odd_network(cidr, &path));
            }
        }
    }
    warnings
}

/// The address without zeros in front of its numbers, where there are some.
fn without_zeros(address: &str) -> Option<Ipv4Addr> {
    let parts: Option<Vec<u8>> = address.split('.').map(|part| part.parse().ok()).collect();
    let octets: [u8; 4] = parts?.try_into().ok()?;
    let plain = Ipv4Addr::from(octets);
    (plain.to_string() != address).then_some(plain)
}

/// Address, length of the prefix, and the address of the network.
fn network(cidr: &str) -> Option<(Ipv4Addr, u32, Ipv4Addr)> {
    let (address, prefix) = cidr.split_once('/')?;
    let length: u32 = prefix.parse().ok().filter(|length| *length <= 32)?;
    let address = without_zeros(address).or_else(|| address.parse().ok())?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    Some((address, length, Ipv4Addr::from(u32::from(address) & mask)))
}

fn ambiguous_network(cidr: &str, path: &str) -> Option<String> {
    let (address, length, network) = network(cidr)?;
    (address != network).then(|| {
        format!(
            "{path}: CIDR value {cidr:?} is ambiguous in this context (should be \"{network}/{length}\" or \"{address}/32\"?)"
        )
    })
}

/// Zeros in front of a number, in the address or in the prefix.
fn odd_network(cidr: &str, path: &str) -> Option<String> {
    let (address, length, network) = network(cidr)?;
    (cidr != format!("{address}/{length}")).then(|| {
        format!(
            "{path}: non-standard CIDR value {cidr:?} will be considered invalid in a future Kubernetes release: use \
             \"{network}/{length}\""
        )
    })
}
