//! What a real cluster wrote, told again from what its handler knew.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::json;
use trunkline_kubevirt::types::{
    Conditions, InterfaceBindingPlugin, InterfaceStatus, VirtualMachineInstance,
};
use trunkline_qemu::Interface;

use super::{Pod, interfaces, migratable, os_info};
use crate::domain::Nic;

fn recorded(name: &str) -> VirtualMachineInstance {
    let path = format!("{}/tests/recorded/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// What the handler had: the cards with the pod's addresses.
fn nics(vmi: &VirtualMachineInstance, pod: &str) -> Vec<Nic> {
    let interfaces = &vmi.spec.domain.devices.interfaces;
    interfaces
        .iter()
        .zip(pod.split('/'))
        .map(|(interface, addresses)| {
            let status = vmi.status.as_ref().unwrap();
            let told = status
                .interfaces
                .iter()
                .find(|told| told.name.as_ref() == Some(&interface.name));
            Nic {
                name: interface.name.clone(),
                mac: told.unwrap().mac.clone().unwrap(),
                addresses: addresses
                    .split_whitespace()
                    .map(|address| address.parse().unwrap())
                    .collect(),
                masquerade: interface.masquerade.is_some(),
                link: true,
            }
        })
        .collect()
}

/// What virt-controller had written before.
fn before(vmi: &VirtualMachineInstance) -> Vec<InterfaceStatus> {
    let multus = |told: &InterfaceStatus| {
        let source = told.info_source.as_deref().unwrap_or_default();
        source
            .contains("multus-status")
            .then(|| "multus-status".to_owned())
    };
    let status = vmi.status.as_ref().unwrap();
    status
        .interfaces
        .iter()
        .map(|told| InterfaceStatus {
            name: told.name.clone(),
            pod_interface_name: told.pod_interface_name.clone(),
            info_source: multus(told),
            ..InterfaceStatus::default()
        })
        .collect()
}

fn guest(vmi: &VirtualMachineInstance, guest: &str) -> Vec<Interface> {
    let loopback = json!({"name": "lo", "hardware-address": "00:00:00:00:00:00",
        "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]});
    let status = vmi.status.as_ref().unwrap();
    let cards = status.interfaces.iter().zip(guest.split('/')).map(|(told, addresses)| {
        let addresses: Vec<_> =
            addresses.split_whitespace().map(|address| json!({"ip-address": address, "prefix": 24})).collect();
        json!({"name": told.interface_name, "hardware-address": told.mac, "ip-addresses": addresses})
    });
    let all: Vec<_> = std::iter::once(loopback).chain(cards).collect();
    serde_json::from_value(json!(all)).unwrap()
}

/// Interfaces are separated by `/`, their addresses by spaces.
#[rstest]
#[case::masquerade("masquerade-agent", "10.245.2.7", Some("10.0.2.2 fe80::1"))]
#[case::mixed_running("mixed-running", "10.244.1.24/", None)]
#[case::mixed("mixed-agent", "10.244.1.24/", Some("10.0.2.2/192.168.200.10"))]
#[case::layer2(
    "layer2-agent",
    "10.244.1.29/10.100.200.3",
    Some("10.0.2.2/10.100.200.3")
)]
#[case::primary(
    "primary-agent",
    "203.203.0.5",
    Some("203.203.0.5 fe80::858:cbff:fecb:5")
)]
#[case::bridge(
    "bridge-agent",
    "10.245.2.17",
    Some("10.245.2.17 fe80::6430:ffff:fe2b:8657")
)]
#[case::l2bridge("l2bridge-running", "10.245.1.14", None)]
fn interfaces_are_the_recorded_ones(
    #[case] name: &str,
    #[case] pod: &str,
    #[case] in_guest: Option<&str>,
) {
    let vmi = recorded(name);
    let guest = in_guest.map(|addresses| guest(&vmi, addresses));
    let told = interfaces(
        &vmi,
        &before(&vmi),
        &nics(&vmi, pod),
        guest.as_deref(),
        Pod::Lives,
    );
    assert_eq!(told, vmi.status.unwrap().interfaces);
}

#[rstest]
fn whether_it_migrates_is_told_as_recorded(
    #[values(
        "masquerade-agent",
        "mixed-agent",
        "bridge-agent",
        "l2bridge-running",
        "primary-agent"
    )]
    name: &str,
) {
    let vmi = recorded(name);
    let plugin: InterfaceBindingPlugin =
        serde_json::from_value(json!({"domainAttachmentType": "managedTap", "migration": {}}))
            .unwrap();
    let plugins = BTreeMap::from([("l2bridge".to_owned(), plugin)]);
    let expected = vmi.status.clone().unwrap();
    let mut status = expected.clone();
    for type_ in ["LiveMigratable", "StorageLiveMigratable"] {
        status.conditions.unset(type_);
    }
    status.migration_method = None;
    migratable(&vmi, &plugins, &mut status);
    for type_ in ["LiveMigratable", "StorageLiveMigratable"] {
        assert_eq!(
            status.conditions.find(type_),
            expected.conditions.find(type_),
            "{type_}"
        );
    }
    assert_eq!(status.migration_method, expected.migration_method);
}

#[test]
fn the_guests_system_is_told_as_recorded() {
    let os = json!({
        "id": "tinyguest", "name": "Tiny Guest", "pretty-name": "Tiny Guest 1", "version": "1", "version-id": "1",
        "machine": "x86_64", "kernel-release": "6.1.0-56-cloud-amd64",
        "kernel-version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)",
    });
    let told = os_info(&serde_json::from_value(os).unwrap());
    assert_eq!(
        told,
        recorded("masquerade-agent").status.unwrap().guest_os_info
    );
}

#[test]
fn the_machine_type_is_the_recorded_one() {
    let machine = recorded("masquerade-agent")
        .status
        .unwrap()
        .machine
        .unwrap();
    assert_eq!(machine.type_, trunkline_qemu::MACHINE_TYPE);
}

#[test]
fn an_address_that_only_the_record_of_another_pod_has_is_noticed() {
    let vmi = recorded("mixed-agent");
    let nics = nics(&vmi, "10.244.9.9/");
    let told = interfaces(&vmi, &before(&vmi), &nics, None, Pod::Lives);
    assert_ne!(told, vmi.status.unwrap().interfaces);
}
