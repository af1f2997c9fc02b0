//! What a launcher pod asks of its node: the machine's own resources and what running it costs.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;

use super::super::quantity::Amount;
use crate::types::{DomainSpec, Quantity};

/// What KubeVirt 1.8 reckons its programs to need (`pkg/hypervisor/kvm`), in MiB.
const PROGRAMS: [i128; 5] = [
    25,  // virt-launcher-monitor
    100, // virt-launcher
    25,  // virtlogd
    40,  // virtqemud
    30,  // QEMU without the guest's memory
];
const PER_VCPU: i128 = 8;
const IO_THREAD: i128 = 8;
const VIDEO: i128 = 32;
const GUARANTEED: i128 = 100;
/// A vCPU gets a tenth of a processor.
const CPU_ALLOCATION_RATIO: u32 = 10;
const EPHEMERAL_STORAGE: Amount = Amount::units(50_000_000);

const TUN: &str = "devices.kubevirt.io/tun";

fn amount(resources: &BTreeMap<String, Quantity>, name: &str) -> Option<Amount> {
    resources.get(name).and_then(Amount::of)
}

/// What the pod needs beyond the guest's memory.
pub(super) fn memory_overhead(domain: &DomainSpec) -> Amount {
    let resources = &domain.resources;
    let requested = amount(&resources.requests, "memory").unwrap_or(Amount::units(0));
    // page tables: a bit for every 512 bits, reckoned in rounded kB
    let kilobytes =
        requested.value().div_euclid(1_000) + i128::from(requested.value().rem_euclid(1_000) != 0);
    let page_tables = Amount::units(kilobytes * 1_000 / 512);
    let vcpus = match &domain.cpu {
        Some(cpu) => i128::from(cpu.vcpus()),
        None => amount(&resources.limits, "cpu")
            .or_else(|| amount(&resources.requests, "cpu"))
            .map_or(1, Amount::value),
    };
    let mut mebibytes = PROGRAMS.iter().sum::<i128>() + PER_VCPU * vcpus.max(1) + IO_THREAD;
    if domain.devices.autoattach_graphics_device != Some(false) {
        mebibytes += VIDEO;
    }
    if is_guaranteed(domain) {
        mebibytes += GUARANTEED;
    }
    page_tables + Amount::mebibytes(mebibytes)
}

/// A processor of its own, or limits that equal the requests.
fn is_guaranteed(domain: &DomainSpec) -> bool {
    let pinned = domain
        .cpu
        .as_ref()
        .is_some_and(|cpu| cpu.dedicated_cpu_placement);
    let resources = &domain.resources;
    let equal = |name: &str| {
        let limit = amount(&resources.limits, name);
        limit.is_some()
            && amount(&resources.requests, name).is_none_or(|request| Some(request) == limit)
    };
    pinned || (equal("cpu") && equal("memory"))
}

/// The resources of the container `compute`.
pub(super) fn of_compute(domain: &DomainSpec) -> ResourceRequirements {
    let overhead = memory_overhead(domain);
    let own = &domain.resources;
    let amounts = |map: &BTreeMap<String, Quantity>| -> BTreeMap<String, Amount> {
        map.iter()
            .filter_map(|(name, quantity)| Some((name.clone(), Amount::of(quantity)?)))
            .collect()
    };
    let mut requests = amounts(&own.requests);
    let mut limits = amounts(&own.limits);

    let storage = "ephemeral-storage";
    let requested = requests.get(storage).copied();
    requests.insert(
        storage.to_owned(),
        requested.map_or(EPHEMERAL_STORAGE, |own| own + EPHEMERAL_STORAGE),
    );
    if let Some(limit) = limits.get_mut(storage) {
        *limit = *limit + EPHEMERAL_STORAGE;
    }
    if attaches_networks(domain) {
        limits.insert(TUN.to_owned(), Amount::units(1));
        requests.insert(TUN.to_owned(), Amount::units(1));
    }

    let guest = domain
        .memory
        .as_ref()
        .and_then(|memory| Amount::of(memory.guest.as_ref()?));
    let limit = limits.get("memory").copied().filter(|l| !l.is_zero());
    let memory = requests
        .get("memory")
        .copied()
        .filter(|request| !request.is_zero())
        .or(limit)
        .or(guest)
        .unwrap_or(Amount::units(0));
    let request = if own.overcommit_guest_overhead {
        memory
    } else {
        memory + overhead
    };
    requests.insert("memory".to_owned(), request);
    if let Some(limit) = limits.get_mut("memory") {
        *limit = *limit + overhead;
    }

    let vcpus = domain.cpu.as_ref().map_or(1, crate::types::Cpu::vcpus);
    if domain
        .cpu
        .as_ref()
        .is_some_and(|cpu| cpu.dedicated_cpu_placement)
    {
        let whole = Amount::units(i128::from(vcpus));
        limits.insert("cpu".to_owned(), whole);
        requests.insert("cpu".to_owned(), whole);
    } else {
        let share =
            Amount::thousandths(i128::from(vcpus) * 1_000 / i128::from(CPU_ALLOCATION_RATIO));
        requests.entry("cpu".to_owned()).or_insert(share);
    }
    let written = |map: BTreeMap<String, Amount>| {
        map.into_iter()
            .map(|(name, amount)| (name, amount.quantity()))
            .collect()
    };
    ResourceRequirements {
        requests: Some(written(requests)),
        limits: Some(limits).filter(|l| !l.is_empty()).map(written),
        ..ResourceRequirements::default()
    }
}

fn attaches_networks(domain: &DomainSpec) -> bool {
    !domain.devices.interfaces.is_empty() || domain.devices.autoattach_pod_interface != Some(false)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::of_compute;

    /// The first two are recorded; the others follow from KubeVirt's arithmetic.
    #[rstest]
    #[case(json!({"cpu": {"cores": 1}, "memory": {"guest": "128Mi"}}), "396Mi", "100m")]
    #[case(json!({"cpu": {"cores": 1}, "memory": {"guest": "96Mi"}}), "364Mi", "100m")]
    #[case(json!({"cpu": {"cores": 2, "sockets": 2}, "memory": {"guest": "1Gi"}}), "1316Mi", "400m")]
    #[case(json!({"cpu": {"cores": 10}, "memory": {"guest": "1Gi"}}), "1364Mi", "1")]
    #[case(json!({"resources": {"requests": {"memory": "1Gi"}}}), "1294Mi", "100m")]
    #[case(json!({"resources": {"requests": {"memory": "1024M", "cpu": "1500m"}}}), "1315406976", "1500m")]
    #[case(json!({"memory": {"guest": "128Mi"}, "devices": {"autoattachGraphicsDevice": false}}), "364Mi", "100m")]
    fn memory_and_processors(#[case] domain: Value, #[case] memory: &str, #[case] cpu: &str) {
        let resources = of_compute(&serde_json::from_value(domain).unwrap());
        let requests = resources.requests.unwrap();
        assert_eq!(requests["memory"].0, memory);
        assert_eq!(requests["cpu"].0, cpu);
        assert_eq!(requests["ephemeral-storage"].0, "50M");
        assert_eq!(resources.limits.unwrap()["devices.kubevirt.io/tun"].0, "1");
    }

    #[test]
    fn limits_carry_the_overhead() {
        let domain = json!({"resources": {
            "requests": {"memory": "64Mi", "cpu": "1"}, "limits": {"memory": "128Mi", "cpu": "1"},
        }});
        let resources = of_compute(&serde_json::from_value(domain).unwrap());
        // 64Mi in kB, a 512th of it for page tables
        assert_eq!(resources.requests.unwrap()["memory"].0, "340096Ki");
        assert_eq!(resources.limits.unwrap()["cpu"].0, "1");
    }

    #[test]
    fn without_networks_no_tun_device() {
        let domain =
            json!({"devices": {"autoattachPodInterface": false}, "memory": {"guest": "64Mi"}});
        let resources = of_compute(&serde_json::from_value(domain).unwrap());
        assert_eq!(resources.limits, None);
    }
}
